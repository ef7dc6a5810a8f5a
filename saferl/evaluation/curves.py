"""Pictures of a benchmark: learning curves with the limit drawn in, and the matrix of probabilities of improvement."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter

Array = np.ndarray[Any, Any]
Run = tuple[Array, Array]
"""Steps (P,), ascending, and values (P,) of one seed."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, told apart by readers with any common colour blindness; its yellow is too light on white."""
Dash = Literal["-", "--", ":"]
DASHES: tuple[Dash, ...] = ("-", "--", ":")
INK, MUTED = "#23272d", "#5d6670"
POINTS = 100
DPI = 100
LINE_HEIGHT = 0.062
"""Of a line of text, as a share of a panel's height."""


@dataclass(frozen=True)
class Panel:
    """One plot: a quantity of a task over training.

    Attributes:
        title: Written above, empty for nothing.
        label: Name of the quantity, with its unit.
        runs: Per method, its seeds.
        limit: Where the limit is drawn.
        sense: ``"<="``, ``">="`` or ``"=="``: on which side of the limit the quantity has to be.
        marks: Published values by their name.
    """

    title: str
    label: str
    runs: Mapping[str, Sequence[Run]]
    limit: float | None = None
    sense: str = "<="
    marks: Mapping[str, float] = field(default_factory=dict)


def draw_curves(columns: Sequence[Sequence[Panel]], path: Path) -> None:
    """Draw learning curves: a column per task, in it a panel per quantity; the mean over seeds in their min-max band.

    Args:
        columns: Panels of every task, from the top; tasks may have different numbers of them.
        path: PNG file to write.
    """
    rows = max(len(column) for column in columns)
    methods = list(dict.fromkeys(name for column in columns for panel in column for name in panel.runs))
    styles = {m: (COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]) for i, m in enumerate(methods)}
    width = max((5.4 if len(columns) < 3 else 4.0) * len(columns), 7.0)
    figure = Figure(figsize=(width, 3.1 * rows + 0.9), dpi=DPI, layout="constrained")
    axes = figure.subplots(rows, len(columns), squeeze=False)
    for j, column in enumerate(columns):
        for i in range(rows):
            if i < len(column):
                _draw_panel(axes[i, j], column[i], styles)
            else:
                axes[i, j].set_axis_off()
        axes[len(column) - 1, j].set_xlabel("environment steps", fontsize=11)
    handles = [Line2D([], [], color=colour, linestyle=dash, linewidth=2.5) for colour, dash in styles.values()]
    figure.legend(handles, methods, loc="outside upper center", ncols=min(len(methods), 6), fontsize=12, frameon=False)
    figure.supxlabel("line: mean over seeds, band: lowest to highest seed; policy during training", fontsize=10, color=MUTED)
    figure.savefig(path)


def _draw_panel(axes: Axes, panel: Panel, styles: Mapping[str, tuple[str, Dash]]) -> None:
    top = panel.limit or 0.0
    for name, runs in panel.runs.items():
        steps, values = common_grid(runs)
        if not len(steps):
            continue
        colour, dash = styles[name]
        axes.plot(steps, values.mean(axis=0), color=colour, linestyle=dash, linewidth=2)
        if len(runs) > 1:
            axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, linewidth=0)
        top = max(top, float(values.max()))
    label = panel.label
    if panel.limit is not None and panel.limit > 0 and top > 8 * panel.limit:
        # on a linear axis a limit of 25 below costs of 900 could not be told from zero
        turn = 2 * panel.limit
        axes.set_yscale("symlog", linthresh=turn, linscale=1.2)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_yticks(_ticks(panel.limit, top))
        axes.set_yticks([], minor=True)
        label += f" (log above {turn:g})"
    _draw_lines(axes, panel)
    axes.set_title(panel.title, fontsize=13, color=INK)
    axes.set_ylabel(label, fontsize=10)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.tick_params(labelsize=10, colors=INK)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.margins(x=0.01)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _draw_lines(axes: Axes, panel: Panel) -> None:
    """Draw the limit and published values across the panel, named in its right margin, where no curve runs."""
    lines = [(value, f"{name} {value:g}", MUTED, ":") for name, value in panel.marks.items()]
    if panel.limit is not None:
        shown = {"<=": "≤", ">=": "≥", "==": "="}[panel.sense]
        lines.append((panel.limit, f"limit {shown} {panel.limit:g}", INK, "--"))
    for value, _, colour, dash in lines:
        axes.axhline(value, color=colour, linestyle=dash, linewidth=1.8, zorder=3)
    axes.margins(y=0.08)
    axes.autoscale_view()
    to_pixels = axes.transScale.transform
    floor, ceiling = (to_pixels((1.0, edge))[1] for edge in axes.get_ylim())
    bottom = -1.0
    for value, name, colour, _ in sorted(lines, key=lambda line: (line[0], line[3])):
        text = textwrap.fill(name, 15)
        height = LINE_HEIGHT * (text.count("\n") + 1)
        share = (to_pixels((1.0, value))[1] - floor) / (ceiling - floor)
        centre = max(share, bottom + height / 2)  # names that would collide are moved apart
        bottom = centre + height / 2
        axes.text(1.02, centre, text, transform=axes.transAxes, va="center", fontsize=10, color=colour, linespacing=1.1)


def _ticks(limit: float, top: float) -> list[float]:
    """Return ticks of a symmetric logarithmic axis: zero, the limit, and decades above."""
    decades = [10.0**k for k in range(-6, 9)]
    return [0.0, limit, *(d for d in decades if 2 * limit <= d <= 2 * top)]


def common_grid(runs: Sequence[Run]) -> tuple[Array, Array]:
    """Return steps (P,) that all seeds have reached and their values (S, P) there, by linear interpolation.

    Empty where there is no seed, or the seeds have no steps in common.
    """
    empty = np.zeros(0), np.zeros((len(runs), 0))
    if not runs or any(len(steps) == 0 for steps, _ in runs):
        return empty
    first, last = max(steps[0] for steps, _ in runs), min(steps[-1] for steps, _ in runs)
    if first > last:
        return empty
    grid = np.linspace(first, last, POINTS)
    return grid, np.stack([np.interp(grid, steps, values) for steps, values in runs])


def draw_improvement(names: Sequence[str], matrices: Mapping[str, Array], path: Path) -> None:
    """Draw the probability that the row's method is better than the column's, one heat map per policy.

    Args:
        names: The K methods.
        matrices: Per policy (K, K); NaN is left empty.
        path: PNG file to write.
    """
    many = len(names) > 5
    labels = 0.1 * max(len(name) for name in names)
    size = (0.6 if many else 0.85) * len(names) + 0.8 + labels
    across, down = (1, len(matrices)) if many else (len(matrices), 1)
    figure = Figure(figsize=((size + 0.4) * across + 1.4, size * down), dpi=DPI, layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).flatten()
    image = None
    for place, (policy, matrix) in zip(axes, matrices.items(), strict=True):
        # orange to purple through white: read alike with any common colour blindness
        image = place.imshow(np.ma.masked_invalid(matrix), cmap="PuOr_r", vmin=0, vmax=1)
        place.set_title(f"{policy} policy", fontsize=12, color=INK)
        place.set_xticks(range(len(names)), names, rotation=35, ha="right", fontsize=11)
        place.set_yticks(range(len(names)), names, fontsize=11)
        for i, j in zip(*np.nonzero(np.isfinite(matrix)), strict=True):
            value = matrix[i, j]
            colour = "white" if abs(value - 0.5) > 0.27 else INK
            place.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=11, color=colour)
        place.set_facecolor("#e9ebee")
        place.tick_params(length=0)
        place.spines[:].set_visible(False)
        for edge in np.arange(0.5, len(names) - 1):
            place.axhline(edge, color="white", linewidth=3)
            place.axvline(edge, color="white", linewidth=3)
    if image is not None:
        figure.colorbar(image, ax=list(axes), shrink=0.8).set_label("P(row better than column)", fontsize=11)
    figure.savefig(path)

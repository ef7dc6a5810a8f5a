"""The picture of a calibration: per constraint the costs of every policy, the limits that bind, and those suggested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from saferl.evaluation.calibration import Range, Sample, number, policy_name
from saferl.evaluation.calibration_report import Calibrated
from saferl.evaluation.calibration_verdict import EQUALITY_TOLERANCE

WIDTH, DPI = 9.0, 100  # 900 pixels
HEAD, FOOT, ABOVE, PLOT, BELOW = 0.4, 0.35, 0.68, 1.35, 0.45  # inches
ROW = ABOVE + PLOT + BELOW
INFEASIBLE, TRIVIAL = "#f6c9c9", "#dcdfe4"
SUGGESTED, PRESENT, ASKED = "#2e7d32", "#111418", "#7a3b9d"
POLICY_COLOURS = {"random": "#8a8f98", "unconstrained": "#c2571a", "careful": "#1e6ebe"}
DECADES = 50.0
"""Where the greatest number is this much greater than the least positive one, the axis is logarithmic."""


@dataclass(frozen=True)
class _Mark:
    """A labelled vertical line; one that was asked for may lie outside of what is drawn."""

    at: float
    text: str
    colour: str
    style: str
    asked: bool = False


def draw(path: Path, title: str, rows: Sequence[tuple[Calibrated, Sequence[Sample]]]) -> None:
    """Draw a picture 900 pixels wide, one row per constraint.

    Args:
        path: The file to write, a PNG.
        title: The line above.
        rows: The constraints with the episodes of every policy.
    """
    height = HEAD + FOOT + ROW * len(rows)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.text(0.012, 1 - 0.2 / height, title, fontsize=11, weight="bold", va="center")
    for i, (found, samples) in enumerate(rows):
        bottom = FOOT + ROW * (len(rows) - 1 - i) + BELOW
        axes = figure.add_axes((0.185, bottom / height, 0.79, PLOT / height))
        figure.text(0.012, (bottom + PLOT + ABOVE) / height, _heading(found), fontsize=9.5, weight="bold", va="top")
        _row(axes, found, samples)
    _legend(figure, height)
    figure.savefig(path, format="png")


def _heading(found: Calibrated) -> str:
    spec = found.spec
    return f"{spec['name']}: limit {spec['limit']:g}{'' if spec['unit'] == '1' else ' ' + spec['unit']}"


def _row(axes: Axes, found: Calibrated, samples: Sequence[Sample]) -> None:
    marks = _marks(found)
    finite = [sample.costs[np.isfinite(sample.costs)] for sample in samples]
    shown = [mark.at for mark in marks if not mark.asked]
    # a log axis is wide where costs are small, which is where limits on high costs are not
    low, high = _scale(axes, np.concatenate([*finite, shown, [0.0]]), found.spec.get("sense", "<=") != ">=")
    for y, (sample, costs) in enumerate(zip(samples, finite, strict=True)):
        if costs.size:
            _policy(axes, y, POLICY_COLOURS.get(sample.policy.partition("_")[0], PRESENT), costs)
    axes.set_yticks(range(len(samples)), [policy_name(sample.policy) for sample in samples], fontsize=8)
    axes.set_ylim(len(samples) - 0.4, -0.6)
    axes.tick_params(axis="x", labelsize=8)
    if found.range is not None:
        _shade(axes, found.range, low, high)
    _label(axes, marks, low, high)
    spec = found.spec
    what = f"{spec.get('aggregate', 'sum')} of {spec.get('cost', 'indicator')}"
    axes.set_xlabel(f"cost per episode ({what})", fontsize=8, labelpad=2)


def _policy(axes: Axes, y: int, colour: str, costs: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    """Draw a box of the middle half with median and whiskers at 5 and 95 %, and every episode as a dot."""
    axes.boxplot(
        [costs], positions=[y], orientation="horizontal", widths=0.6, whis=(5, 95), showfliers=False, patch_artist=True,
        manage_ticks=False, boxprops={"facecolor": colour, "alpha": 0.35, "edgecolor": colour},
        medianprops={"color": colour, "linewidth": 2.2}, whiskerprops={"color": colour}, capprops={"color": colour},
    )  # fmt: skip
    # spread by rank, so that the picture is the same every time
    spread = 0.22 * np.sin(2.4 * np.arange(len(costs)))
    axes.scatter(costs, y + spread, s=5, color=colour, alpha=0.45, linewidths=0, zorder=3)


def _scale(axes: Axes, numbers: np.ndarray[tuple[int], np.dtype[np.float64]], may_be_log: bool) -> tuple[float, float]:
    """Set the axis so that all numbers are seen, logarithmic where they span decades, and return its ends."""
    low, high = float(numbers.min()), float(numbers.max())
    sizes = np.abs(numbers[numbers != 0])
    logarithmic = may_be_log and bool(sizes.size) and sizes.max() > DECADES * sizes.min()
    if logarithmic:
        # no more than four decades: what is smaller is zero to the eye
        threshold = float(10 ** np.floor(np.log10(max(sizes.min(), sizes.max() / 1e4))))
        axes.set_xscale("symlog", linthresh=threshold, linscale=0.5)
        axes.xaxis.set_minor_locator(NullLocator())
        low, high = (low * 1.6 if low < 0 else -0.3 * threshold), max(high * 1.6, threshold)
    else:
        air = 0.06 * (high - low) or 1.0
        low, high = low - air, high + air
    axes.set_xlim(low, high)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return low, high


def _shade(axes: Axes, found: Range, low: float, high: float) -> None:
    """Shade the limits that no policy found keeps, and those that change nothing."""
    free, careful = found.free.cost, found.careful.cost
    if found.sense == "==":
        axes.axvspan(low, found.least.cost, color=INFEASIBLE, zorder=0, linewidth=0)
        axes.axvspan(found.greatest.cost, high, color=INFEASIBLE, zorder=0, linewidth=0)
        near = sorted((free / (1 + EQUALITY_TOLERANCE), free / (1 - EQUALITY_TOLERANCE)))
        axes.axvspan(near[0], near[1], color=TRIVIAL, zorder=0)
    elif found.sense == "<=":
        axes.axvspan(low, careful, color=INFEASIBLE, zorder=0, linewidth=0)
        axes.axvspan(free, high, color=TRIVIAL, zorder=0, linewidth=0)
    else:
        axes.axvspan(careful, high, color=INFEASIBLE, zorder=0, linewidth=0)
        axes.axvspan(low, free, color=TRIVIAL, zorder=0, linewidth=0)


def _marks(found: Calibrated) -> list[_Mark]:
    marks = [_Mark(value, f"{name} {number(value)}", SUGGESTED, ":") for name, value in found.suggestions.items()]
    for judged in found.judgements:
        asked = judged.source != "present"
        text = f"{judged.source} {judged.limit:g}: {judged.verdict}"
        marks.append(_Mark(judged.limit, text, ASKED if asked else PRESENT, "--" if asked else "-", asked))
    return sorted(marks, key=lambda mark: mark.at)


def _label(axes: Axes, marks: Sequence[_Mark], low: float, high: float) -> None:
    """Draw the lines, and their labels above the axes, each on the lowest line of text where it touches no other."""
    box = axes.get_window_extent()
    taken: list[float] = []  # per line of text, the pixel up to which it is full
    for mark in marks:
        text = f"\N{LEFTWARDS ARROW} {mark.text}" if mark.at < low else mark.text
        text = f"{text} \N{RIGHTWARDS ARROW}" if mark.at > high else text
        if low <= mark.at <= high:
            axes.axvline(mark.at, color=mark.colour, linestyle=mark.style, linewidth=1.4, zorder=4)
        half = 3.0 * len(text)
        x = float(axes.transData.transform((min(max(mark.at, low), high), 0.0))[0])
        x = min(max(x, box.x0 + half - 40), box.x1 - half + 15)
        level = next((i for i, end in enumerate(taken) if x - half > end), len(taken))
        taken[level : level + 1] = [x + half + 6]
        place = (x, box.y1 + 3 + 12 * level)
        axes.annotate(text, place, xycoords="figure pixels", ha="center", va="bottom", fontsize=8, color=mark.colour)


def _legend(figure: Figure, height: float) -> None:
    """Say what the shades and lines are."""
    x = 0.012
    for colour, text, width in (
        (INFEASIBLE, "infeasible: no policy found keeps such a limit", 0.33),
        (TRIVIAL, "trivial: the unconstrained policy keeps it", 0.30),
        ("white", "between: the limit binds", 0.2),
    ):
        box = {"facecolor": colour, "edgecolor": "#9aa0a8", "boxstyle": "square,pad=0.25", "linewidth": 0.6}
        figure.text(x, 0.17 / height, "   ", bbox=box, fontsize=7, va="center")
        figure.text(x + 0.025, 0.17 / height, text, fontsize=8, va="center")
        x += width

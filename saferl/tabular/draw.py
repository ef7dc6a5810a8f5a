"""Trajectories of several algorithms on one problem, side by side: returns, multipliers, and the one against the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from saferl.tabular.cmdp import CMDP
from saferl.tabular.games import Played
from saferl.tabular.optimum import Optimum
from saferl.tabular.players import Trajectory

TITLES = {"gda": "descent-ascent", "dual_only": "optimistic multiplier", "policy_only": "optimistic policy", "reload": "ReLOAD"}
FAR = 5.0
"""Beyond which a game's spiral is cut off."""
DRAWN = 4000
"""Points of a curve; more cannot be told apart."""


def draw(cmdp: CMDP, optimum: Optimum, trajectories: Mapping[str, Trajectory], path: Path) -> None:
    """Write a figure with a column per algorithm.

    Args:
        cmdp: The problem.
        optimum: Its solution, drawn as dashed lines.
        trajectories: By algorithm.
        path: The picture, its suffix says the format.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    count = len(trajectories)
    figure, axes = plt.subplots(
        3, count, figsize=(3.2 * count, 7.2), sharex="row", sharey="row", squeeze=False, layout="constrained"
    )
    for column, (name, found) in zip(axes.T, trajectories.items(), strict=True):
        shown = np.unique(np.linspace(0, len(found.returns) - 1, DRAWN).astype(int))
        returns, prices, phase = column
        _lines(returns, shown, found.returns, [optimum.returns[0], *cmdp.thresholds], ["reward", *_costs(cmdp)])
        _lines(prices, shown, found.multipliers, list(optimum.multipliers), [f"multiplier of {name}" for name in _costs(cmdp)])
        phase.plot(found.returns[shown, 1], found.multipliers[shown, 0], linewidth=0.6, color="tab:grey")
        phase.plot(found.returns[-1, 1], found.multipliers[-1, 0], "o", color="black", label="last iterate")
        phase.plot(cmdp.thresholds[0], optimum.multipliers[0], "x", color="tab:red", markersize=9, label="optimum")
        returns.set_title(TITLES.get(name, name))
        prices.set_xlabel("iteration")
        phase.set_xlabel(_costs(cmdp)[0])
    axes[0, 0].set_ylabel("normalised return")
    axes[1, 0].set_ylabel("multiplier")
    axes[2, 0].set_ylabel("multiplier")
    axes[0, -1].legend(fontsize=8)
    axes[2, -1].legend(fontsize=8)
    figure.suptitle(f"{cmdp.name}: dashed lines are the linear program's optimum and the thresholds")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_game(title: str, played: Mapping[str, Played], path: Path) -> None:
    """Write a figure with a column per algorithm: both players' first coordinates, and how far they are from rest.

    Args:
        title: Of the figure.
        played: By algorithm.
        path: The picture, its suffix says the format.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    count = len(played)
    figure, axes = plt.subplots(2, count, figsize=(3.2 * count, 5.6), sharey="row", squeeze=False, layout="constrained")
    for (phase, distance), (name, found) in zip(axes.T, played.items(), strict=True):
        shown = np.unique(np.linspace(0, len(found.x) - 1, DRAWN).astype(int))
        phase.plot(found.x[shown, 0], found.y[shown, 0], linewidth=0.6, color="tab:grey")
        phase.plot(found.x[-1, 0], found.y[-1, 0], "o", color="black", label="last iterate")
        if np.abs(found.x).max() > FAR:  # spirals outwards: the beginning is what there is to see
            phase.set_xlim(-FAR, FAR)
            phase.set_ylim(-FAR, FAR)
        phase.set_title(name)
        phase.set_xlabel("x")
        distance.semilogy(shown, np.maximum(found.distances[shown], 1e-16), linewidth=0.8, color="C0")
        distance.set_xlabel("iteration")
    axes[0, 0].set_ylabel("y")
    axes[1, 0].set_ylabel("distance from equilibrium")
    axes[0, -1].legend(fontsize=8)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _costs(cmdp: CMDP) -> list[str]:
    return ["cost"] if len(cmdp.costs) == 1 else [f"cost {i + 1}" for i in range(len(cmdp.costs))]


def _lines(axes: Any, shown: Any, curves: Any, marks: list[float], names: list[str]) -> None:
    for k, (mark, name) in enumerate(zip(marks, names, strict=True)):
        axes.plot(shown, curves[shown, k], linewidth=0.7, color=f"C{k}", label=name)
        axes.axhline(mark, linestyle="--", linewidth=0.9, color=f"C{k}")

"""What a run's log says of its training, iteration by iteration: how much it swung about its limits, and its curves drawn.

Always of single runs: averages over seeds hide oscillation.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from saferl.evaluation.curves import COLOURS, DPI, INK
from saferl.evaluation.oscillation import both_fine, oscillation
from saferl_envs.errors import CheckpointError

Array = np.ndarray[Any, Any]
SEVERAL = 3
"""Runs of a kind from which on quartiles are told."""
REWARD, STEPS = "rollout/reward_per_step", "time/total_timesteps"


@dataclass(frozen=True)
class Curves:
    """One run.

    Attributes:
        title: What to write above it.
        kind: What runs that differ by their seeds alone have in common.
        steps: (P,) environment steps at each iteration.
        reward: (P,) mean raw reward per step.
        costs: By constraint with a cost limit, (P,) its cost in that iteration alone.
        limits: Their cost limits, and the senses in which they hold.
        multipliers: By constraint, (P,), where the method has multipliers; NaN at the first iteration, which has none yet.
    """

    title: str
    steps: Array
    reward: Array
    costs: dict[str, Array]
    limits: dict[str, tuple[float, str]]
    multipliers: dict[str, Array] = field(default_factory=dict)
    kind: str = ""

    def oscillations(self, part: float = 0.5) -> dict[str, dict[str, float]]:
        """Return `saferl.evaluation.oscillation` of the reward and of each cost, over the last part of the iterations.

        With costs, the reward's metrics have ``both_fine`` too: the share of iterations within all limits whose reward is
        near the best that the run reached within them, both to 2 %; 0 where no iteration was.
        """
        found = {"reward": oscillation(self.reward, part=part)}
        if self.costs:
            found["reward"]["both_fine"] = self._both_fine(part)
        for name, cost in self.costs.items():
            limit, sense = self.limits[name]
            # mirrored where more is wanted, so that the excess is on the wrong side
            sign = -1.0 if sense == ">=" else 1.0
            metrics = oscillation(sign * cost, sign * limit, part)
            found[name] = {key: sign * value if key in ("mean", "last") else value for key, value in metrics.items()}
            if sense == "==":
                found[name]["violation"] = found[name]["distance"]
        return found

    def _both_fine(self, part: float, slack: float = 0.02) -> float:
        sizes = np.array([abs(self.limits[name][0]) for name in self.costs])
        costs = sizes + np.stack([self._excess(name) for name in self.costs], axis=1)  # all as if they had the sense <=
        feasible = (costs <= (1.0 + slack) * sizes).all(axis=1)
        if not feasible.any():
            return 0.0
        return both_fine(self.reward, float(self.reward[feasible].max()), costs, sizes, slack, part)

    def _excess(self, name: str) -> Array:
        """Return by how much each iteration's cost is on the wrong side of its limit, (P,), negative where it is not."""
        limit, sense = self.limits[name]
        off = self.costs[name] - limit
        excess: Array = -off if sense == ">=" else np.abs(off) if sense == "==" else off
        return excess


def read_curves(path: Path, specs: Sequence[dict[str, Any]], title: str = "", kind: str = "") -> Curves | None:
    """Return the curves of a ``progress.csv``, or None where it was written before they were logged, or holds too little.

    Args:
        path: The file.
        specs: The constraints.
        title: What to call the run.
        kind: What to call runs that differ from it by their seeds alone.

    Raises:
        CheckpointError: It cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get(REWARD) and row.get(STEPS)]
    except (OSError, UnicodeError, csv.Error) as error:
        raise CheckpointError(f"the log {path} cannot be read ({error})") from error
    limited = {spec["name"]: spec for spec in specs if spec.get("cost_limit") is not None}
    rows = [row for row in rows if all(row.get(f"constraint/{name}/present_cost") for name in limited)]
    if len(rows) < 2:
        return None

    def column(key: str) -> Array:
        return np.array([float(row[key] or "nan") for row in rows])

    try:
        return Curves(
            title,
            column(STEPS),
            column(REWARD),
            {name: column(f"constraint/{name}/present_cost") for name in limited},
            {name: (float(spec["cost_limit"]), spec.get("sense", "<=")) for name, spec in limited.items()},
            {name: column(key) for name in limited if rows[-1].get(key := f"constraint/{name}/multiplier")},
            kind,
        )
    except ValueError as error:
        raise CheckpointError(f"the log {path} is damaged ({error})") from error


def over_seeds(runs: Sequence[Curves], part: float) -> dict[str, dict[str, dict[str, tuple[float, float, float]]]]:
    """Return quartiles over runs of one kind, at least three of them: kind -> quantity -> metric -> (25 %, median, 75 %)."""
    found: dict[str, dict[str, dict[str, tuple[float, float, float]]]] = {}
    for kind in dict.fromkeys(run.kind for run in runs):
        alike = [run.oscillations(part) for run in runs if run.kind == kind]
        if len(alike) >= SEVERAL:
            found[kind] = {
                quantity: {key: _quartiles([metrics[quantity][key] for metrics in alike]) for key in alike[0][quantity]}
                for quantity in alike[0]
            }
    return found


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    low, median, high = (float(x) for x in np.percentile(values, (25, 50, 75)))
    return low, median, high


def draw_runs(runs: Sequence[Curves], path: Path) -> None:
    """Draw runs side by side: reward per step, costs with their limits, multipliers.

    Args:
        runs: At least one.
        path: PNG file to write.
    """
    rows = 3 if any(run.multipliers for run in runs) else 2
    figure = Figure(figsize=(max(4.2 * len(runs), 6.4), 2.5 * rows + 0.5), dpi=DPI, layout="constrained")
    axes = figure.subplots(rows, len(runs), squeeze=False, sharex="col", sharey="row")
    for j, run in enumerate(runs):
        axes[0, j].plot(run.steps, run.reward, color=INK, linewidth=1)
        axes[0, j].set_title(run.title, fontsize=11, color=INK)
        for k, (name, cost) in enumerate(run.costs.items()):
            colour = COLOURS[k % len(COLOURS)]
            axes[1, j].plot(run.steps, cost, color=colour, linewidth=1, label=name)
            axes[1, j].axhline(run.limits[name][0], color=colour, linestyle="--", linewidth=1)
            if name in run.multipliers:
                axes[2, j].plot(run.steps, run.multipliers[name], color=colour, linewidth=1)
        axes[rows - 1, j].set_xlabel("environment steps", fontsize=10)
        if run.costs:
            axes[1, j].legend(fontsize=8, frameon=False)
    for label, axis in zip(("reward per step", "cost, limit dashed", "multiplier"), axes[:, 0], strict=False):
        axis.set_ylabel(label, fontsize=10)
    for axis in axes.flat:
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.tick_params(labelsize=9, colors=INK)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    figure.savefig(path)

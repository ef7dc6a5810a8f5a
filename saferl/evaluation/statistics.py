"""From episodes to the numbers of a report, with bootstrap intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

from saferl.evaluation.rollout import Episodes
from saferl_envs.constraints import ConstraintSet

Array = np.ndarray[Any, Any]
LEVEL = 0.95


def bootstrap_interval(samples: Array, seed: int = 0, resamples: int = 2000) -> tuple[float, float]:
    """Return the percentile bootstrap interval (95 %) of the mean of samples (E,)."""
    samples = np.asarray(samples, np.float64)
    rng = np.random.default_rng(seed)
    means = samples[rng.integers(0, len(samples), (resamples, len(samples)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def summarize(episodes: Episodes, constraints: ConstraintSet) -> dict[str, Any]:
    """Return the summary of one policy's episodes as JSON data.

    Per constraint: ``violation_rate`` (share of steps above zero), ``cost_mean`` and ``cost_interval`` of the episode's
    cost, ``worst_margin`` (-g at its worst, negative when violated), ``over_limit_rate`` (share of episodes whose cost is
    above the cost limit; null without one).
    """
    steps = int(episodes.lengths.sum())
    per_constraint = {}
    for c, constraint in enumerate(constraints):
        costs = _aggregate(episodes.costs[:, c], episodes.lengths, constraint.aggregate)
        limit = constraint.cost_limit
        per_constraint[constraint.name] = {
            "violation_rate": float(episodes.violating_steps[:, c].sum() / steps),
            "cost_mean": float(costs.mean()),
            "cost_interval": bootstrap_interval(costs),
            "worst_margin": float(-episodes.worst[:, c].max()),
            "over_limit_rate": None if limit is None else float((costs > limit).mean()),
        }
    return {
        "return_mean": float(episodes.returns.mean()),
        "return_interval": bootstrap_interval(episodes.returns),
        "length_mean": float(episodes.lengths.mean()),
        "any_violation_rate": float(episodes.any_violating_steps.sum() / steps),
        "speed_mean": None if np.isnan(episodes.speeds).any() else float(episodes.speeds.mean()),
        "constraints": per_constraint,
    }


def _aggregate(costs: Array, lengths: Array, aggregate: str) -> Array:
    return costs / lengths if aggregate == "mean" else costs


def feasible(summary: dict[str, Any], constraints: ConstraintSet, tolerance: float) -> bool:
    """Return whether every constraint holds: its cost limit, or, without one, a violation rate within `tolerance`."""
    return excess(summary, constraints, tolerance) <= 0


def excess(summary: dict[str, Any], constraints: ConstraintSet, tolerance: float) -> float:
    """Return by how much the worst constraint misses what `feasible` asks, relative to its bound; <= 0 is feasible."""
    worst = -np.inf
    for constraint in constraints:
        found = summary["constraints"][constraint.name]
        if constraint.cost_limit is None:
            gap, scale = found["violation_rate"] - tolerance, max(tolerance, 1e-3)
        else:
            difference = found["cost_mean"] - constraint.cost_limit
            gap = {"<=": difference, ">=": -difference, "==": abs(difference) - 0.05 * abs(constraint.cost_limit)}[
                constraint.sense
            ]
            scale = max(abs(constraint.cost_limit), 1.0)
        worst = max(worst, gap / scale)
    return float(worst)

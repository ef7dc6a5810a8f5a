"""From episodes to the numbers of a report, with bootstrap intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from saferl.evaluation.aggregate import excess
from saferl.evaluation.rollout import Episodes
from saferl_envs.constraints import Constraint, ConstraintSet

Array = np.ndarray[Any, Any]
LEVEL = 0.95


def bootstrap_interval(samples: ArrayLike, seed: int = 0, resamples: int = 2000) -> tuple[float, float]:
    """Return the percentile bootstrap interval (95 %) of the mean of samples (E,)."""
    samples = np.asarray(samples, np.float64)
    rng = np.random.default_rng(seed)
    # one resample at a time: all at once would take gigabytes for a million episodes
    means = [samples[rng.integers(0, len(samples), len(samples))].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def summarize(episodes: Episodes, constraints: ConstraintSet, tolerance: float) -> dict[str, Any]:
    """Return the summary of one policy's episodes as JSON data.

    Per constraint: ``violation_rate`` (share of steps above zero), ``cost_mean`` and ``cost_interval`` of the episode's
    aggregated cost, ``worst_margin`` (-g at its worst, negative when violated), ``over_limit_rate`` (share of episodes whose
    cost misses the cost limit; null without one), ``excess`` (by how much the policy misses what is asked, relative to the
    bound; ``<= 0`` holds). ``reward_terms`` are means per step, ``task`` those of its outcomes, ``speed_mean`` that of the
    term called ``forward``, or null. `tolerance` is the violation rate that a constraint without cost limit may have. Style
    constraints shape behaviour: whether a policy is feasible is decided by the others, where there are any.
    """
    steps = int(episodes.lengths.sum())
    per_constraint: dict[str, dict[str, Any]] = {}
    for c, constraint in enumerate(constraints):
        costs = episodes.costs[:, c]
        rate = float(episodes.violating_steps[:, c].sum() / steps)
        limited = constraint.cost_limit is not None
        per_constraint[constraint.name] = {
            "violation_rate": rate,
            "cost_mean": float(costs.mean()),
            "cost_interval": bootstrap_interval(costs),
            "worst_margin": float(0.0 - episodes.worst[:, c].max()),
            "over_limit_rate": float((_misses(constraint, costs) > 0).mean()) if limited else None,
            "excess": float(_misses(constraint, costs.mean())) if limited else (rate - tolerance) / max(tolerance, 1e-3),
        }
    kinds = {constraint.name: constraint.kind for constraint in constraints}
    binding = [found["excess"] for name, found in per_constraint.items() if kinds[name] != "style"]
    worst = max(binding or [found["excess"] for found in per_constraint.values()])
    return {
        "return_mean": float(episodes.returns.mean()),
        "return_interval": bootstrap_interval(episodes.returns),
        "length_mean": float(episodes.lengths.mean()),
        "any_violation_rate": float(episodes.any_violating_steps.sum() / steps),
        "reward_terms": {name: float(means.mean()) for name, means in episodes.terms.items()},
        "task": {name: float(np.nanmean(o)) for name, o in episodes.outcomes.items() if np.isfinite(o).any()},
        "speed_mean": float(episodes.terms["forward"].mean()) if "forward" in episodes.terms else None,
        "excess": worst,
        "feasible": bool(worst <= 0),
        "constraints": per_constraint,
    }


def _misses(constraint: Constraint, costs: Any) -> Any:
    """Return by how much aggregated costs miss the cost limit in the constraint's sense; see `aggregate.excess`."""
    return excess(costs, float(constraint.cost_limit or 0.0), constraint.sense)


def rank(summary: dict[str, Any]) -> tuple[float, float]:
    """Return the key by which policies are compared: feasible ones first, by return; the others by how little they miss."""
    if not np.isfinite(summary["return_mean"]):
        return (-1.0, 0.0)
    return (1.0, summary["return_mean"]) if summary["feasible"] else (0.0, -summary["excess"])

"""How a rollout tells the mean episode cost of each constraint, and what such a cost is per step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from saferl.episode_costs import EpisodeCosts

Array = np.ndarray[Any, Any]
Estimate = Literal["rate", "episodes"]
SHORTEST_MEMORY = 10


def per_step(episodes: EpisodeCosts, aggregates: Sequence[str], num_envs: int) -> Array:
    """Return the factors (C,) that turn aggregated costs into costs per step.

    1 for means, one over the mean length L of the last episodes (one per copy, at least ten) for sums, and
    ``(1 - gamma) / (1 - gamma^L)`` for discounted sums.
    """
    recent = list(episodes.lengths)[-max(SHORTEST_MEMORY, num_envs) :]
    length = float(np.mean(recent)) if recent else 1.0
    gamma = episodes.gamma
    discounted = (1.0 - gamma) / (1.0 - gamma**length) if gamma < 1.0 else 1.0 / length
    factors = {"mean": 1.0, "sum": 1.0 / length, "discounted": discounted}
    return np.array([factors[aggregate] for aggregate in aggregates])


def mean_costs(
    episodes: EpisodeCosts, costs: Array, limited: Sequence[int], aggregates: Sequence[str], num_envs: int, estimate: Estimate
) -> Array | None:
    """Return the mean episode costs (C,) of limited constraints, or None where nothing is known.

    Args:
        episodes: What finished episodes cost.
        costs: (steps, N, C) of the limited constraints in the rollout.
        limited: Their indices among all constraints.
        aggregates: How each one's costs become the episode's.
        num_envs: N.
        estimate: ``episodes`` takes the episodes that ended since the last call; ``rate`` the rollout's mean cost per step
            times the mean length of the last episodes, unless a constraint bounds a discounted sum: when in an episode costs
            fall, a rate does not tell.
    """
    by_episode = episodes.take_fresh()
    if estimate == "episodes" or "discounted" in aggregates:
        return None if by_episode is None else by_episode[list(limited)]
    if not episodes.lengths:
        return None
    rates: Array = costs.mean(axis=(0, 1), dtype=np.float64)
    found: Array = rates / per_step(episodes, aggregates, num_envs)
    return found

"""Playing whole episodes with a fixed policy, all copies at once, and keeping what the constraints said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from saferl_envs.copies import Copies, clip_actions
from saferl_envs.errors import ConfigError

Array = np.ndarray[Any, Any]
UNLIMITED = 10**9
"""Steps beyond which an episode counts as one without time limit."""
Predict = Callable[[Any], Array]
"""Observations (N, obs), or a dictionary of such arrays, to actions (N, na)."""


@dataclass(frozen=True)
class Episodes:
    """E finished episodes under C constraints.

    Attributes:
        returns: (E,) sums of rewards.
        lengths: (E,) steps.
        costs: (E, C) per-step costs aggregated as the constraint says: sum, mean, or discounted sum.
        violating_steps: (E, C) steps above zero.
        any_violating_steps: (E,) steps on which any constraint was above zero.
        worst: (E, C) largest signed value seen.
        terms: Name of each reward term to its mean per step, (E,).
        outcomes: Name of each outcome of the task to its value, (E,), NaN where it does not apply; see `Task.outcomes`.
    """

    returns: Array
    lengths: Array
    costs: Array
    violating_steps: Array
    any_violating_steps: Array
    worst: Array
    terms: Mapping[str, Array]
    outcomes: Mapping[str, Array] = field(default_factory=dict)


def play(copies: Copies, predict: Predict, seed: int, gamma: float = 0.99) -> Episodes:
    """Play one episode in every copy.

    Args:
        copies: N of them; copy i starts its first episode with ``seed + i``.
        predict: The policy; it sees raw observations and its actions are clipped to the action space.
        seed: Seed of the first copy.
        gamma: Discount of constraints whose aggregate is ``discounted``.
    """
    if copies.max_episode_steps >= UNLIMITED:
        raise ConfigError("the environment's episodes have no time limit, so they may never end; set env.max_episode_steps")
    n, constraints = copies.num_envs, copies.constraints
    copies.seed(np.uint64(seed) + np.arange(n, dtype=np.uint64))
    copies.reset()
    alive = np.ones(n, np.bool_)
    returns = np.zeros(n)
    terms: dict[str, Array] = {}
    lengths, any_violating = np.zeros(n, np.int64), np.zeros(n, np.int64)
    costs, worst = np.zeros((n, len(constraints))), np.full((n, len(constraints)), -np.inf)
    violating = np.zeros((n, len(constraints)), np.int64)
    discounts = np.array([gamma if c.aggregate == "discounted" else 1.0 for c in constraints])
    weights = np.ones(len(constraints))
    observation = copies.observe()
    while alive.any():
        ids = None if alive.all() else np.flatnonzero(alive)
        t = copies.step(clip_actions(copies.action_space, predict(observation)), ids)
        observation, here = t.observation, alive[:, np.newaxis]
        returns += np.where(alive, t.reward, 0.0)
        lengths += alive
        for name, term in t.reward_terms.items():
            terms[name] = terms.get(name, 0.0) + np.where(alive, term, 0.0)
        costs += np.where(here, weights * t.costs, 0.0)
        weights = weights * discounts
        violating += t.violated & here
        any_violating += t.violated.any(axis=1) & alive
        np.maximum(worst, constraints.worst(t.values), out=worst, where=here)
        alive &= ~(t.terminated | t.truncated)
    averaged = np.array([c.aggregate == "mean" for c in constraints])
    costs = np.where(averaged, costs / lengths[:, np.newaxis], costs)
    means = {name: total / lengths for name, total in terms.items()}
    return Episodes(returns, lengths, costs, violating, any_violating, worst, means, dict(copies.outcomes()))


def join(parts: Sequence[Episodes]) -> Episodes:
    """Return the episodes of several calls as one record."""
    names = [f.name for f in fields(Episodes) if f.name not in ("terms", "outcomes")]
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}

    def together(mapping: str) -> dict[str, Array]:
        keys = getattr(parts[0], mapping)
        return {key: np.concatenate([getattr(part, mapping)[key] for part in parts]) for key in keys}

    return Episodes(**arrays, terms=together("terms"), outcomes=together("outcomes"))

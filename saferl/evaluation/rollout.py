"""Playing whole episodes with a fixed policy, all copies at once, and keeping what the constraints said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from saferl_envs.engine import Engine

Array = np.ndarray[Any, Any]
Predict = Callable[[Array], Array]
"""Observations (N, obs) to actions (N, na)."""


@dataclass(frozen=True)
class Episodes:
    """E finished episodes under C constraints.

    Attributes:
        returns: (E,) sums of rewards.
        lengths: (E,) steps.
        costs: (E, C) sums of per-step costs.
        violating_steps: (E, C) steps above zero.
        any_violating_steps: (E,) steps on which any constraint was above zero.
        worst: (E, C) largest signed value seen.
        speeds: (E,) mean forward reward term per step, where the task has one called ``forward``; else NaN.
    """

    returns: Array
    lengths: Array
    costs: Array
    violating_steps: Array
    any_violating_steps: Array
    worst: Array
    speeds: Array


def play(engine: Engine, predict: Predict, seed: int) -> Episodes:
    """Play one episode in every copy of the engine.

    Args:
        engine: N copies; copy i starts its first episode with ``seed + i``.
        predict: The policy; it sees raw observations and its actions are clipped to the action space.
        seed: Seed of the first copy.
    """
    n, constraints = engine.num_envs, engine.constraints
    engine.seed(seed + np.arange(n, dtype=np.uint64))
    engine.reset()
    alive = np.ones(n, np.bool_)
    returns, speeds = np.zeros(n), np.zeros(n)
    lengths, any_violating = np.zeros(n, np.int64), np.zeros(n, np.int64)
    costs, worst = np.zeros((n, len(constraints))), np.full((n, len(constraints)), -np.inf)
    violating = np.zeros((n, len(constraints)), np.int64)
    starts = [s.start for s in constraints.slices]
    observation = engine.observe()
    while alive.any():
        ids = None if alive.all() else np.flatnonzero(alive)
        t = engine.step(np.clip(predict(observation), engine.action_low, engine.action_high), ids)
        observation = t.observation
        returns += np.where(alive, t.reward, 0.0)
        lengths += alive
        speeds += np.where(alive, t.reward_terms.get("forward", np.nan), 0.0)
        costs += np.where(alive[:, np.newaxis], t.costs, 0.0)
        violating += t.violated & alive[:, np.newaxis]
        any_violating += t.violated.any(axis=1) & alive
        peak = np.maximum.reduceat(t.values, starts, axis=1)
        np.maximum(worst, peak, out=worst, where=alive[:, np.newaxis])
        alive &= ~(t.terminated | t.truncated)
    return Episodes(returns, lengths, costs, violating, any_violating, worst, speeds / lengths)

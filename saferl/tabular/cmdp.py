"""A finite constrained Markov decision process, with exact values of any policy.

Notation of ``v_0 = (1 - gamma) E sum_t gamma^t r(s_t, a_t)``: all returns are normalised by (1 - gamma), so that they are
in the units of a single step's reward, whatever the discount.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saferl_envs.errors import ConfigError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Values:
    """Exact values of one policy; index 0 is the reward, 1 to N are the costs.

    Attributes:
        q: (1 + N, S, A), normalised.
        v: (1 + N, S), normalised.
        returns: (1 + N,) from the initial distribution.
    """

    q: Array
    v: Array
    returns: Array


class CMDP:
    """Maximise ``v_0`` subject to ``v_i <= thresholds[i]``.

    Args:
        transitions: (S, A, S) probabilities of the next state.
        reward: (S, A).
        costs: (N, S, A).
        thresholds: (N,) upper bounds of the normalised costs.
        initial: (S,) distribution of the first state.
        gamma: Discount in [0, 1).
        name: For plots.

    Raises:
        ConfigError: Shapes do not fit, probabilities do not sum to one, or a number is not finite.
    """

    def __init__(
        self, transitions: ArrayLike, reward: ArrayLike, costs: ArrayLike, thresholds: ArrayLike, initial: ArrayLike,
        gamma: float, name: str = "cmdp",
    ) -> None:  # fmt: skip
        self.transitions, self.reward = np.array(transitions, np.float64), np.array(reward, np.float64)
        self.costs, self.thresholds = np.array(costs, np.float64), np.array(thresholds, np.float64)
        self.initial, self.gamma, self.name = np.array(initial, np.float64), float(gamma), name
        states, actions = self.reward.shape if self.reward.ndim == 2 else (0, 0)
        wanted: dict[str, tuple[Any, tuple[int, ...]]] = {
            "transitions": (self.transitions, (states, actions, states)),
            "costs": (self.costs, (len(self.costs), states, actions)),
            "thresholds": (self.thresholds, (len(self.costs),)),
            "initial": (self.initial, (states,)),
        }
        for key, (array, shape) in wanted.items():
            if array.shape != shape or not np.isfinite(array).all():
                raise ConfigError(f"{name}: {key} must be finite numbers of shape {shape}, got shape {array.shape}")
        for key, chances in (("transitions", self.transitions), ("initial", self.initial)):
            if (chances < 0).any() or np.abs(chances.sum(axis=-1) - 1.0).max() > 1e-9:
                raise ConfigError(f"{name}: {key} must be probabilities that sum to one")
        if not 0.0 <= self.gamma < 1.0:
            raise ConfigError(f"{name}: gamma must be in [0, 1), got {gamma}")
        self.states, self.actions = states, actions

    @property
    def rewards(self) -> Array:
        """Reward and costs, (1 + N, S, A)."""
        return np.concatenate((self.reward[np.newaxis], self.costs))

    def with_thresholds(self, thresholds: ArrayLike) -> CMDP:
        """Return the same process with other thresholds."""
        return CMDP(self.transitions, self.reward, self.costs, thresholds, self.initial, self.gamma, self.name)

    def values(self, policy: Array) -> Values:
        """Return exact values of a policy (S, A), by solving the Bellman equation."""
        step = np.einsum("sa,sat->st", policy, self.transitions)
        rewards = self.rewards
        immediate = np.einsum("sa,ksa->sk", policy, rewards)
        v = (1.0 - self.gamma) * np.linalg.solve(np.eye(self.states) - self.gamma * step, immediate).T
        q = (1.0 - self.gamma) * rewards + self.gamma * np.einsum("sat,kt->ksa", self.transitions, v)
        return Values(q, v, v @ self.initial)

    def occupancy(self, policy: Array) -> Array:
        """Return the normalised discounted state-action occupancy (S, A) of a policy; it sums to one."""
        step = np.einsum("sa,sat->st", policy, self.transitions)
        states = (1.0 - self.gamma) * np.linalg.solve(np.eye(self.states) - self.gamma * step.T, self.initial)
        occupancy: Array = states[:, np.newaxis] * policy
        return occupancy

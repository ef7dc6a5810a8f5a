"""Episode costs of running copies: what each finished episode cost, aggregated as each constraint says.

Methods decide by these numbers, so they are kept here, in full precision and apart from any logger.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from saferl_envs.constraints import ConstraintSet
from saferl_envs.errors import CheckpointError

Array = np.ndarray[Any, Any]
WINDOW = 100
"""Finished episodes that are remembered for averages; as many as there are copies, where these are more."""


class EpisodeCosts:
    """Aggregates per-step costs (N, C) over the episodes of N copies.

    Args:
        constraints: Their `aggregate` says how: sum, mean over the episode's steps, or discounted sum.
        num_envs: N.

    Attributes:
        gamma: Discount of constraints whose aggregate is ``discounted``.
        finished: (C,) aggregated costs of the last episodes, oldest first.
        lengths: Steps of the same episodes.
        fresh: How many of them finished since `take_fresh` was last called.
    """

    def __init__(self, constraints: ConstraintSet, num_envs: int) -> None:
        self.gamma = 0.99
        self._averaged = np.array([c.aggregate == "mean" for c in constraints])
        self._discounted = np.array([c.aggregate == "discounted" for c in constraints])
        self._sums = np.zeros((num_envs, len(constraints)))
        self._discounts = np.ones((num_envs, len(constraints)))
        self._steps = np.zeros(num_envs, np.int64)
        self._window = max(WINDOW, num_envs)
        self.finished: deque[Array] = deque(maxlen=self._window)
        self.lengths: deque[int] = deque(maxlen=self._window)
        self.fresh = 0

    def restart(self) -> None:
        """Begin an episode in every copy; what has finished stays."""
        self._sums[:], self._discounts[:], self._steps[:] = 0.0, 1.0, 0

    def add(self, costs: Array, dones: Array) -> None:
        """Take one step: per-step costs (N, C), and which copies' episodes it ended (N,)."""
        self._sums += self._discounts * costs
        if self._discounted.any():
            self._discounts[:, self._discounted] *= self.gamma
        self._steps += 1
        for i in np.flatnonzero(dones).tolist():
            self.finished.append(np.where(self._averaged, self._sums[i] / self._steps[i], self._sums[i]))
            self.lengths.append(int(self._steps[i]))
            self.fresh += 1
            self._sums[i], self._discounts[i], self._steps[i] = 0.0, 1.0, 0

    def take_fresh(self) -> Array | None:
        """Return the mean costs (C,) of the episodes that finished since the last call, or None where none did."""
        fresh, self.fresh = min(self.fresh, len(self.finished)), 0
        mean: Array | None = np.mean(list(self.finished)[-fresh:], axis=0) if fresh else None
        return mean

    def state(self) -> dict[str, Array]:
        """Return everything as new arrays."""
        finished = np.array(self.finished).reshape(-1, self._sums.shape[1])
        running = {"sums": self._sums.copy(), "discounts": self._discounts.copy(), "steps": self._steps.copy()}
        return {**running, "finished": finished, "lengths": np.array(self.lengths, np.int64), "fresh": np.array(self.fresh)}

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Take over what `state` returned.

        Raises:
            CheckpointError: It is of another number of copies or constraints.
        """
        for name, array in (("sums", self._sums), ("discounts", self._discounts), ("steps", self._steps)):
            if state[name].shape != array.shape:
                raise CheckpointError(f"episode costs: {name} has shape {state[name].shape}, expected {array.shape}")
            array[:] = state[name]
        number, constraints = len(state["lengths"]), self._sums.shape[1]
        if state["finished"].shape != (number, constraints) or number > self._window:
            raise CheckpointError(f"episode costs: {number} episodes with costs of shape {state['finished'].shape}")
        self.finished = deque(list(state["finished"]), maxlen=self._window)
        self.lengths = deque(state["lengths"].tolist(), maxlen=self._window)
        self.fresh = int(state["fresh"])

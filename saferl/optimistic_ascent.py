"""Multipliers that follow the optimistic gradient, and what an optimistic policy makes of them (ReLOAD, arXiv 2302.01275)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from saferl.multipliers import Multipliers

Array = np.ndarray[Any, Any]
Players = Literal["both", "multiplier", "policy", "none"]


class OptimisticAscent(Multipliers):
    """Multipliers that follow ``2 e_k - e_(k-1)``, and weights extrapolated as ``2 mu_k - mu_(k-1)``.

    Args:
        *args: As for `Multipliers`.
        learning_rate: eta.
        optimistic: Which players are; ``none`` is plain descent-ascent, the others are for comparison.
        clip_weights: Hold extrapolated weights of inequalities at zero from below.
        maximum: As for `Multipliers`; extrapolated weights are held within it too.
        **kwargs: As for `Multipliers`.
    """

    def __init__(
        self, *args: Any, learning_rate: float, optimistic: Players = "both", clip_weights: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.learning_rate, self.optimistic, self.clip_weights = learning_rate, optimistic, clip_weights
        self._last_values, self._last_error = self.values.copy(), np.zeros_like(self.values)
        self._seen = np.zeros(1)

    @property
    def weights(self) -> Array:
        """The signed weights (C,) of the cost advantages, extrapolated where the policy is optimistic."""
        ahead = 2.0 * self.values - self._last_values if self.optimistic in ("both", "policy") else self.values
        if self.clip_weights:
            ahead = self.project(ahead)
        elif self._maximum is not None:
            ahead = np.clip(ahead, -self._maximum, self._maximum)
        weights: Array = self._direction * ahead
        return weights

    def update(self, costs: Array) -> None:
        """Take one step; the first has no gradient before it and is a plain one."""
        error = self.error(costs)
        before = self._last_error if self._seen[0] and self.optimistic in ("both", "multiplier") else error
        self._last_values[:] = self.values
        self.values[:] = self.project(self.values + self.learning_rate * (2.0 * error - before))
        self._last_error[:], self._seen[0] = error, 1.0

    def _state(self) -> dict[str, Array]:
        return {"last_values": self._last_values, "last_error": self._last_error, "seen": self._seen}

"""Multipliers that cannot grow without bound: squashed into (0, 1), so that the mixture of advantages is a convex one.

The parametrisation of ReLOAD's first author (Moskovitz et al. 2023, arXiv 2310.04373, who credit it to earlier work, ReLOAD
among it): with ``s_i = sigmoid(x_i)`` of N constraints the policy follows ``(N - sum_i s_i) A_reward - sum_i s_i A_cost_i``.
That is N times the mixture of the unbounded multipliers ``lambda_i = s_i / (N - sum_j s_j)`` divided by ``1 + sum lambda``, so
these are what `values` holds, and methods need not know. Equalities have a tanh, as there. Near 0 and 1 the slope
``s (1 - s)`` vanishes and multipliers stick.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from saferl.multipliers import CostScale, Multipliers
from saferl.optimistic_ascent import Players

Array = np.ndarray[Any, Any]
_LARGEST = 0.999


class BoundedAscent(Multipliers):
    """Gradient ascent on x: ``x <- x + eta (2 g_k - g_(k-1))`` with ``g = ds/dx e``; weights of ``2 s_k - s_(k-1)``.

    These are held within the range of s, so that weights of inequalities are never negative.

    Args:
        limits: As for `Multipliers`.
        senses: As for `Multipliers`.
        learning_rate: eta.
        optimistic: Which players are; see `saferl.optimistic_ascent`.
        initial: Start of every s, in (0, 1); of an equality 0. A multiplier of 1 with one constraint is s = 0.5.
        cost_scale: As for `Multipliers`.
    """

    def __init__(
        self,
        limits: list[float],
        senses: list[str],
        learning_rate: float,
        optimistic: Players = "both",
        initial: float = 0.5,
        cost_scale: CostScale = 1.0,
    ) -> None:
        super().__init__(limits, senses, cost_scale=cost_scale)
        self.learning_rate, self.optimistic = learning_rate, optimistic
        self._both_signs = np.isneginf(self._floor)
        self._x = np.where(self._both_signs, 0.0, np.log(initial / (1.0 - initial)))
        self._last_squashed, self._last_slope = self._squashed.copy(), np.zeros_like(self._x)
        self._seen = np.zeros(1)
        self.values[:] = self._unbounded(self._squashed)

    @property
    def _squashed(self) -> Array:
        """s, (C,)."""
        return np.where(self._both_signs, np.tanh(self._x), 1.0 / (1.0 + np.exp(-self._x)))

    def _unbounded(self, squashed: Array) -> Array:
        """Return lambda (C,) of s (C,)."""
        held = np.clip(squashed, np.where(self._both_signs, -_LARGEST, 0.0), _LARGEST)
        found: Array = held / (len(held) - np.abs(held).sum())
        return found

    @property
    def weights(self) -> Array:
        """The signed weights (C,) of the cost advantages, extrapolated where the policy is optimistic."""
        ahead = self._squashed
        if self.optimistic in ("both", "policy"):
            ahead = 2.0 * ahead - self._last_squashed
        weights: Array = self._direction * self._unbounded(ahead)
        return weights

    def update(self, costs: Array) -> None:
        """Take one step; the first has no gradient before it and is a plain one."""
        s = self._squashed
        slope = self.error(costs) * np.where(self._both_signs, 1.0 - s**2, s * (1.0 - s))
        before = self._last_slope if self._seen[0] and self.optimistic in ("both", "multiplier") else slope
        self._last_squashed[:] = s
        self._x[:] = self._x + self.learning_rate * (2.0 * slope - before)
        self._last_slope[:], self._seen[0] = slope, 1.0
        self.values[:] = self._unbounded(self._squashed)

    def _state(self) -> dict[str, Array]:
        return {"x": self._x, "last_squashed": self._last_squashed, "last_slope": self._last_slope, "seen": self._seen}

"""ReLOAD-PPO: policy and multipliers both optimistic (Moskovitz et al. 2023, arXiv 2302.01275), on PPO.

Descent-ascent on a constrained problem goes round in circles; with both players following ``2 g_k - g_(k-1)`` it comes to
rest, shown on tables in `saferl.tabular`. Here the multipliers do so by plain gradient steps, and the policy follows advantages
mixed with the extrapolated multipliers ``w = 2 mu_k - mu_(k-1)``, which in occupancy space is its optimistic gradient::

    A  = (A_reward - sum_i w_i A_cost_i) / (1 + sum_i |w_i|)
    mu_(k+1) = max(0, mu_k + eta (2 e_k - e_(k-1)))

**Reconstruction:** the paper has no public code and evaluates tables, IMPALA and MPO; PPO with it is our adaptation, as are
``>=`` and ``==``. Advantages are divided by slow scales rather than standardised (`saferl.slow_scale`); the learning rate is
constant, since annealing damps every method.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from saferl.algorithms.cost_critic_ppo import Scaling
from saferl.algorithms.lagrangian import LagrangianSettings
from saferl.algorithms.mixed_ppo import Standardized
from saferl.algorithms.registry import register_method
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
        weights: Array = self._direction * (self.project(ahead) if self.clip_weights else ahead)
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


@register_method(
    "reload",
    "ReLOAD on PPO: policy and multipliers both optimistic, for a last iterate that comes to rest",
    "Moskovitz et al. 2023, arXiv 2302.01275",
)
class ReloadSettings(LagrangianSettings):
    """Settings of ReLOAD-PPO.

    Attributes:
        multiplier_lr: eta, per unit of error.
        optimistic: ``both`` is ReLOAD; ``multiplier`` and ``policy`` make one player optimistic, ``none`` is descent-ascent.
        clip_weights: Hold extrapolated weights at zero from below; off is faithful.
    """

    simultaneous: ClassVar[bool] = True

    name: str = "reload"
    multiplier_lr: PositiveFloat = 0.05
    optimistic: Players = "both"
    clip_weights: bool = False
    cost_scaling: Scaling = "slow"
    standardize: Standardized = "slow"

    def rule(self, limits: list[float], senses: list[str]) -> OptimisticAscent:
        """Return optimistic ascent."""
        return OptimisticAscent(
            limits, senses, learning_rate=self.multiplier_lr, optimistic=self.optimistic, clip_weights=self.clip_weights,
            **self.shared(),
        )  # fmt: skip

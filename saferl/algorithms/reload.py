"""ReLOAD-PPO: policy and multipliers both optimistic (Moskovitz et al. 2023, arXiv 2302.01275), on PPO.

Descent-ascent on a constrained problem goes round in circles; with both players following ``2 g_k - g_(k-1)`` it comes to
rest, shown on tables in `saferl.tabular`. Here the multipliers do so by plain gradient steps, and the policy follows advantages
mixed with the extrapolated multipliers ``w = 2 mu_k - mu_(k-1)``, which in occupancy space is its optimistic gradient::

    A  = (A_reward - sum_i w_i A_cost_i) / (1 + sum_i |w_i|)
    mu_(k+1) = max(0, mu_k + eta (2 e_k - e_(k-1)))

**Reconstruction:** the paper has no public code and evaluates tables, IMPALA and MPO; PPO with it is our adaptation, as are
``>=`` and ``==``. Advantages are divided by slow scales rather than standardised (`saferl.slow_scale`). The learning rate is
constant by default: annealing it calms every method, and comparisons of oscillation must not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import PositiveFloat, model_validator

from saferl.algorithms.cost_critic_ppo import Scaling
from saferl.algorithms.lagrangian import LagrangianSettings
from saferl.algorithms.mixed_ppo import Standardized
from saferl.algorithms.registry import register_method
from saferl.bounded_ascent import BoundedAscent
from saferl.multipliers import Multipliers
from saferl.optimistic_ascent import OptimisticAscent, Players


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
        bounded: Squash multipliers into (0, 1); see `saferl.bounded_ascent`. They then begin at 0.5 if `multiplier_initial`
            does not say otherwise.
    """

    simultaneous: ClassVar[bool] = True

    name: str = "reload"
    multiplier_lr: PositiveFloat = 0.05
    optimistic: Players = "both"
    clip_weights: bool = False
    bounded: bool = False
    cost_scaling: Scaling = "slow"
    standardize: Standardized = "slow"

    @model_validator(mode="before")
    @classmethod
    def _bounded_begin_in_the_middle(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("bounded") is True:
            return {"multiplier_initial": 0.5, **data}
        return data

    @model_validator(mode="after")
    def _bounds_need_no_cap(self) -> Self:
        for key in ("multiplier_maximum", "clip_weights"):
            if self.bounded and getattr(self, key):
                raise ValueError(f"{key} is of multipliers that are not bounded")
        if self.bounded and not self.sum_norm:
            raise ValueError("sum_norm cannot be off where multipliers are bounded: the mixture would not be convex")
        if self.bounded and not 0.0 < self.multiplier_initial < 1.0:
            raise ValueError(
                f"multiplier_initial {self.multiplier_initial} must be above 0 and below 1 where multipliers are bounded"
            )
        return self

    def rule(self, limits: list[float], senses: list[str]) -> Multipliers:
        """Return optimistic ascent."""
        if self.bounded:
            return BoundedAscent(
                limits, senses, learning_rate=self.multiplier_lr, optimistic=self.optimistic,
                initial=self.multiplier_initial, cost_scale=self.cost_scale,
            )  # fmt: skip
        return OptimisticAscent(
            limits, senses, learning_rate=self.multiplier_lr, optimistic=self.optimistic, clip_weights=self.clip_weights,
            **self.shared(),
        )  # fmt: skip

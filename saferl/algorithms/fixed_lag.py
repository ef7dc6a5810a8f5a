"""Fixed multipliers: the Lagrangian methods' mixture of advantages with weights that do not move.

The baseline of scalarisation: with the optimal multipliers the best policies of the mixture include the constrained optimum,
but others too that break or waste the limit, and the optimal ones are not known beforehand.
Unlike `saferl.algorithms.penalty` every cost has a critic of its own, and nothing is added to the reward.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from saferl.algorithms.lagrangian import LagrangianSettings
from saferl.algorithms.mixed_ppo import Standardized
from saferl.algorithms.registry import register_method
from saferl.multipliers import Multipliers

Array = np.ndarray[Any, Any]


class FixedMultipliers(Multipliers):
    """Multipliers that stay where they begin."""

    def update(self, costs: Array) -> None:
        """Leave them."""

    def _state(self) -> dict[str, Array]:
        return {}


@register_method(
    "fixed_lag",
    "a fixed weight for every cost critic: scalarisation, the baseline before multipliers that learn",
    "folklore",
)
class FixedLagSettings(LagrangianSettings):
    """Settings of fixed multipliers.

    Attributes:
        multiplier_initial: Of every constraint with a cost limit.
        standardize: By default the mixture, so that a multiplier is a price, reward per cost.
    """

    name: str = "fixed_lag"
    multiplier_initial: float = Field(1.0, ge=0)
    standardize: Standardized = "mixed"

    @model_validator(mode="after")
    def _nothing_moves(self) -> Self:
        for key in ("multiplier_maximum", "cost_scale", "cost_limit_start", "cost_limit_fraction"):
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} has no effect on multipliers that do not move")
        return self

    def rule(self, limits: list[float], senses: list[str]) -> FixedMultipliers:
        """Return multipliers that do not move."""
        return FixedMultipliers(limits, senses, **self.shared())

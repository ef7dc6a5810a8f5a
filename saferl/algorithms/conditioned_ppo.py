"""PPO with cost critics for methods that only know conditions ``error <= 0``: what CPO and P3O share."""

from __future__ import annotations

from typing import Any

import numpy as np

from saferl.algorithms.cost_critic_ppo import CostCriticPPO
from saferl.one_sided import OneSided

Array = np.ndarray[Any, Any]


class ConditionedPPO(CostCriticPPO):
    """Keeps the conditions and by how much each is broken, in the unit of the cost advantages: cost per step."""

    conditions: OneSided

    def set_limits(self, limits: list[float], senses: list[str]) -> None:
        """Make the conditions."""
        self.conditions = OneSided(limits, senses)

    def move_limits(self, limits: Array) -> None:
        """Let the conditions see other limits."""
        self.conditions.limits = limits

    def see_costs(self, costs: Array | None) -> None:
        """Note the errors, per step; a rollout that tells nothing leaves them."""
        if costs is not None:
            self.conditions.see(costs, self.per_step())

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "conditions"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, variables = super()._get_torch_save_params()
        return [*modules, "conditions"], variables

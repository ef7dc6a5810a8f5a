"""Penalties: the reward minus a fixed weight for the cost of every constraint, the baseline that everybody tries first.

``r - sum_i w_i c_i``, with c_i the constraint's per-step cost (by default 1 on a violating step): a Lagrangian whose
multipliers do not learn, in the reward rather than with critics of its own. What weight makes a limit hold must be found by
trying, and differs from task to task. Where rewards are normalised, the penalty is subtracted after they have been clipped.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from saferl.algorithms.ppo import ConstrainedPPO, PPOSettings
from saferl.algorithms.registry import register_method
from saferl.recorder import Recorded
from saferl_envs.errors import ConfigError, choose

Array = np.ndarray[Any, Any]


class PenaltyPPO(ConstrainedPPO):
    """PPO on the reward minus penalties.

    Args:
        policy: As for SB3's PPO.
        env: An environment with constraints; every one of them is penalised.
        weight: Penalty per unit of cost, in units of reward as the task gives it.
        weights_by_name: Weights by constraint name, in place of `weight`; 0 switches a constraint off.
        **kwargs: Further arguments of SB3's PPO.

    Raises:
        ConfigError: A weight is negative or of an unknown constraint, or a constraint is not one to stay below.
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        *args: Any,
        weight: float = 1.0,
        weights_by_name: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        self.weight, self.weights_by_name = weight, dict(weights_by_name or {})
        super().__init__(policy, env, *args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        names = [spec["name"] for spec in self.constraint_specs]
        for name in self.weights_by_name:
            if name not in names:
                raise ConfigError(choose("constraint", name, names, "method.weights_by_name"))
        given = {"weight": self.weight, **{f"weights_by_name.{name}": w for name, w in self.weights_by_name.items()}}
        for key, weight in given.items():
            if not 0 <= weight < math.inf:
                raise ConfigError(f"method.{key}: must be a number of at least 0, got {weight}")
        for spec in self.constraint_specs:
            if spec.get("sense", "<=") != "<=":
                raise ConfigError(
                    f"method penalty: constraint {spec['name']!r} is to be {spec['sense']} its cost limit; a penalty only "
                    "makes costs smaller"
                )
        self._weights = np.array([self.weights_by_name.get(name, self.weight) for name in names])

    def continuation(self, recorded: Recorded, rewards: Array) -> tuple[Array, Array]:
        """Return ones, and the rewards minus penalties, in the units in which the critic sees rewards."""
        costs = recorded.evaluation.costs
        # a sum over columns, not a matrix product: that differs in bits with the number of copies
        penalties = np.sum(np.where(np.isfinite(costs), costs, 1.0) * self._weights, axis=1)
        penalised: Array = (rewards - penalties / self.reward_unit()).astype(rewards.dtype)
        return np.ones_like(rewards), penalised


@register_method("penalty", "the reward minus a fixed weight for every cost: the baseline before multipliers", "folklore")
class PenaltySettings(PPOSettings):
    """Settings of the penalty method: PPO's, and the class's arguments."""

    algorithm: ClassVar[type[ConstrainedPPO]] = PenaltyPPO

    name: str = "penalty"
    weight: float = Field(1.0, ge=0)
    weights_by_name: dict[str, float] = Field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        return {**super().arguments(), "weight": self.weight, "weights_by_name": self.weights_by_name}

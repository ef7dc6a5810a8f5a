"""CRPO: a step for the reward where all constraints hold, else one against a constraint that does not.

Xu, Liang and Lan 2021 (CRPO, arXiv 2011.05869), algorithm 1, on PPO's clipped loss in place of a natural gradient. No
multiplier: the policy follows the reward's advantages while every mean episode cost is at most its limit plus a tolerance, and
else the negative cost advantages of the constraint that is broken most. What is ours: which of several broken constraints
(the paper takes any) is the one with the largest error relative to its limit; ``>=`` and ``==``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch as th
from pydantic import Field

from saferl.algorithms.mixed_ppo import MixedPPO, MixedSettings, Standardized
from saferl.algorithms.ppo import ConstrainedPPO
from saferl.algorithms.registry import register_method
from saferl.one_sided import OneSided

Array = np.ndarray[Any, Any]


class CRPO(MixedPPO):
    """PPO that descends on one objective at a time.

    Args:
        policy: As for SB3's PPO.
        env: An environment with constraints, at least one of them with a cost limit.
        tolerance: Excess over a limit that is not yet acted on, in the unit of the cost limit.
        **kwargs: Further arguments of `MixedPPO`.
    """

    conditions: OneSided

    def __init__(self, policy: Any, env: Any, *args: Any, tolerance: float = 0.0, **kwargs: Any) -> None:
        self.tolerance = tolerance
        super().__init__(policy, env, *args, **kwargs)

    def set_limits(self, limits: list[float], senses: list[str]) -> None:
        """Note the conditions."""
        self.conditions = OneSided(limits, senses)

    def move_limits(self, limits: Array) -> None:
        """Let the conditions see other limits."""
        self.conditions.limits = limits

    @property
    def broken(self) -> int | None:
        """The condition (`OneSided`) that the present update works on, or None for the reward."""
        errors, limits = self.conditions.errors, np.abs(self.conditions.limits[self.conditions.columns])
        over = errors > self.tolerance
        relative = errors / np.where(limits > 0.0, limits, 1.0)
        return int(np.argmax(np.where(over, relative, -np.inf))) if over.any() else None

    def see_costs(self, costs: Array | None) -> None:
        """Note the errors, and log what the coming update follows; a rollout that tells nothing leaves it."""
        if costs is not None:
            self.conditions.see(costs)
        broken = self.broken
        self.logger.record("train/follows_reward", float(broken is None))
        for c, index in enumerate(self.limited):
            followed = broken is not None and self.conditions.columns[broken] == c
            self.logger.record(f"constraint/{self.constraint_specs[index]['name']}/followed", float(followed))

    def mix(self, reward: th.Tensor, costs: th.Tensor) -> th.Tensor:
        """Return the reward's advantages (B,), or the negative ones of the broken condition."""
        broken = self.broken
        return reward if broken is None else -self.conditions.advantages(costs)[:, broken]

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "conditions"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, variables = super()._get_torch_save_params()
        return [*modules, "conditions"], variables


@register_method(
    "crpo",
    "CRPO: updates for the reward while all constraints hold, else against one that does not",
    "Xu, Liang and Lan 2021, arXiv 2011.05869",
)
class CRPOSettings(MixedSettings):
    """Settings of CRPO.

    Attributes:
        tolerance: Excess over a limit that is not yet acted on.
        standardize: By default the advantages of whatever is followed.
    """

    algorithm: ClassVar[type[ConstrainedPPO]] = CRPO

    name: str = "crpo"
    tolerance: float = Field(0.0, ge=0)
    standardize: Standardized = "mixed"

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        return {**super().arguments(), "tolerance": self.tolerance}

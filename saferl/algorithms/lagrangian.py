"""PPO-Lagrangian and PID-Lagrangian: rewards and costs traded by multipliers that learn how dear each constraint is.

The policy follows ``(A_reward - sum_i w_i A_cost_i) / (1 + sum_i |w_i|)``, w being the multipliers with the sign of their
constraint's sense; dividing by the sum keeps the size of a step bounded (Stooke et al. 2020, section 6). The two methods
differ in the rule that moves the multipliers; see `saferl.multipliers`.

What is ours: several constraints with a multiplier and a critic each, ``>=`` and ``==``, the estimate of the episode
cost after rollouts shorter than an episode (`cost_estimate`), and limits that fall during training (`cost_limit_start`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch as th
from pydantic import Field, PositiveFloat, PositiveInt

from saferl.algorithms.mixed_ppo import MixedPPO, MixedSettings
from saferl.algorithms.ppo import ConstrainedPPO
from saferl.algorithms.registry import register_method
from saferl.multipliers import PID, DualAscent, Multipliers, MultiplierSettings

Array = np.ndarray[Any, Any]


class LagrangianPPO(MixedPPO):
    """PPO under Lagrange multipliers.

    Args:
        policy: As for SB3's PPO.
        env: An environment with constraints, at least one of them with a cost limit.
        multipliers: From cost limits and senses of the limited constraints to the rule that moves their multipliers; by
            default PPO-Lagrangian's.
        sum_norm: Divide the mixed advantage by ``1 + sum |w|``.
        simultaneous: Mix with the multipliers that held while the rollout was collected, and move them for the next one;
            else they move first, as in the published Lagrangian methods.
        **kwargs: Further arguments of `MixedPPO`.
    """

    multipliers: Multipliers

    def __init__(
        self,
        policy: Any,
        env: Any,
        *args: Any,
        multipliers: Callable[[list[float], list[str]], Multipliers] | None = None,
        sum_norm: bool = True,
        simultaneous: bool = False,
        **kwargs: Any,
    ) -> None:
        self._make_multipliers = multipliers or partial(DualAscent, learning_rate=0.035, optimizer="adam")
        self.sum_norm = sum_norm
        self.simultaneous = simultaneous
        self._held: Array | None = None
        super().__init__(policy, env, *args, **kwargs)

    def set_limits(self, limits: list[float], senses: list[str]) -> None:
        """Make the multipliers."""
        self.multipliers = self._make_multipliers(limits, senses)

    def move_limits(self, limits: Array) -> None:
        """Let the multipliers see other limits."""
        self.multipliers.set_limits(limits)

    def see_costs(self, costs: Array | None) -> None:
        """Move the multipliers, and log them."""
        before = self.multipliers.weights.copy()
        if costs is not None:
            self.multipliers.update(costs)
        self._held = before if self.simultaneous else None
        for c, value, limit in zip(self.limited, self.multipliers.values, self.multipliers.limits, strict=True):
            tag = f"constraint/{self.constraint_specs[c]['name']}"
            self.logger.record(f"{tag}/multiplier", float(value))
            self.logger.record(f"{tag}/training_limit", float(limit))

    def mix(self, reward: th.Tensor, costs: th.Tensor) -> th.Tensor:
        """Return the mixed advantages (B,)."""
        present = self.multipliers.weights if self._held is None else self._held
        weights = th.as_tensor(present, dtype=reward.dtype, device=reward.device)
        mixed = reward - costs @ weights
        return mixed / (1.0 + weights.abs().sum()) if self.sum_norm else mixed

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "multipliers"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, variables = super()._get_torch_save_params()
        return [*modules, "multipliers"], variables


class LagrangianSettings(MixedSettings, MultiplierSettings):
    """What methods with multipliers share."""

    algorithm: ClassVar[type[ConstrainedPPO]] = LagrangianPPO

    simultaneous: ClassVar[bool] = False

    @abstractmethod
    def rule(self, limits: list[float], senses: list[str]) -> Multipliers:
        """Return the rule that moves the multipliers."""

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        own = {key: getattr(self, key) for key in ("sum_norm", "simultaneous")}
        return {**super().arguments(), "multipliers": self.rule, **own}


@register_method(
    "ppo_lag",
    "PPO-Lagrangian: one cost critic and one multiplier per constraint, moved by dual ascent",
    "Ray, Achiam and Amodei 2019, Benchmarking Safe Exploration in Deep RL",
)
class PPOLagSettings(LagrangianSettings):
    """Settings of PPO-Lagrangian.

    Attributes:
        multiplier_lr: Step of the multipliers: per unit of episode cost with ``sgd``, per update with ``adam``
            (OmniSafe: adam, 0.035, from 0.001).
        multiplier_optimizer: ``sgd`` or ``adam``.
    """

    name: str = "ppo_lag"
    multiplier_lr: PositiveFloat = 0.035
    multiplier_optimizer: Literal["sgd", "adam"] = "adam"

    def rule(self, limits: list[float], senses: list[str]) -> DualAscent:
        """Return dual ascent."""
        return DualAscent(
            limits, senses, learning_rate=self.multiplier_lr, optimizer=self.multiplier_optimizer, **self.shared()
        )


@register_method(
    "pid_lag",
    "PID-Lagrangian: multipliers moved by a PID controller of the episode cost",
    "Stooke, Achiam and Abbeel 2020, arXiv 2007.03964",
)
class PIDLagSettings(LagrangianSettings):
    """Settings of PID-Lagrangian; gains are per unit of episode cost.

    Published constants: rlpyt's class kp 0, ki 1, kd 0, smoothing 0.95, delay 10, initial 1; its configurations delay 1,
    initial 0, cost_scale 10; OmniSafe kp 0.1, ki 0.01, kd 0.01, smoothing 0.95, delay 10, initial 0.001, maximum 100; FSRL
    kp 0.05, ki 0.0005, kd 0.1, smoothing 0, delay 1, initial 0.

    Attributes:
        kp: Proportional gain.
        ki: Integral gain.
        kd: Derivative gain.
        p_smoothing: Memory of the error in the proportional term, a_p.
        d_smoothing: Memory of the cost in the derivative term, a_d.
        d_delay: Updates over which the derivative looks back.
    """

    name: str = "pid_lag"
    kp: float = Field(0.1, ge=0)
    ki: float = Field(0.01, ge=0)
    kd: float = Field(0.01, ge=0)
    p_smoothing: float = Field(0.95, ge=0, lt=1)
    d_smoothing: float = Field(0.95, ge=0, lt=1)
    d_delay: PositiveInt = 10

    def rule(self, limits: list[float], senses: list[str]) -> PID:
        """Return the controller."""
        own = {key: getattr(self, key) for key in ("kp", "ki", "kd", "p_smoothing", "d_smoothing", "d_delay")}
        return PID(limits, senses, **own, **self.shared())

"""ACS on TD3: actions are corrected until a safety critic says that enough of the lost safety is recovered.

Chen et al. 2023 (ACS, arXiv 2310.03379). With u(s) the discounted share of violating steps and U(s, a) the same once a is
taken, an action must satisfy::

    U(s, a) <= (1 - alpha) u(s) + alpha delta

Above the tolerated rate delta it must take back a share alpha of the excess, below it may spend as much of what is left. With
alpha = 1 this is the usual fixed threshold of a safety critic, ``U(s, a) <= delta`` (SQRL, USL). An action that does not is
moved to the closest one that does by the critic's slope: the exact projection onto a half-space in the action box, repeated
where the critic bends. The actor is drawn the same way by a penalty on what it exceeds, so that it stops needing corrections.

**Reconstruction:** the paper's body could not be read; what is here follows its abstract and the author's public script, which
corrects by normalised gradient steps and learns a trajectory-level label on-policy. The off-policy critic of violating steps,
the value network that follows it over the actions that were executed, the projection in place of the loop and the constants
below are ours or SafeRL-Kit's. Critics see what was executed, and exploration noise comes before the correction.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Literal

import numpy as np
import torch as th
from pydantic import Field, PositiveInt
from stable_baselines3.common.utils import polyak_update
from torch.nn import functional

from saferl.algorithms.guarded_td3 import Corrected, GuardedTD3, GuardedTD3Settings
from saferl.algorithms.off_policy import ConstrainedOffPolicy
from saferl.algorithms.registry import register_method
from saferl.cost_critics import CostCritics
from saferl.replay import Batch
from saferl_controllers.projection.half_space import project_half_space_in_box

Array = np.ndarray[Any, Any]
Correction = Literal["projection", "gradient"]
GRADIENT_STEP, GRADIENT_STEPS = 0.05, 20
"""Of the loop that unrolls gradient steps (SafeRL-Kit's USL)."""


class ACS(GuardedTD3):
    """TD3 behind a chance-constraint safeguard that it learns.

    Args:
        policy: As for SB3's TD3.
        env: An environment with constraints.
        alpha: The recovery rate, in (0, 1].
        tolerance: delta, the share of violating steps that is tolerated, discounted.
        tolerance_start: What it falls from, in a line, once corrections begin.
        tolerance_fraction: Until which part of the training it falls.
        correction: ``projection``; or ``gradient``, up to 20 normalised gradient steps of 0.05 as in USL, for comparison.
        rounds: Projections at most per action.
        pressure: kappa, of the actor's penalty on what its action exceeds: reward per discounted violating step.
        safety_net_arch: Hidden widths of the safety critic and its value network.
        **kwargs: Further arguments of `GuardedTD3`.
    """

    safety: CostCritics
    safety_target: CostCritics
    safety_value: CostCritics

    def __init__(
        self,
        policy: Any,
        env: Any,
        *args: Any,
        alpha: float = 0.8,
        tolerance: float = 0.02,
        tolerance_start: float = 1.0,
        tolerance_fraction: float = 0.4,
        correction: Correction = "projection",
        rounds: int = 3,
        pressure: float = 5.0,
        safety_net_arch: tuple[int, ...] = (128, 128),
        **kwargs: Any,
    ) -> None:
        self.alpha, self.tolerance, self.tolerance_start = alpha, tolerance, tolerance_start
        self.tolerance_fraction, self.correction = tolerance_fraction, correction
        self.rounds, self.pressure, self.safety_net_arch = rounds, pressure, tuple(safety_net_arch)
        super().__init__(policy, env, *args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        width = self.actor.features_dim
        both = width + int(np.prod(self.action_space.shape or ()))

        def critic(inputs: int) -> CostCritics:
            made = CostCritics(
                inputs, 1, self.safety_net_arch, th.nn.ReLU, self.lr_schedule(1), scale=max(1.0 - self.gamma, 1e-3)
            )  # fmt: skip
            return made.to(self.device)

        self.safety, self.safety_value = critic(both), critic(width)
        self.safety_target = copy.deepcopy(self.safety)

    @property
    def bar(self) -> float:
        """The present delta."""
        begun, until = self.warmup_fraction, max(self.tolerance_fraction, self.warmup_fraction + 1e-9)
        share = min(max((self.progress - begun) / (until - begun), 0.0), 1.0)
        return self.tolerance_start + share * (self.tolerance - self.tolerance_start)

    def correct(self, observations: Any, proposed: Array, plays: bool = False) -> Corrected:
        """Return what is executed in place of proposed actions; see `GuardedTD3.correct`."""
        features = self._features(observations)
        with th.no_grad():
            limit = self._limit(features, self.tolerance if plays else self.bar)[:, 0].cpu().numpy()
        wanted = np.asarray(proposed, np.float64)
        action, low, high = wanted.copy(), -np.ones(wanted.shape[1]), np.ones(wanted.shape[1])
        risk, slope = self._risk(features, action)
        best, least = action.copy(), risk - limit
        for _ in range(self.rounds if self.correction == "projection" else GRADIENT_STEPS):
            if (least <= 0.0).all():
                break
            if self.correction == "projection":
                offsets = np.einsum("ni,ni->n", slope, action) - (risk - limit)
                moved = project_half_space_in_box(wanted, slope, offsets, low, high).point
            else:
                steepest = np.maximum(np.abs(slope).max(axis=1, keepdims=True), 1e-12)
                moved = np.clip(action - GRADIENT_STEP * slope / steepest, low, high)
            action = np.where((least > 0.0)[:, np.newaxis], moved, action)
            risk, slope = self._risk(features, action)
            better = risk - limit < least
            best[better], least[better] = action[better], (risk - limit)[better]
        return Corrected(best.astype(np.float32), (best != wanted).any(axis=1), least <= 0.0)

    def learn_safeguard(self, batch: Batch, following: th.Tensor) -> dict[str, th.Tensor]:
        """Take a gradient step of the safety critic and its value network."""
        features, following_features = self._features(batch.observations), self._features(batch.next_observations)
        executed = th.cat((features, batch.actions), dim=1)
        with th.no_grad():
            unsafe = batch.violated[:, self._columns].amax(dim=1, keepdim=True)
            later = self.safety_target(th.cat((following_features, following), dim=1)).clamp(0.0, 1.0)
            risk_target = (1.0 - self.gamma) * unsafe + self.gamma * (1.0 - batch.dones) * later
            value_target = self.safety_target(executed).clamp(0.0, 1.0)
        losses = {
            "safety_loss": functional.mse_loss(self.safety(executed), risk_target),
            "safety_value_loss": functional.mse_loss(self.safety_value(features), value_target),
        }
        for loss, optimizer in zip(losses.values(), self._own_optimizers(), strict=True):
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return {**{name: loss.detach() for name, loss in losses.items()}, "tolerance": th.tensor(self.bar)}

    def pressure_loss(self, batch: Batch, actions: th.Tensor) -> th.Tensor:
        """Return the penalty on what the actor's own actions exceed."""
        features = self._features(batch.observations)
        with th.no_grad():
            limit = self._limit(features, self.bar)
        exceeded = (self.safety(th.cat((features, actions), dim=1)) - limit).clamp(min=0.0)
        # rewards may be normalised, the pressure is in the task's own unit
        loss: th.Tensor = self.pressure * exceeded.mean() / max(1.0 - self.gamma, 1e-3) / self.reward_unit()
        return loss

    def follow_safeguard(self) -> None:
        """Move the slow critic."""
        polyak_update(self.safety.parameters(), self.safety_target.parameters(), self.tau)

    def _own_optimizers(self) -> list[th.optim.Optimizer]:
        return [self.safety.optimizer, self.safety_value.optimizer]

    def _limit(self, features: th.Tensor, bar: float) -> th.Tensor:
        """Return what the risk of an action may be, (N, 1)."""
        usual: th.Tensor = self.safety_value(features).clamp(0.0, 1.0)
        return (1.0 - self.alpha) * usual + self.alpha * bar

    def _risk(self, features: th.Tensor, actions: Array) -> tuple[Array, Array]:
        """Return the slow critic's risk of actions, (N,), and its slope, (N, na)."""
        inputs = th.as_tensor(actions, dtype=th.float32, device=self.device).requires_grad_()
        with th.enable_grad():
            risk = self.safety_target(th.cat((features, inputs), dim=1))[:, 0]
            (slope,) = th.autograd.grad(risk.sum(), inputs)
        return risk.detach().cpu().double().numpy(), slope.cpu().double().numpy()

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "safety", "safety_target", "safety_value"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, variables = super()._get_torch_save_params()
        own = ["safety", "safety.optimizer", "safety_value", "safety_value.optimizer", "safety_target"]
        return [*modules, *own], variables


@register_method(
    "acs",
    "ACS on TD3: a learned chance-constraint safeguard corrects actions, with a recovery rate",
    "Chen et al. 2023, arXiv 2310.03379",
)
class ACSSettings(GuardedTD3Settings):
    """Settings of ACS: TD3's, and the class's arguments. With ``alpha: 1`` and ``correction: gradient`` it is a USL-style loop.

    Published constants: the author's script has alpha 0.8 and a tolerance that falls to 0.3 of a trajectory-level label;
    SafeRL-Kit's critics tolerate 0.1 discounted violations (0.001 as a rate at gamma 0.99), with penalty 5 and a warm-up of a
    fifth to a third.
    """

    algorithm: ClassVar[type[ConstrainedOffPolicy]] = ACS

    name: str = "acs"
    alpha: float = Field(0.8, gt=0, le=1)
    tolerance: float = Field(0.02, ge=0, le=1)
    tolerance_start: float = Field(1.0, ge=0)
    tolerance_fraction: float = Field(0.4, ge=0, le=1)
    correction: Correction = "projection"
    rounds: PositiveInt = 3
    pressure: float = Field(5.0, ge=0)
    safety_net_arch: tuple[PositiveInt, ...] = (128, 128)

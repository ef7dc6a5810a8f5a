"""ACS on TD3: actions are corrected until a safety critic says that enough of the lost safety is recovered.

Chen et al. 2023 (ACS, arXiv 2310.03379). With u(s) the discounted share of violating steps and U(s, a) the same once a is
taken, an action must satisfy::

    U(s, a) <= (1 - alpha) u(s) + alpha delta

Above the tolerated rate delta it must take back a share alpha of the excess, below it may spend as much of what is left. With
alpha = 1 this is the usual fixed threshold of a safety critic, ``U(s, a) <= delta`` (SQRL, USL). An action that does not is
moved to the closest one that does by the critic's slope: the exact projection onto a half-space in the action box. Where the
critic bends, what was found is projected again by the slope there, the paper's "quasi-Newton"; `risk_search` has the ladder.
The actor is drawn the same way by a penalty on what it exceeds, so that it stops needing corrections.

Both are of the guarded policy. U looks ahead to the target actor's action after one projection, for the sake of speed, and u is
what U, by its slow copy, says of such actions: a critic of the unguarded policy finds hardly a safe action where that policy is
reckless. A terminal state, in which nothing is ever seen to follow, counts as the state before it: an end is no way out.

**Reconstruction:** the paper's body could not be read; what is here follows its abstract and the author's public script, which
corrects by normalised gradient steps and learns a trajectory-level label on-policy. The off-policy critic of violating steps
with a discount of its own, the value network, the projection in place of the loop, that little is done where little can be
gained, and the constants below are ours or SafeRL-Kit's. Critics see what was executed (behind another, configured safeguard:
what was proposed to that), and exploration noise comes before the correction.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch as th
from pydantic import Field, PositiveFloat, PositiveInt
from stable_baselines3.common.utils import polyak_update
from torch.nn import functional

from saferl.algorithms.guarded_td3 import GuardedTD3, GuardedTD3Settings
from saferl.algorithms.off_policy import ConstrainedOffPolicy
from saferl.algorithms.registry import register_method
from saferl.algorithms.risk_search import RUNGS, RiskSearch
from saferl.cost_critics import CostCritics
from saferl.dense_critic import DenseCritic
from saferl.near_violations import NearViolations
from saferl.replay import Batch
from saferl_controllers.safeguard import Safeguarded

Array = np.ndarray[Any, Any]
Correction = Literal["projection", "gradient"]
LEAST_TOLERANCE = 1e-3
"""At which a falling tolerance that is to end at zero jumps there."""


class ACS(GuardedTD3):
    """TD3 behind a chance-constraint safeguard that it learns.

    Args:
        policy: As for SB3's TD3.
        env: An environment with constraints.
        alpha: The recovery rate, in (0, 1].
        tolerance: delta, the share of violating steps that is tolerated, discounted.
        tolerance_start: What it falls from, by equal factors, once corrections begin.
        tolerance_fraction: Until which part of the training it falls.
        correction: ``projection``; or ``gradient``, up to 20 normalised gradient steps of 0.05 as in USL, for comparison.
        rounds: Projections at most per action.
        trust: How far an action is moved at most, each of its numbers, by projections after one that did not help; actions are
            scaled to [-1, 1].
        samples: How many further actions are tried where projections do not suffice.
        pressure: kappa, of the actor's penalty on what its action exceeds, reward per discounted violating step; from the start
            of the training on, against the present tolerance.
        safety_gamma: Discount of violations.
        safety_tau: Share by which the slow safety critic moves per gradient step.
        safety_net_arch: Hidden widths of the safety critic and its value network.
        margins: By constraint name, how far below its limit a step counts as violating in what the critics learn, in the
            constraint's unit (ours).
        **kwargs: Further arguments of `GuardedTD3`.

    Raises:
        ConfigError: As `GuardedTD3`; or a margin is of no guarded constraint, or has no meaning for it.
    """

    rungs = RUNGS
    _in_numpy: tuple[DenseCritic, DenseCritic] | None = None
    safety: CostCritics
    safety_target: CostCritics
    safety_value: CostCritics

    def __init__(
        self,
        policy: Any,
        env: Any,
        *args: Any,
        alpha: float = 0.8,
        tolerance: float = 0.01,
        tolerance_start: float = 0.2,
        tolerance_fraction: float = 0.3,
        correction: Correction = "projection",
        rounds: int = 4,
        trust: float = 0.5,
        samples: int = 16,
        pressure: float = 5.0,
        safety_gamma: float = 0.95,
        safety_tau: float = 0.02,
        safety_net_arch: tuple[int, ...] = (128, 128),
        margins: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        self._settled = False
        self.alpha, self.tolerance, self.tolerance_start = alpha, tolerance, tolerance_start
        self.tolerance_fraction, self.correction = tolerance_fraction, correction
        self.rounds, self.trust, self.samples, self.pressure = rounds, trust, samples, pressure
        self.safety_gamma, self.safety_tau, self.safety_net_arch = safety_gamma, safety_tau, tuple(safety_net_arch)
        self.margins = dict(margins or {})
        super().__init__(policy, env, *args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        self._unsafe = NearViolations(self.constraint_specs, self._columns, self.margins)
        width = self.actor.features_dim
        both = width + int(np.prod(self.action_space.shape or ()))

        def critic(inputs: int) -> CostCritics:
            made = CostCritics(
                inputs, 1, self.safety_net_arch, th.nn.ReLU, self.lr_schedule(1), scale=1.0 - self.safety_gamma, gain=0.0
            )  # fmt: skip
            return made.to(self.device)

        self.safety, self.safety_value = critic(both), critic(width)
        self.safety_target = copy.deepcopy(self.safety)
        self._samples = np.random.default_rng(0).uniform(-1.0, 1.0, (self.samples, both - width))

    @property
    def bar(self) -> float:
        """The present delta; once it has fallen it stays, in a second `learn` too."""
        if self._settled:
            return self.tolerance
        begun, until = self.warmup_fraction, max(self.tolerance_fraction, self.warmup_fraction + 1e-9)
        share = min(max((self.progress - begun) / (until - begun), 0.0), 1.0)
        if share == 1.0:
            return self.tolerance
        end = max(self.tolerance, LEAST_TOLERANCE)
        fallen: float = max(self.tolerance_start, end) ** (1.0 - share) * end**share
        return fallen

    def correct(self, observations: Any, proposed: Array, plays: bool = False, rounds: int | None = None) -> Safeguarded:
        """Return what is executed in place of proposed actions; see `GuardedTD3.correct`, and `risk_search` for the rungs."""
        features, tolerance = self._features(observations), self.tolerance if plays else self.bar
        seen, (risk, value) = features.cpu().numpy(), self._dense(features.shape[1])
        usual = value.values(value.prepared(seen)).clip(0.0, 1.0)
        limit = (1.0 - self.alpha) * usual + self.alpha * tolerance
        search = RiskSearch(_SlowRisk(risk, seen), np.asarray(proposed, np.float64), limit, tolerance)
        if self.correction == "gradient":
            search.unroll()
        else:
            search.project(self.rounds if rounds is None else rounds, self.trust)
            if rounds is None:
                search.sample(self._samples)
        return search.answer()

    def following(self, batch: Batch) -> th.Tensor:
        """Return what would be executed in a batch's next states; USL's loop looks ahead to uncorrected actions."""
        return super().following(batch) if self.correction == "projection" else self.target_actions(batch)

    def learn_safeguard(self, batch: Batch, following: th.Tensor) -> dict[str, th.Tensor]:
        """Take a gradient step of the safety critic and its value network."""
        features, next_features = self._features(batch.observations), self._features(batch.next_observations)
        with th.no_grad():
            unsafe = self._unsafe(batch.violated, batch.values)
            later = self.safety_target(th.cat((next_features, following), dim=1)).clamp(0.0, 1.0)
            later = th.where(batch.dones > 0.0, self.safety_value(features).clamp(0.0, 1.0), later)
            target = (1.0 - self.safety_gamma) * unsafe + self.safety_gamma * later
        losses = {
            "safety_loss": functional.mse_loss(self.safety(th.cat((features, batch.actions), dim=1)), target),
            "safety_value_loss": functional.mse_loss(self.safety_value(next_features), later),
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
        loss: th.Tensor = self.pressure * exceeded.mean() / (1.0 - self.safety_gamma) / self.reward_unit()
        return loss

    def follow_safeguard(self) -> None:
        """Move the slow critic, and note whether the tolerance has fallen."""
        self._settled = self.bar == self.tolerance
        polyak_update(self.safety.parameters(), self.safety_target.parameters(), self.safety_tau)

    def _own_optimizers(self) -> list[th.optim.Optimizer]:
        return [self.safety.optimizer, self.safety_value.optimizer]

    def _dense(self, states: int) -> tuple[DenseCritic, DenseCritic]:
        """Return the slow critic and the value network in NumPy."""
        pair = self._in_numpy
        if pair is None or not (pair[0].shows(self.safety_target) and pair[1].shows(self.safety_value)):
            pair = DenseCritic(self.safety_target, states), DenseCritic(self.safety_value, states)
            self._in_numpy = pair
        return pair

    def _limit(self, features: th.Tensor, bar: float) -> th.Tensor:
        """Return what the risk of an action may be, (N, 1)."""
        usual: th.Tensor = self.safety_value(features).clamp(0.0, 1.0)
        return (1.0 - self.alpha) * usual + self.alpha * bar

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "safety", "safety_target", "safety_value", "_samples", "_in_numpy", "_unsafe"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, variables = super()._get_torch_save_params()
        own = ["safety", "safety.optimizer", "safety_value", "safety_value.optimizer", "safety_target"]
        return [*modules, *own], variables


class _SlowRisk:
    """What the slow critic says of actions in some states."""

    def __init__(self, critic: DenseCritic, features: Array) -> None:
        self._critic, self._prepared = critic, critic.prepared(features)

    def __call__(self, ids: Array, actions: Array) -> tuple[Array, Array]:
        """Return the risk (K,) of actions (K, na) in the states `ids` (K,), and its slope (K, na)."""
        return self._critic.slopes(self._prepared[ids], actions)

    def alone(self, ids: Array, actions: Array) -> Array:
        """Return the risk only."""
        return self._critic.risk(self._prepared[ids], actions)


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
    tolerance: float = Field(0.01, ge=0, le=1)
    tolerance_start: float = Field(0.2, ge=0)
    tolerance_fraction: float = Field(0.3, ge=0, le=1)
    correction: Correction = "projection"
    rounds: PositiveInt = 4
    trust: PositiveFloat = 0.5
    samples: int = Field(16, ge=0, le=1024)
    pressure: float = Field(5.0, ge=0)
    safety_gamma: float = Field(0.95, ge=0, lt=1)
    safety_tau: float = Field(0.02, gt=0, le=1)
    safety_net_arch: tuple[PositiveInt, ...] = Field((128, 128), min_length=1)
    margins: dict[str, float] = {}  # noqa: RUF012 - pydantic copies defaults

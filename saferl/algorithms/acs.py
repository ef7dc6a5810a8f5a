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
import time
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch as th
from pydantic import Field, PositiveInt
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.utils import polyak_update
from torch.nn import functional

from saferl.algorithms.off_policy import ConstrainedOffPolicy
from saferl.algorithms.registry import register_method
from saferl.algorithms.td3 import ConstrainedTD3, TD3Settings
from saferl.cost_critics import CostCritics
from saferl.replay import Batch
from saferl_controllers.projection.half_space import project_half_space_in_box
from saferl_envs.errors import ConfigError, choose

Array = np.ndarray[Any, Any]


class Corrected(NamedTuple):
    """What became of N proposed actions, scaled to [-1, 1].

    Attributes:
        actions: (N, na) to execute.
        intervened: (N,) whether an action was changed.
        feasible: (N,) whether the critic is content with what is executed.
    """

    actions: Array
    intervened: Array
    feasible: Array


class ACS(ConstrainedTD3):
    """TD3 behind a chance-constraint safeguard that it learns.

    Args:
        policy: As for SB3's TD3.
        env: An environment with constraints.
        alpha: The recovery rate, in (0, 1].
        tolerance: delta, the share of violating steps that is tolerated, discounted.
        tolerance_start: What it falls from, in a line, once corrections begin.
        tolerance_fraction: Until which part of the training it falls.
        warmup_fraction: Part of the training before corrections begin, while the critic learns.
        rounds: Projections at most per action.
        pressure: kappa, of the actor's penalty on what its action exceeds.
        guarded: Names of the constraints whose violation counts, or None for all.
        safety_net_arch: Hidden widths of the safety critic and its value network.
        **kwargs: Further arguments of `ConstrainedTD3`.

    Attributes:
        corrects: Whether `predict` corrects actions too; set it to False to see the actor alone.
    """

    safety: CostCritics
    safety_target: CostCritics
    safety_value: CostCritics
    corrects: bool = True

    def __init__(
        self,
        policy: Any,
        env: Any,
        *args: Any,
        alpha: float = 0.8,
        tolerance: float = 0.02,
        tolerance_start: float = 1.0,
        tolerance_fraction: float = 0.4,
        warmup_fraction: float = 0.1,
        rounds: int = 3,
        pressure: float = 5.0,
        guarded: tuple[str, ...] | None = None,
        safety_net_arch: tuple[int, ...] = (128, 128),
        **kwargs: Any,
    ) -> None:
        self.alpha, self.tolerance, self.tolerance_start = alpha, tolerance, tolerance_start
        self.tolerance_fraction, self.warmup_fraction = tolerance_fraction, warmup_fraction
        self.rounds, self.pressure, self.guarded = rounds, pressure, guarded
        self.safety_net_arch = tuple(safety_net_arch)
        self._proposes = False
        self._sums, self._seen = np.zeros(4), 0
        super().__init__(policy, env, *args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        names = [spec["name"] for spec in self.constraint_specs]
        for name in self.guarded or ():
            if name not in names:
                raise ConfigError(choose("constraint", name, names, "method.guarded"))
        self._columns = [c for c, name in enumerate(names) if self.guarded is None or name in self.guarded]
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
    def progress(self) -> float:
        """The share of the training that is done; all of it for a policy that is only played."""
        total = getattr(self, "_total_timesteps", 0)
        return min(self.num_timesteps / total, 1.0) if total else 1.0

    @property
    def bar(self) -> float:
        """The present delta."""
        begun, until = self.warmup_fraction, max(self.tolerance_fraction, self.warmup_fraction + 1e-9)
        share = min(max((self.progress - begun) / (until - begun), 0.0), 1.0)
        return self.tolerance_start + share * (self.tolerance - self.tolerance_start)

    def correct(self, observations: Any, proposed: Array) -> Corrected:
        """Return what is executed in place of proposed actions.

        Args:
            observations: (N, ...) as the learner sees them.
            proposed: (N, na) scaled to [-1, 1].
        """
        features = self._features(observations)
        with th.no_grad():
            limit = self._limit(features)[:, 0].cpu().numpy()
        action = np.asarray(proposed, np.float64)
        risk, slope = self._risk(features, action)
        best, least = action.copy(), risk - limit
        low, high = -np.ones(action.shape[1]), np.ones(action.shape[1])
        for _ in range(self.rounds):
            if (least <= 0.0).all():
                break
            offsets = np.einsum("ni,ni->n", slope, action) - (risk - limit)
            moved = project_half_space_in_box(np.asarray(proposed, np.float64), slope, offsets, low, high).point
            action = np.where((least > 0.0)[:, np.newaxis], moved, action)
            risk, slope = self._risk(features, action)
            better = risk - limit < least
            best[better], least[better] = action[better], (risk - limit)[better]
        return Corrected(best.astype(np.float32), (best != proposed).any(axis=1), least <= 0.0)

    def predict(self, observation: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the actor's actions, corrected unless `corrects` says otherwise."""
        actions, state = super().predict(observation, *args, **kwargs)
        if self._proposes or not self.corrects:
            return actions, state
        seen, single = self.policy.obs_to_tensor(observation)
        scaled = self.policy.scale_action(np.atleast_2d(actions))
        executed = self.policy.unscale_action(self.correct(seen, scaled).actions)
        return (executed if single else executed[0]), state

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[Array, Array]:
        self._proposes = True
        try:
            action, proposed = super()._sample_action(learning_starts, action_noise, n_envs)
        finally:
            self._proposes = False
        if self.progress < self.warmup_fraction or self.num_timesteps < learning_starts:
            return action, proposed
        began = time.perf_counter()
        found = self.correct(self.policy.obs_to_tensor(np.asarray(self._last_obs))[0], proposed)
        elapsed = 1e3 * (time.perf_counter() - began)
        moved = np.linalg.norm(found.actions - proposed, axis=1).sum()
        self._sums += (found.intervened.sum(), moved, (~found.feasible).sum(), elapsed * len(proposed))
        self._seen += len(proposed)
        return self.policy.unscale_action(found.actions), found.actions

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Take gradient steps of critics, safety critic and actor."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(
            [self.actor.optimizer, self.critic.optimizer, self.safety.optimizer, self.safety_value.optimizer]
        )
        seen = []
        for _ in range(gradient_steps):
            self._n_updates += 1
            seen.append(self._step(self._buffer.draw(batch_size, self._vec_normalize_env)))
        for name in seen[0]:
            values = [found[name] for found in seen if name in found]
            self.logger.record(f"train/{name}", float(th.stack(values).mean()))
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/tolerance", self.bar)
        if self._seen:
            tags = ("intervention_rate", "correction", "infeasible_rate", "solve_ms")
            for tag, value in zip(tags, self._sums / self._seen, strict=True):
                self.logger.record(f"safeguard/{tag}", float(value))
            self._sums, self._seen = np.zeros(4), 0

    def _step(self, batch: Batch) -> dict[str, th.Tensor]:
        """Take one gradient step of everything; the actor's is delayed."""
        features = self._features(batch.observations)
        following_features = self._features(batch.next_observations)
        with th.no_grad():
            noise = th.randn_like(batch.actions) * self.target_policy_noise
            noise = noise.clamp(-self.target_noise_clip, self.target_noise_clip)
            following = (self.actor_target(batch.next_observations) + noise).clamp(-1.0, 1.0)
            q = th.cat(self.critic_target(batch.next_observations, following), dim=1).amin(dim=1, keepdim=True)
            target = batch.rewards + (1.0 - batch.dones) * self.gamma * q
            unsafe = batch.violated[:, self._columns].amax(dim=1, keepdim=True)
            later = self.safety_target(th.cat((following_features, following), dim=1))
            risk_target = (1.0 - self.gamma) * unsafe + self.gamma * (1.0 - batch.dones) * later.clamp(0.0, 1.0)
            value_target = self.safety_target(th.cat((features, batch.actions), dim=1)).clamp(0.0, 1.0)
        twins = self.critic(batch.observations, batch.actions)
        losses = {
            "critic_loss": th.stack([functional.mse_loss(q, target) for q in twins]).sum(),
            "safety_loss": functional.mse_loss(self.safety(th.cat((features, batch.actions), dim=1)), risk_target),
            "safety_value_loss": functional.mse_loss(self.safety_value(features), value_target),
        }
        optimizers = (self.critic.optimizer, self.safety.optimizer, self.safety_value.optimizer)
        for loss, optimizer in zip(losses.values(), optimizers, strict=True):
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if self._n_updates % self.policy_delay == 0:
            actions = self.actor(batch.observations)
            with th.no_grad():
                limit = self._limit(features)
            exceeded = (self.safety(th.cat((features, actions), dim=1)) - limit).clamp(min=0.0)
            loss = -self.critic.q1_forward(batch.observations, actions).mean()
            loss = loss + self.pressure * exceeded.mean() / max(1.0 - self.gamma, 1e-3)
            self.actor.optimizer.zero_grad()
            loss.backward()
            self.actor.optimizer.step()
            losses["actor_loss"] = loss
            for network, slow in (
                (self.critic, self.critic_target), (self.actor, self.actor_target), (self.safety, self.safety_target),
            ):  # fmt: skip
                polyak_update(network.parameters(), slow.parameters(), self.tau)
        return {name: loss.detach() for name, loss in losses.items()}

    def _features(self, observations: Any) -> th.Tensor:
        with th.no_grad():
            return self.actor.extract_features(observations, self.actor.features_extractor)

    def _limit(self, features: th.Tensor) -> th.Tensor:
        """Return what the risk of an action may be, (N, 1)."""
        usual: th.Tensor = self.safety_value(features).clamp(0.0, 1.0)
        return (1.0 - self.alpha) * usual + self.alpha * self.bar

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
class ACSSettings(TD3Settings):
    """Settings of ACS: TD3's, and the class's arguments.

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
    warmup_fraction: float = Field(0.1, ge=0, le=1)
    rounds: PositiveInt = 3
    pressure: float = Field(5.0, ge=0)
    guarded: tuple[str, ...] | None = None
    safety_net_arch: tuple[PositiveInt, ...] = (128, 128)

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        own = ACSSettings.model_fields.keys() - TD3Settings.model_fields.keys()
        return {**super().arguments(), **{key: getattr(self, key) for key in sorted(own)}}

"""ReLOAD on SAC: one Q critic per reward, and an actor that follows their optimistic mixture.

Moskovitz et al. 2023 (ReLOAD, arXiv 2302.01275) evaluate an off-policy agent, MPO with one Q critic per reward; SAC in its
place is **our adaptation**, with the extrapolated multipliers of `saferl.algorithms.reload`::

    actor:   maximise  (min(Q_1, Q_2) - sum_i w_i Q_i) / (1 + sum_i |w_i|)  +  alpha entropy          w = 2 mu_k - mu_(k-1)
    mu_(k+1) = max(0, mu_k + eta (2 e_k - e_(k-1)))                            once per iteration, from its own steps

Q_i is the discounted cost of constraint i, learned without entropy and from a single critic with a target network, in its
unit: a multiplier is a price, reward as the task gives it per unit of cost. With ``optimistic: none`` it is SAC-Lagrangian by
descent-ascent.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch as th
from pydantic import Field, PositiveFloat, PositiveInt
from stable_baselines3.common.utils import polyak_update
from torch.nn import functional

from saferl.algorithms.constrained import limits_of
from saferl.algorithms.off_policy import ConstrainedOffPolicy
from saferl.algorithms.registry import register_method
from saferl.algorithms.sac import ConstrainedSAC, SACSettings
from saferl.cost_critics import CostCritics
from saferl.cost_estimates import Estimate, mean_costs
from saferl.multipliers import Multipliers
from saferl.optimistic_ascent import OptimisticAscent, Players
from saferl.replay import Batch
from saferl_envs.errors import ConfigError

Array = np.ndarray[Any, Any]


class ReloadSAC(ConstrainedSAC):
    """SAC under optimistic multipliers.

    Args:
        policy: As for SB3's SAC.
        env: An environment with constraints, at least one of them with a cost limit.
        multipliers: From cost limits and senses of the limited constraints to the rule that moves their multipliers; by
            default optimistic ascent.
        cost_limits: Cost limits by constraint name in place of the environment's.
        cost_net_arch: Hidden widths of each cost critic.
        cost_estimate: See `saferl.cost_estimates.mean_costs`.
        sum_norm: Divide the mixture by ``1 + sum |w|``.
        **kwargs: Further arguments of SB3's SAC.

    Raises:
        ConfigError: No constraint has a cost limit, or an option of SB3's SAC is not supported.
    """

    multipliers: Multipliers
    cost_critics: CostCritics
    cost_targets: CostCritics
    limited: list[int]

    def __init__(
        self,
        policy: Any,
        env: Any,
        *args: Any,
        multipliers: Callable[[list[float], list[str]], Multipliers] | None = None,
        cost_limits: Mapping[str, float] | None = None,
        cost_net_arch: tuple[int, ...] = (128, 128),
        cost_estimate: Estimate = "rate",
        sum_norm: bool = True,
        **kwargs: Any,
    ) -> None:
        for key, usual in (("use_sde", False), ("target_update_interval", 1)):
            if kwargs.get(key, usual) != usual:
                raise ConfigError(f"{key} is not supported by {type(self).__name__}")
        self._make_multipliers = multipliers or partial(OptimisticAscent, learning_rate=0.05)
        self.cost_limits = dict(cost_limits or {})
        self.cost_net_arch, self.cost_estimate, self.sum_norm = tuple(cost_net_arch), cost_estimate, sum_norm
        super().__init__(policy, env, *args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        limits = limits_of(self.constraint_specs, self.cost_limits)
        self.limited = list(limits)
        self.multipliers = self._make_multipliers(
            list(limits.values()), [self.constraint_specs[c].get("sense", "<=") for c in limits]
        )
        width = self.actor.features_dim + int(np.prod(self.action_space.shape or ()))
        self.cost_critics = CostCritics(
            width, len(self.limited), self.cost_net_arch, self.policy.activation_fn, self.lr_schedule(1),
            scale=1.0 - self.gamma if self.gamma < 1.0 else 1e-3,
        ).to(self.device)  # fmt: skip
        self.cost_targets = copy.deepcopy(self.cost_critics)

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Move the multipliers by what the iteration's steps cost, and all networks by gradient steps."""
        self.policy.set_training_mode(True)
        learned = [] if self.ent_coef_optimizer is None else [self.ent_coef_optimizer]
        self._update_learning_rate([self.actor.optimizer, self.critic.optimizer, self.cost_critics.optimizer, *learned])
        buffer, newest = self._buffer, self._buffer.newest(self.train_freq.frequency)  # type: ignore[union-attr]
        aggregates = [self.constraint_specs[c].get("aggregate", "sum") for c in self.limited]
        costs = mean_costs(
            self.recorder.episodes, buffer.costs[newest][..., self.limited], self.limited, aggregates, self.n_envs,
            self.cost_estimate,
        )  # fmt: skip
        # both players move from the same iterate: the actor does not see what its own costs will do to the multipliers
        weights = th.as_tensor(self.multipliers.weights, dtype=th.float32, device=self.device)
        if costs is not None:
            self.multipliers.update(costs)
        seen = []
        for _ in range(gradient_steps):
            batch = buffer.draw(batch_size, self._vec_normalize_env)
            seen.append(self._step(batch, weights))
        self._n_updates += gradient_steps
        for name in seen[0]:
            self.logger.record(f"train/{name}", float(th.stack([found[name] for found in seen]).mean()))
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for c, value in zip(self.limited, self.multipliers.values, strict=True):
            self.logger.record(f"constraint/{self.constraint_specs[c]['name']}/multiplier", float(value))

    def _step(self, batch: Batch, weights: th.Tensor) -> dict[str, th.Tensor]:
        """Take one gradient step of entropy coefficient, critics, cost critics and actor; return what is logged."""
        actions, log_prob = self.actor.action_log_prob(batch.observations)
        log_prob = log_prob.reshape(-1, 1)
        alpha = self._entropy_coefficient(log_prob)
        with th.no_grad():
            following, following_log_prob = self.actor.action_log_prob(batch.next_observations)
            following_q = th.cat(self.critic_target(batch.next_observations, following), dim=1).amin(dim=1, keepdim=True)
            soft = following_q - alpha * following_log_prob.reshape(-1, 1)
            target = batch.rewards + (1.0 - batch.dones) * self.gamma * soft
            following_cost = self.cost_targets(self._inputs(batch.next_observations, following))
            scaled = batch.costs[:, self.limited] * self.cost_critics.scale
            cost_target = scaled + (1.0 - batch.dones) * self.gamma * following_cost
        critic_loss = th.stack([functional.mse_loss(q, target) for q in self.critic(batch.observations, batch.actions)]).sum()
        cost_loss = functional.mse_loss(self.cost_critics(self._inputs(batch.observations, batch.actions)), cost_target)
        for loss, optimizer in (
            (critic_loss, self.critic.optimizer),
            (cost_loss * len(self.limited), self.cost_critics.optimizer),
        ):
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        q = th.cat(self.critic(batch.observations, actions), dim=1).amin(dim=1, keepdim=True)
        cost_q = self.cost_critics(self._inputs(batch.observations, actions)) / self.cost_critics.scale
        # rewards may be normalised, multipliers are prices in the task's own unit
        mixed = q - (cost_q @ weights)[:, None] / self.reward_unit()
        if self.sum_norm:
            mixed = mixed / (1.0 + weights.abs().sum())
        actor_loss = (alpha * log_prob - mixed).mean()
        self.actor.optimizer.zero_grad()
        actor_loss.backward()
        self.actor.optimizer.step()
        for network, slow in ((self.critic, self.critic_target), (self.cost_critics, self.cost_targets)):
            polyak_update(network.parameters(), slow.parameters(), self.tau)
        return {
            "actor_loss": actor_loss.detach(),
            "critic_loss": critic_loss.detach(),
            "cost_critic_loss": cost_loss.detach(),
            "ent_coef": alpha.mean(),
        }

    def _inputs(self, observations: th.Tensor, actions: th.Tensor) -> th.Tensor:
        """Return what the cost critics see, (B, features + actions)."""
        with th.no_grad():
            features = self.actor.extract_features(observations, self.actor.features_extractor)
        return th.cat((features, actions), dim=1)

    def _entropy_coefficient(self, log_prob: th.Tensor) -> th.Tensor:
        """Return alpha, after a gradient step of its own where it is learned."""
        if self.ent_coef_optimizer is None or self.log_ent_coef is None:
            return self.ent_coef_tensor
        alpha = self.log_ent_coef.detach().exp()
        loss = -(self.log_ent_coef * (log_prob.detach() + float(self.target_entropy))).mean()
        self.ent_coef_optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.ent_coef_optimizer.step()
        return alpha

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "multipliers", "cost_critics", "cost_targets"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, variables = super()._get_torch_save_params()
        return [*modules, "multipliers", "cost_critics", "cost_critics.optimizer", "cost_targets"], variables


@register_method(
    "reload_sac",
    "ReLOAD on SAC: one Q critic per reward, actor and multipliers both optimistic",
    "Moskovitz et al. 2023, arXiv 2302.01275",
)
class ReloadSACSettings(SACSettings):
    """Settings of ReLOAD-SAC.

    Attributes:
        cost_limits: Cost limits by constraint name in place of the environment's.
        multiplier_initial: Start of every multiplier.
        multiplier_maximum: Cap, or None.
        multiplier_lr: eta, per unit of error and iteration.
        cost_scale: Costs and limits are divided by it before the rule sees them.
        optimistic: See `saferl.optimistic_ascent`.
        clip_weights: Hold extrapolated weights at zero from below.
        sum_norm: Divide the mixture by ``1 + sum |w|``.
    """

    algorithm: ClassVar[type[ConstrainedOffPolicy]] = ReloadSAC

    name: str = "reload_sac"
    cost_limits: dict[str, float] = {}  # noqa: RUF012 - pydantic copies it
    cost_net_arch: tuple[PositiveInt, ...] = (128, 128)
    cost_estimate: Estimate = "rate"
    multiplier_initial: float = Field(0.0, ge=0)
    multiplier_maximum: PositiveFloat | None = None
    multiplier_lr: PositiveFloat = 0.05
    cost_scale: PositiveFloat = 1.0
    optimistic: Players = "both"
    clip_weights: bool = False
    sum_norm: bool = True

    def rule(self, limits: list[float], senses: list[str]) -> OptimisticAscent:
        """Return optimistic ascent."""
        return OptimisticAscent(
            limits, senses, learning_rate=self.multiplier_lr, optimistic=self.optimistic, clip_weights=self.clip_weights,
            initial=self.multiplier_initial, maximum=self.multiplier_maximum, cost_scale=self.cost_scale,
        )  # fmt: skip

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        own = ("cost_limits", "cost_net_arch", "cost_estimate", "sum_norm")
        return {**super().arguments(), **{key: getattr(self, key) for key in own}, "multipliers": self.rule}

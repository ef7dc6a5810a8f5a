"""Off-policy methods with multipliers: one Q critic per cost, and prices that follow what each iteration's own steps cost.

Q_i is the discounted cost of constraint i, learned without entropy and from a single critic with a target network, in its
unit: a multiplier is a price, reward as the task gives it per unit of cost.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch as th
from pydantic import Field, PositiveInt
from stable_baselines3.common.utils import polyak_update
from torch.nn import functional

from saferl.algorithms.constrained import limits_of
from saferl.algorithms.off_policy import ConstrainedOffPolicy
from saferl.cost_critics import CostCritics
from saferl.cost_estimates import Estimate, mean_costs
from saferl.multipliers import DualAscent, Multipliers, MultiplierSettings
from saferl.replay import Batch
from saferl_envs.errors import ConfigError

Array = np.ndarray[Any, Any]
Rule = Callable[[list[float], list[str]], Multipliers]
"""From cost limits and senses of the limited constraints to the rule that moves their multipliers."""


class OffPolicyLagrangian(ConstrainedOffPolicy):
    """Mixed in before an off-policy algorithm: cost critics and multipliers.

    Args:
        policy: As for SB3's algorithm.
        env: An environment with constraints, at least one of them with a cost limit.
        multipliers: The rule, by default dual ascent.
        cost_limits: Cost limits by constraint name in place of the environment's.
        cost_net_arch: Hidden widths of each cost critic.
        cost_estimate: See `saferl.cost_estimates.mean_costs`.
        sum_norm: Divide the mixture by ``1 + sum |w|``.
        **kwargs: Further arguments of SB3's algorithm.

    Raises:
        ConfigError: No constraint has a cost limit, or an option of SB3's is not supported.
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
        multipliers: Rule | None = None,
        cost_limits: Mapping[str, float] | None = None,
        cost_net_arch: tuple[int, ...] = (128, 128),
        cost_estimate: Estimate = "rate",
        sum_norm: bool = True,
        **kwargs: Any,
    ) -> None:
        for key, usual in (("use_sde", False), ("target_update_interval", 1)):
            if kwargs.get(key, usual) != usual:
                raise ConfigError(f"{key} is not supported by {type(self).__name__}")
        self._make_multipliers = multipliers or partial(DualAscent, learning_rate=0.035)
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
        policy: Any = self.policy
        width = policy.actor.features_dim + int(np.prod(self.action_space.shape or ()))
        self.cost_critics = CostCritics(
            width, len(self.limited), self.cost_net_arch, policy.activation_fn, self.lr_schedule(1),
            scale=1.0 - self.gamma if self.gamma < 1.0 else 1e-3,
        ).to(self.device)  # fmt: skip
        self.cost_targets = copy.deepcopy(self.cost_critics)

    def move_multipliers(self) -> th.Tensor:
        """Move the multipliers by what the iteration's steps cost; return the weights (C,) from before.

        Both players move from the same iterate: the actor does not see what its own costs will do to the multipliers.
        """
        buffer, newest = self._buffer, self._buffer.newest(self.train_freq.frequency)  # type: ignore[union-attr]
        aggregates = [self.constraint_specs[c].get("aggregate", "sum") for c in self.limited]
        costs = mean_costs(
            self.recorder.episodes, buffer.costs[newest][..., self.limited], self.limited, aggregates, self.n_envs,
            self.cost_estimate,
        )  # fmt: skip
        weights = th.as_tensor(self.multipliers.weights, dtype=th.float32, device=self.device)
        if costs is not None:
            self.multipliers.update(costs)
        return weights

    def cost_critic_loss(self, batch: Batch, following: th.Tensor) -> th.Tensor:
        """Return the mean squared error of the cost critics, with the actions (B, na) that follow in the next states."""
        with th.no_grad():
            following_cost = self.cost_targets(self._inputs(batch.next_observations, following))
            scaled = batch.costs[:, self.limited] * self.cost_critics.scale
            cost_target = scaled + (1.0 - batch.dones) * self.gamma * following_cost
        return functional.mse_loss(self.cost_critics(self._inputs(batch.observations, batch.actions)), cost_target)

    def mixed(self, q: th.Tensor, observations: th.Tensor, actions: th.Tensor, weights: th.Tensor) -> th.Tensor:
        """Return what the actor climbs, (B, 1): values (B, 1) less the weighted costs of its actions."""
        cost_q = self.cost_critics(self._inputs(observations, actions)) / self.cost_critics.scale
        # rewards may be normalised, multipliers are prices in the task's own unit
        found: th.Tensor = q - (cost_q @ weights)[:, None] / self.reward_unit()
        return found / (1.0 + weights.abs().sum()) if self.sum_norm else found

    def follow_cost_critics(self) -> None:
        """Move the cost critics' targets."""
        polyak_update(self.cost_critics.parameters(), self.cost_targets.parameters(), self.tau)

    def log_training(self, seen: list[dict[str, th.Tensor]]) -> None:
        """Log the means of what gradient steps returned, and the multipliers."""
        for name in dict.fromkeys(key for found in seen for key in found):
            self.logger.record(f"train/{name}", float(th.stack([found[name] for found in seen if name in found]).mean()))
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for c, value in zip(self.limited, self.multipliers.values, strict=True):
            self.logger.record(f"constraint/{self.constraint_specs[c]['name']}/multiplier", float(value))

    def _inputs(self, observations: th.Tensor, actions: th.Tensor) -> th.Tensor:
        """Return what the cost critics see, (B, features + actions)."""
        actor: Any = self.actor
        with th.no_grad():
            features = actor.extract_features(observations, actor.features_extractor)
        return th.cat((features, actions), dim=1)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "multipliers", "cost_critics", "cost_targets"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, variables = super()._get_torch_save_params()
        return [*modules, "multipliers", "cost_critics", "cost_critics.optimizer", "cost_targets"], variables


class OffPolicyLagrangianSettings(MultiplierSettings):
    """What the settings of such methods share; mixed in.

    Attributes:
        cost_limits: Cost limits by constraint name in place of the environment's.
        cost_net_arch: Hidden widths of each cost critic.
        cost_estimate: How an iteration tells the mean episode cost; see `saferl.cost_estimates`.
    """

    cost_limits: dict[str, float] = Field(default_factory=dict)
    cost_net_arch: tuple[PositiveInt, ...] = (128, 128)
    cost_estimate: Estimate = "rate"

    def multiplier_arguments(self, rule: Rule) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        own = ("cost_limits", "cost_net_arch", "cost_estimate", "sum_norm")
        return {**{key: getattr(self, key) for key in own}, "multipliers": rule}

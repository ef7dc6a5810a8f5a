"""TD3-Lagrangian: one Q critic per cost, and an actor that climbs the reward's less the costs at their prices.

The off-policy baseline of safe reinforcement learning (Ray, Achiam and Amodei 2019, with TD3 in place of SAC)::

    actor:   maximise  (Q_1 - sum_i lambda_i Q_i) / (1 + sum_i |lambda_i|)
    lambda <- max(0, lambda + eta e)                      once per iteration, from its own steps; or the same with Adam
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch as th
from pydantic import PositiveFloat
from stable_baselines3.common.utils import polyak_update
from torch.nn import functional

from saferl.algorithms.off_policy import ConstrainedOffPolicy
from saferl.algorithms.off_policy_lagrangian import MultiplierSettings, OffPolicyLagrangian
from saferl.algorithms.registry import register_method
from saferl.algorithms.td3 import ConstrainedTD3, TD3Settings
from saferl.multipliers import DualAscent
from saferl.replay import Batch


class TD3Lagrangian(OffPolicyLagrangian, ConstrainedTD3):
    """TD3 under multipliers."""

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Move the multipliers by what the iteration's steps cost, and all networks by gradient steps."""
        self.policy.set_training_mode(True)
        self._update_learning_rate([self.actor.optimizer, self.critic.optimizer, self.cost_critics.optimizer])
        weights, seen = self.move_multipliers(), []
        for _ in range(gradient_steps):
            self._n_updates += 1
            seen.append(self._step(self._buffer.draw(batch_size, self._vec_normalize_env), weights))
        self.log_training(seen)

    def _step(self, batch: Batch, weights: th.Tensor) -> dict[str, th.Tensor]:
        """Take one gradient step of critics and cost critics, and at every `policy_delay`-th of the actor."""
        with th.no_grad():
            noise = th.randn_like(batch.actions) * self.target_policy_noise
            noise = noise.clamp(-self.target_noise_clip, self.target_noise_clip)
            following = (self.actor_target(batch.next_observations) + noise).clamp(-1.0, 1.0)
            following_q = th.cat(self.critic_target(batch.next_observations, following), dim=1).amin(dim=1, keepdim=True)
            target = batch.rewards + (1.0 - batch.dones) * self.gamma * following_q
        critic_loss = th.stack([functional.mse_loss(q, target) for q in self.critic(batch.observations, batch.actions)]).sum()
        cost_loss = self.cost_critic_loss(batch, following)
        for loss, optimizer in (
            (critic_loss, self.critic.optimizer),
            (cost_loss * len(self.limited), self.cost_critics.optimizer),
        ):
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        found = {"critic_loss": critic_loss.detach(), "cost_critic_loss": cost_loss.detach()}
        if self._n_updates % self.policy_delay == 0:
            actions = self.actor(batch.observations)
            q = self.critic.q1_forward(batch.observations, actions)
            actor_loss = -self.mixed(q, batch.observations, actions, weights).mean()
            self.actor.optimizer.zero_grad()
            actor_loss.backward()  # type: ignore[no-untyped-call]
            self.actor.optimizer.step()
            found["actor_loss"] = actor_loss.detach()
            for network, slow in ((self.critic, self.critic_target), (self.actor, self.actor_target)):
                polyak_update(network.parameters(), slow.parameters(), self.tau)
            self.follow_cost_critics()
        return found


@register_method(
    "td3_lag",
    "TD3-Lagrangian: one Q critic and one multiplier per constraint, moved by dual ascent",
    "Ray, Achiam and Amodei 2019, Benchmarking Safe Exploration in Deep RL",
)
class TD3LagSettings(TD3Settings, MultiplierSettings):
    """Settings of TD3-Lagrangian.

    Attributes:
        multiplier_lr: Step of the multipliers: per unit of error with ``sgd``, per update with ``adam``.
        multiplier_optimizer: ``sgd`` or ``adam``.
    """

    algorithm: ClassVar[type[ConstrainedOffPolicy]] = TD3Lagrangian

    name: str = "td3_lag"
    multiplier_lr: PositiveFloat = 0.035
    multiplier_optimizer: Literal["sgd", "adam"] = "adam"

    def rule(self, limits: list[float], senses: list[str]) -> DualAscent:
        """Return dual ascent."""
        return DualAscent(
            limits, senses, learning_rate=self.multiplier_lr, optimizer=self.multiplier_optimizer, **self.shared()
        )

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        return {**super().arguments(), **self.multiplier_arguments(self.rule)}

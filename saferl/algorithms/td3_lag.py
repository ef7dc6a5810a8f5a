"""TD3-Lagrangian: one Q critic per cost, and an actor that climbs the reward's less the costs at their prices.

The off-policy baseline of safe reinforcement learning (Ray, Achiam and Amodei 2019, with TD3 in place of SAC)::

    actor:   maximise  (Q_1 - sum_i lambda_i Q_i) / (1 + sum_i |lambda_i|)
    lambda <- max(0, lambda + eta e)                      once per iteration, from its own steps; or the same with Adam
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch as th
from pydantic import PositiveFloat

from saferl.algorithms.off_policy import ConstrainedOffPolicy
from saferl.algorithms.off_policy_lagrangian import OffPolicyLagrangian, OffPolicyLagrangianSettings
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
        critic_loss, following = self.critic_step(batch)
        cost_loss = self.cost_critic_loss(batch, following)
        self.cost_critics.optimizer.zero_grad()
        (cost_loss * len(self.limited)).backward()  # type: ignore[no-untyped-call]
        self.cost_critics.optimizer.step()
        found = {"critic_loss": critic_loss, "cost_critic_loss": cost_loss.detach()}
        if self._n_updates % self.policy_delay == 0:
            actions = self.actor(batch.observations)
            q = self.critic.q1_forward(batch.observations, actions)
            actor_loss = -self.mixed(q, batch.observations, actions, weights).mean()
            self.actor_step(actor_loss)
            self.follow_cost_critics()
            found["actor_loss"] = actor_loss.detach()
        return found


@register_method(
    "td3_lag",
    "TD3-Lagrangian: one Q critic and one multiplier per constraint, moved by dual ascent",
    "Ray, Achiam and Amodei 2019, Benchmarking Safe Exploration in Deep RL",
)
class TD3LagSettings(TD3Settings, OffPolicyLagrangianSettings):
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

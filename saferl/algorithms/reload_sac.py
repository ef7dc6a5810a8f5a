"""ReLOAD on SAC: one Q critic per reward, and an actor that follows their optimistic mixture.

Moskovitz et al. 2023 (ReLOAD, arXiv 2302.01275) evaluate an off-policy agent, MPO with one Q critic per reward; SAC in its
place is **our adaptation**, with the extrapolated multipliers of `saferl.algorithms.reload`::

    actor:   maximise  (min(Q_1, Q_2) - sum_i w_i Q_i) / (1 + sum_i |w_i|)  +  alpha entropy          w = 2 mu_k - mu_(k-1)
    mu_(k+1) = max(0, mu_k + eta (2 e_k - e_(k-1)))                            once per iteration, from its own steps

With ``optimistic: none`` it is SAC-Lagrangian by descent-ascent.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch as th
from pydantic import PositiveFloat
from stable_baselines3.common.utils import polyak_update
from torch.nn import functional

from saferl.algorithms.off_policy import ConstrainedOffPolicy
from saferl.algorithms.off_policy_lagrangian import OffPolicyLagrangian, OffPolicyLagrangianSettings
from saferl.algorithms.registry import register_method
from saferl.algorithms.sac import ConstrainedSAC, SACSettings
from saferl.optimistic_ascent import OptimisticAscent, Players
from saferl.replay import Batch


class ReloadSAC(OffPolicyLagrangian, ConstrainedSAC):
    """SAC under optimistic multipliers.

    Args:
        policy: As for `OffPolicyLagrangian`.
        env: As for `OffPolicyLagrangian`.
        actor_learning_rate: Of the actor, constant, or None for everybody's. The game's players are actor and multipliers; an
            actor that is slow beside the critics follows values that are nearly those of the present policy (ours).
        **kwargs: As for `OffPolicyLagrangian`.
    """

    def __init__(self, policy: Any, env: Any, *args: Any, actor_learning_rate: float | None = None, **kwargs: Any) -> None:
        self.actor_learning_rate = actor_learning_rate
        super().__init__(policy, env, *args, **kwargs)

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Move the multipliers by what the iteration's steps cost, and all networks by gradient steps."""
        self.policy.set_training_mode(True)
        learned = [] if self.ent_coef_optimizer is None else [self.ent_coef_optimizer]
        self._update_learning_rate([self.actor.optimizer, self.critic.optimizer, self.cost_critics.optimizer, *learned])
        if self.actor_learning_rate is not None:
            for group in self.actor.optimizer.param_groups:
                group["lr"] = self.actor_learning_rate
        weights = self.move_multipliers()
        draw, normalizer = self._buffer.draw, self._vec_normalize_env
        seen = [self._step(draw(batch_size, normalizer), weights) for _ in range(gradient_steps)]
        self._n_updates += gradient_steps
        self.log_training(seen)

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
        critic_loss = th.stack([functional.mse_loss(q, target) for q in self.critic(batch.observations, batch.actions)]).sum()
        cost_loss = self.cost_critic_loss(batch, following)
        for loss, optimizer in (
            (critic_loss, self.critic.optimizer),
            (cost_loss * len(self.limited), self.cost_critics.optimizer),
        ):
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        q = th.cat(self.critic(batch.observations, actions), dim=1).amin(dim=1, keepdim=True)
        actor_loss = (alpha * log_prob - self.mixed(q, batch.observations, actions, weights)).mean()
        self.actor.optimizer.zero_grad()
        actor_loss.backward()  # type: ignore[no-untyped-call]
        self.actor.optimizer.step()
        polyak_update(self.critic.parameters(), self.critic_target.parameters(), self.tau)
        self.follow_cost_critics()
        return {
            "actor_loss": actor_loss.detach(),
            "critic_loss": critic_loss.detach(),
            "cost_critic_loss": cost_loss.detach(),
            "ent_coef": alpha.mean(),
        }

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


@register_method(
    "reload_sac",
    "ReLOAD on SAC: one Q critic per reward, actor and multipliers both optimistic",
    "Moskovitz et al. 2023, arXiv 2302.01275",
)
class ReloadSACSettings(SACSettings, OffPolicyLagrangianSettings):
    """Settings of ReLOAD-SAC.

    Attributes:
        multiplier_lr: eta, per unit of error and iteration.
        optimistic: See `saferl.optimistic_ascent`.
        clip_weights: Hold extrapolated weights at zero from below.
        actor_learning_rate: See `ReloadSAC`.
    """

    algorithm: ClassVar[type[ConstrainedOffPolicy]] = ReloadSAC

    name: str = "reload_sac"
    multiplier_lr: PositiveFloat = 0.05
    optimistic: Players = "both"
    clip_weights: bool = False
    actor_learning_rate: PositiveFloat | None = None

    def rule(self, limits: list[float], senses: list[str]) -> OptimisticAscent:
        """Return optimistic ascent."""
        return OptimisticAscent(
            limits, senses, learning_rate=self.multiplier_lr, optimistic=self.optimistic, clip_weights=self.clip_weights,
            **self.shared(),
        )  # fmt: skip

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        own = {"actor_learning_rate": self.actor_learning_rate}
        return {**super().arguments(), **self.multiplier_arguments(self.rule), **own}

"""Twin delayed deep deterministic policy gradients that know their constraints: an off-policy baseline.

Fujimoto, van Hoof and Meger 2018 (TD3, arXiv 1802.09477) as Stable-Baselines3 implements it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch as th
from pydantic import Field, PositiveInt
from stable_baselines3 import TD3
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.utils import polyak_update
from torch.nn import functional

from saferl.algorithms.off_policy import ConstrainedOffPolicy, OffPolicySettings
from saferl.algorithms.registry import register_method
from saferl.replay import Batch


class ConstrainedTD3(ConstrainedOffPolicy, TD3):
    """TD3 on an environment with constraints, which are recorded and logged but not enforced.

    Args:
        policy: As for SB3's TD3.
        env: An environment with constraints.
        exploration_noise: Deviation of the noise on actions, which are scaled to [-1, 1].
        **kwargs: Further arguments of SB3's TD3.
    """

    def __init__(self, policy: Any, env: Any, *args: Any, exploration_noise: float = 0.1, **kwargs: Any) -> None:
        self.exploration_noise = exploration_noise
        super().__init__(policy, env, *args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        width = int(np.prod(self.action_space.shape or ()))
        self.action_noise = NormalActionNoise(np.zeros(width), np.full(width, self.exploration_noise))

    def target_actions(self, batch: Batch) -> th.Tensor:
        """Return the target actor's actions (B, na) in the next states."""
        with th.no_grad():
            actions: th.Tensor = self.actor_target(batch.next_observations)
        return actions

    def critic_step(self, batch: Batch, following: th.Tensor | None = None) -> tuple[th.Tensor, th.Tensor]:
        """Take a gradient step of the twin critics towards clipped double Q with a smoothed target action.

        Args:
            batch: Transitions.
            following: (B, na) what is done in the next states, before noise; None for the target actor's actions.

        Returns:
            The loss, and the noisy actions (B, na) in the next states.
        """
        with th.no_grad():
            noise = th.randn_like(batch.actions) * self.target_policy_noise
            noise = noise.clamp(-self.target_noise_clip, self.target_noise_clip)
            following = self.target_actions(batch) if following is None else following
            following = (following + noise).clamp(-1.0, 1.0)
            q = th.cat(self.critic_target(batch.next_observations, following), dim=1).amin(dim=1, keepdim=True)
            target = batch.rewards + (1.0 - batch.dones) * self.gamma * q
        loss = th.stack([functional.mse_loss(q, target) for q in self.critic(batch.observations, batch.actions)]).sum()
        self.critic.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.critic.optimizer.step()
        return loss.detach(), following

    def actor_step(self, loss: th.Tensor) -> None:
        """Take a gradient step of the actor, and move the targets of actor and critics."""
        self.actor.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.actor.optimizer.step()
        for network, slow in ((self.critic, self.critic_target), (self.actor, self.actor_target)):
            polyak_update(network.parameters(), slow.parameters(), self.tau)


@register_method("td3", "TD3 without regard to constraints: an off-policy baseline", "Fujimoto et al. 2018, arXiv 1802.09477")
class TD3Settings(OffPolicySettings):
    """Settings of TD3.

    Attributes:
        exploration_noise: Deviation of the noise on actions, which are scaled to [-1, 1].
        policy_delay: Critic updates per actor update.
        target_policy_noise: Deviation of the noise on the target's actions.
        target_noise_clip: Its bound.
    """

    algorithm: ClassVar[type[ConstrainedOffPolicy]] = ConstrainedTD3

    name: str = "td3"
    exploration_noise: float = Field(0.1, ge=0)
    policy_delay: PositiveInt = 2
    target_policy_noise: float = Field(0.2, ge=0)
    target_noise_clip: float = Field(0.5, ge=0)

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        same = ("exploration_noise", "policy_delay", "target_policy_noise", "target_noise_clip")
        return {**super().arguments(), **{key: getattr(self, key) for key in same}}

"""PPO on one mixture of reward and cost advantages: what methods with multipliers, and those that switch, are built on."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

import torch as th

from saferl.algorithms.cost_critic_ppo import CostCriticPPO, CostCriticSettings, standardized
from saferl.rollout_tensors import Rollout
from saferl.slow_scale import SlowScale

Standardized = Literal["reward", "mixed", "slow"]


class MixedPPO(CostCriticPPO):
    """PPO's clipped loss on advantages that a method makes of the reward's and the costs'.

    Args:
        policy: As for SB3's PPO.
        env: An environment with constraints, at least one of them with a cost limit.
        standardize: Which advantages are brought to mean 0 and deviation 1 in every minibatch: ``reward``, those of rewards
            before they are mixed (OmniSafe), so that a multiplier weighs deviations of reward against units of cost; or
            ``mixed``, the mixture, so that a multiplier is a price, in units of reward per unit of cost (ours); or ``slow``,
            none: those of rewards are centred per rollout and divided by a slow scale, and the mixture is left as it is.
        **kwargs: Further arguments of `CostCriticPPO`.
    """

    reward_scale: SlowScale

    def __init__(self, policy: Any, env: Any, *args: Any, standardize: Standardized = "reward", **kwargs: Any) -> None:
        self.standardize = standardize
        super().__init__(policy, env, *args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        self.reward_scale = SlowScale(1)

    @abstractmethod
    def mix(self, reward: th.Tensor, costs: th.Tensor) -> th.Tensor:
        """Return the mixed advantages (B,) of reward advantages (B,) and cost advantages (B, C)."""

    def mixed(self, batch: Rollout) -> th.Tensor:
        """Return the mixed advantages (B,) of a minibatch, standardised as asked."""
        if self.standardize == "slow":
            return self.mix(batch.advantages, batch.cost_advantages)
        if self.standardize == "reward":
            return self.mix(standardized(batch.advantages), batch.cost_advantages)
        return standardized(self.mix(batch.advantages * self.reward_unit(), batch.cost_advantages))

    def policy_loss(self, batch: Rollout, log_prob: th.Tensor) -> th.Tensor:
        """Return PPO's clipped loss on the mixture."""
        return self.clipped(self.mixed(batch), batch, log_prob)

    def _rollout(self) -> Rollout:
        rollout = super()._rollout()
        if self.standardize != "slow":
            return rollout
        return rollout._replace(advantages=self.reward_scale(rollout.advantages[:, None])[:, 0])

    def _scales(self) -> list[str]:
        return [*super()._scales(), *(["reward_scale"] if self.standardize == "slow" else [])]


class MixedSettings(CostCriticSettings):
    """Settings of methods with cost critics that mix advantages; see `MixedPPO`."""

    standardize: Standardized = "reward"

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        return {**super().arguments(), "standardize": self.standardize}

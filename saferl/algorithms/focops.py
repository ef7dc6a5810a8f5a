"""FOCOPS: the best policy of a trust region found without parameters, then projected onto those that the network can be.

Zhang, Vuong and Ross 2020 (FOCOPS, arXiv 2002.06506), algorithm 1: within a bound delta on the divergence, the best policy
is the old one times ``exp((A - nu A_cost) / lambda)``; the network follows, first order, ::

    loss = E[ 1(KL <= delta) (KL(new | old) - r (A - nu A_cost) / lambda) ]        nu <- clip(nu + alpha (J - d), 0, nu_max)

with r the ratio of probabilities and KL that of the very state; epochs end where the mean divergence is too large. What is
ours: several constraints, ``>=`` and ``==``.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch as th
from pydantic import PositiveFloat
from stable_baselines3.common.distributions import Distribution, kl_divergence

from saferl.algorithms.lagrangian import LagrangianPPO, LagrangianSettings
from saferl.algorithms.ppo import ConstrainedPPO
from saferl.algorithms.registry import register_method
from saferl.multipliers import DualAscent
from saferl.rollout_tensors import Rollout


class FOCOPS(LagrangianPPO):
    """Its loss under multipliers moved by gradient ascent.

    Args:
        policy: As for SB3's PPO.
        env: An environment with constraints, at least one of them with a cost limit.
        temperature: lambda.
        max_kl: delta, of each state.
        **kwargs: Further arguments of `LagrangianPPO`.
    """

    def __init__(
        self, policy: Any, env: Any, *args: Any, temperature: float = 1.5, max_kl: float = 0.02, **kwargs: Any
    ) -> None:
        self.temperature, self.max_kl = temperature, max_kl
        super().__init__(policy, env, *args, **kwargs)

    def _rollout(self) -> Rollout:
        # the policy that acted, to whose distributions the new ones are compared
        self._acted = copy.deepcopy(self.policy)
        return super()._rollout()

    def policy_loss(self, batch: Rollout, log_prob: th.Tensor) -> th.Tensor:
        """Return the loss of a minibatch."""
        with th.no_grad():
            old = self._acted.get_distribution(batch.observations)
        divergence = state_kl(self.policy.get_distribution(batch.observations), old)
        ratio = (log_prob - batch.old_log_prob).exp()
        inside = (divergence.detach() <= self.max_kl).to(ratio.dtype)
        return (inside * (divergence - ratio * self.mixed(batch) / self.temperature)).mean()

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_acted"]


def state_kl(first: Distribution, second: Distribution) -> th.Tensor:
    """Return KL(first | second) of every state, (B,)."""
    found = kl_divergence(first, second)
    return found.flatten(1).sum(dim=1) if found.dim() > 1 else found


@register_method(
    "focops",
    "FOCOPS: first-order projection of the best policy in a trust region",
    "Zhang, Vuong and Ross 2020, arXiv 2002.06506",
)
class FOCOPSSettings(LagrangianSettings):
    """Settings of FOCOPS; constants of the paper's code.

    Attributes:
        temperature: lambda.
        max_kl: delta, of each state.
        target_kl: Epochs end where the mean divergence is above 1.5 times it; the paper's end above delta.
        multiplier_lr: alpha, per unit of error.
        multiplier_maximum: nu_max.
        sum_norm: Divide the mixture by ``1 + nu``: OmniSafe does, the paper does not.
    """

    algorithm: ClassVar[type[ConstrainedPPO]] = FOCOPS

    name: str = "focops"
    temperature: PositiveFloat = 1.5
    max_kl: PositiveFloat = 0.02
    target_kl: PositiveFloat | None = 0.02
    multiplier_lr: PositiveFloat = 0.01
    multiplier_maximum: PositiveFloat | None = 2.0
    sum_norm: bool = False

    def rule(self, limits: list[float], senses: list[str]) -> DualAscent:
        """Return gradient ascent."""
        return DualAscent(limits, senses, learning_rate=self.multiplier_lr, **self.shared())

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        return {**super().arguments(), "temperature": self.temperature, "max_kl": self.max_kl}

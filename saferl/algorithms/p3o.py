"""P3O: PPO with an exact penalty on what the clipped surrogates say the costs will be.

Zhang, Shen, Yang, Chen, Wang, Yuan, Lan and Tao 2022 (P3O, arXiv 2205.11814), equation 14::

    loss = -E min(r A, clip(r) A) + kappa sum_i max(0, E max(r A_i, clip(r) A_i) + e_i)

with r the ratio of probabilities and e_i by how much constraint i is exceeded, in the unit of its per-step cost. The penalty
is exact: from some finite kappa on the solution is that of the constrained problem. What is ours: the unit of e_i, ``J - d``
divided by the mean length of episodes for sums, as it is for means, and its counterpart for discounted sums (the paper treats
these); ``>=`` and ``==``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch as th
from pydantic import PositiveFloat

from saferl.algorithms.conditioned_ppo import ConditionedPPO
from saferl.algorithms.cost_critic_ppo import CostCriticSettings, standardized
from saferl.algorithms.ppo import ConstrainedPPO
from saferl.algorithms.registry import register_method
from saferl.rollout_tensors import Rollout

Array = np.ndarray[Any, Any]


class P3O(ConditionedPPO):
    """PPO's loss plus penalties.

    Args:
        policy: As for SB3's PPO.
        env: An environment with constraints, at least one of them with a cost limit.
        penalty: kappa.
        **kwargs: Further arguments of SB3's PPO and of `CostCriticPPO`.
    """

    def __init__(self, policy: Any, env: Any, *args: Any, penalty: float = 20.0, **kwargs: Any) -> None:
        self.penalty = penalty
        super().__init__(policy, env, *args, **kwargs)

    def policy_loss(self, batch: Rollout, log_prob: th.Tensor) -> th.Tensor:
        """Return PPO's loss plus the penalties; without them until a first cost is known."""
        loss = self.clipped(standardized(batch.advantages), batch, log_prob)
        if not self.conditions.known:
            return loss
        width, ratio = self.clip_width, (log_prob - batch.old_log_prob).exp()[:, None]
        costs = self.conditions.advantages(batch.cost_advantages)
        expected = th.max(costs * ratio, costs * ratio.clamp(1 - width, 1 + width)).mean(dim=0)
        errors = th.as_tensor(self.conditions.errors, dtype=expected.dtype, device=expected.device)
        return loss + self.penalty * (expected + errors).clamp(min=0.0).sum()


@register_method(
    "p3o",
    "P3O: PPO with exact penalties on clipped cost surrogates",
    "Zhang et al. 2022, arXiv 2205.11814",
)
class P3OSettings(CostCriticSettings):
    """Settings of P3O.

    Attributes:
        penalty: kappa (OmniSafe: 20).
        cost_scaling: Cost advantages keep their unit.
    """

    algorithm: ClassVar[type[ConstrainedPPO]] = P3O

    name: str = "p3o"
    penalty: PositiveFloat = 20.0
    cost_scaling: Literal["none", "center"] = "center"

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        return {**super().arguments(), "penalty": self.penalty}

"""CPO: the best step inside a trust region that keeps the linearised constraints.

Achiam, Held, Tamar and Abbeel 2017 (CPO, arXiv 1705.10528), algorithm 1. One natural-gradient step per rollout, found by
`saferl.trust_region` from conjugate gradients, then shortened until the divergence, the costs and the reward are what
the linear model promised. Critics are trained by regression as in the other methods. What is ours: any few constraints
at once, solved exactly; ``>=`` and ``==``; errors per step, as in `saferl.algorithms.p3o`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
import torch as th
from pydantic import Field, PositiveFloat, PositiveInt
from stable_baselines3.common.distributions import Distribution

from saferl.algorithms.conditioned_ppo import ConditionedPPO
from saferl.algorithms.cost_critic_ppo import CostCriticSettings, standardized
from saferl.algorithms.focops import state_kl
from saferl.algorithms.ppo import ConstrainedPPO
from saferl.algorithms.registry import register_method
from saferl.rollout_tensors import Rollout
from saferl.trust_region import MOST_CONSTRAINTS, Step, best_step, conjugate_gradient
from saferl_envs.errors import ConfigError

Array = np.ndarray[Any, Any]


class CPO(ConditionedPPO):
    """Trust-region steps under constraints.

    Args:
        policy: As for SB3's PPO.
        env: An environment with at least one constraint with a cost limit, and not too many (`MOST_CONSTRAINTS`).
        max_kl: delta, the largest mean divergence of a step.
        cg_steps: Steps of conjugate gradients.
        cg_damping: Added to the diagonal of the divergence's Hessian.
        backtracks: How often a step is shortened before it is given up.
        shrink: Factor of each shortening.
        **kwargs: Further arguments of `CostCriticPPO`.

    Raises:
        ConfigError: There are too many constraints, images are observed, or an entropy bonus or target_kl is given.
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        *args: Any,
        max_kl: float = 0.01,
        cg_steps: int = 15,
        cg_damping: float = 0.1,
        backtracks: int = 15,
        shrink: float = 0.8,
        **kwargs: Any,
    ) -> None:
        self.max_kl, self.cg_steps, self.cg_damping = max_kl, cg_steps, cg_damping
        self.backtracks, self.shrink = backtracks, shrink
        for key, reason in (
            ("ent_coef", "has no entropy bonus"),
            ("target_kl", "is bounded by max_kl, and what follows it trains critics"),
        ):
            if kwargs.get(key):
                raise ConfigError(f"method.{key}: a trust-region step {reason}; it cannot be set")
        super().__init__(policy, env, *args, **kwargs)

    def set_limits(self, limits: list[float], senses: list[str]) -> None:
        """Make the conditions."""
        super().set_limits(limits, senses)
        if len(self.conditions.columns) > MOST_CONSTRAINTS:
            raise ConfigError(
                f"method cpo keeps at most {MOST_CONSTRAINTS} constraints with cost limits (one with == counts twice), got "
                f"{len(self.conditions.columns)}"
            )

    def _setup_model(self) -> None:
        super()._setup_model()
        if any(True for _ in self.policy.features_extractor.parameters()):
            raise ConfigError(
                "method cpo needs observations without images: training the critics would move the features, and with "
                "them the policy, out of the trust region"
            )

    def policy_loss(self, batch: Rollout, log_prob: th.Tensor) -> th.Tensor:
        """Return zero: minibatches train the critics, the policy has taken its step."""
        return log_prob.new_zeros(())

    def _epochs(self, rollout: Rollout) -> list[dict[str, th.Tensor]]:
        self._take_step(rollout)
        return super()._epochs(rollout)

    def _take_step(self, rollout: Rollout) -> None:
        """Move the policy by the best step that the line search lets stand."""
        reward = standardized(rollout.advantages)
        costs, errors = self.conditions.advantages(rollout.cost_advantages), self.conditions.errors
        if not self.conditions.known:  # no episode has ended yet: nothing binds
            costs, errors = costs[:, :0], errors[:0]

        def surrogates() -> tuple[th.Tensor, th.Tensor, Distribution]:
            distribution = self.policy.get_distribution(rollout.observations)
            ratio = (distribution.log_prob(rollout.actions) - rollout.old_log_prob).exp()
            return (ratio * reward).mean(), (ratio[:, None] * costs).mean(dim=0), distribution

        with th.no_grad():
            # a copy: the next evaluation gives the same object another distribution
            old = copy.copy(self.policy.get_distribution(rollout.observations))
        gain, expected, distribution = surrogates()
        parameters = [p for p in self.policy.parameters() if p.requires_grad]
        slopes = th.autograd.grad(gain, parameters, retain_graph=True, allow_unused=True)
        parameters = [p for p, slope in zip(parameters, slopes, strict=True) if slope is not None]
        g = _flat([slope for slope in slopes if slope is not None])
        b = [_flat(th.autograd.grad(one, parameters, retain_graph=True)) for one in expected]
        divergence = state_kl(old, distribution).mean()
        product = self._hessian(divergence, parameters)
        directions = [conjugate_gradient(product, slope, self.cg_steps) for slope in (g, *b)]
        products = th.stack([g, *b]).cpu().double() @ th.stack(directions).cpu().double().T
        table = (0.5 * (products + products.T)).numpy()
        if not np.isfinite(table).all() or table[0, 0] <= 0.0:
            self._log_step(None, 0.0)
            return
        step = best_step(table[0, 0], table[1:, 0], table[1:, 1:], errors, self.max_kl)
        weights = (step.reward, *(-step.costs))
        move = sum((float(w) * direction for w, direction in zip(weights, directions, strict=True)), th.zeros_like(g))
        before = (float(gain.detach()), expected.detach().cpu().numpy())
        share = self._search(parameters, move, errors, before, surrogates, old)
        self._log_step(step, share)

    def _hessian(self, divergence: th.Tensor, parameters: list[th.nn.Parameter]) -> Callable[[th.Tensor], th.Tensor]:
        """Return the product of the divergence's damped Hessian with a vector (P,)."""
        slope = _flat(th.autograd.grad(divergence, parameters, create_graph=True))

        def product(vector: th.Tensor) -> th.Tensor:
            return _flat(th.autograd.grad(slope @ vector, parameters, retain_graph=True)) + self.cg_damping * vector

        return product

    def _search(
        self,
        parameters: list[th.nn.Parameter],
        move: th.Tensor,
        errors: Array,
        before: tuple[float, Array],
        surrogates: Callable[[], tuple[th.Tensor, th.Tensor, Distribution]],
        old: Distribution,
    ) -> float:
        """Shorten the move until it holds what was promised; return the share of it that was taken, 0 for none."""
        start, share = _flat([p.detach() for p in parameters]).clone(), 1.0
        # where a constraint is exceeded its cost may not rise, where there is room it may rise that far
        room = np.maximum(-errors, 0.0)
        # what leads back to a limit may cost reward
        broken = bool((errors > 0.0).any())
        with th.no_grad():
            for _ in range(self.backtracks):
                _write(parameters, start + share * move)
                gain, expected, distribution = surrogates()
                divergence = float(state_kl(old, distribution).mean())
                better = broken or float(gain) > before[0]
                kept = (expected.cpu().numpy() - before[1] <= room + 1e-12).all()
                if divergence <= self.max_kl and better and kept:
                    return share
                share *= self.shrink
            _write(parameters, start)
        return 0.0

    def _log_step(self, step: Step | None, share: float) -> None:
        for case in ("free", "constrained", "recovery"):
            self.logger.record(f"train/step_{case}", float(step is not None and step.case == case))
        self.logger.record("train/step_share", share)


def _flat(tensors: Any) -> th.Tensor:
    return th.cat([tensor.reshape(-1) for tensor in tensors])


def _write(parameters: list[th.nn.Parameter], flat: th.Tensor) -> None:
    th.nn.utils.vector_to_parameters(flat, parameters)


@register_method(
    "cpo",
    "CPO: the best step in a trust region that keeps the linearised constraints",
    "Achiam et al. 2017, arXiv 1705.10528",
)
class CPOSettings(CostCriticSettings):
    """Settings of CPO; OmniSafe's are the defaults.

    Attributes:
        max_kl: delta.
        cg_steps: Steps of conjugate gradients.
        cg_damping: Added to the Hessian's diagonal.
        backtracks: How often a step is shortened before it is given up.
        shrink: Factor of each shortening.
        cost_scaling: Cost advantages keep their unit.
    """

    algorithm: ClassVar[type[ConstrainedPPO]] = CPO

    name: str = "cpo"
    max_kl: PositiveFloat = 0.01
    cg_steps: PositiveInt = 15
    cg_damping: float = Field(0.1, ge=0)
    backtracks: PositiveInt = 15
    shrink: float = Field(0.8, gt=0, lt=1)
    cost_scaling: Literal["none", "center"] = "center"

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        own = ("max_kl", "cg_steps", "cg_damping", "backtracks", "shrink")
        return {**super().arguments(), **{key: getattr(self, key) for key in own}}

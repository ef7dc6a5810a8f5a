"""ACS on PPO: an upper policy that proposes, and corrections by learned advantages of costs.

Chen et al. 2023 (ACS, arXiv 2310.03379); the author's public script is on-policy. With u_i(s) the discounted cost of
constraint i per step, A_i(s, a) how much an action adds to it, and delta_i what its cost limit allows per step, an action must
satisfy, for every constraint with a cost limit at once::

    A_i(s, a) <= alpha (delta_i - u_i(s))

which is ``U_i <= (1 - alpha) u_i + alpha delta_i`` of `saferl.algorithms.acs` with ``U = u + A``. Linearised about the
proposal, these are rows of a quadratic program. The upper policy climbs ``A_reward - pressure sum_i (A_i + excess_i)``: the
script's ``r - 0.1 c``, and by how much its own proposal misses the condition, since behind the safeguard bad proposals cost
nothing. The safeguard is a part of its environment, so the buffer keeps what was proposed and the probability of that.

**Reconstruction:** as there. The script learns one label per trajectory, whether its cost stays below 25; learning advantages
of each constraint's own cost, and all constraints at once, are ours. What is still missing after a correction it has as an
alternative to ``r - 0.1 c``, commented out; the proposal's excess is ours. The advantage networks regress the estimates that
the policy learns from on what was executed, so corrections are as good as those are.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar, Literal

import numpy as np
import torch as th
from gymnasium import spaces
from pydantic import Field, PositiveInt
from stable_baselines3.common.vec_env import VecEnv
from torch.nn import functional

from saferl.algorithms.learned_safeguard import TOUCHING, LearnedSafeguard, untouched
from saferl.algorithms.mixed_ppo import MixedPPO, MixedSettings, Standardized
from saferl.algorithms.ppo import ConstrainedPPO
from saferl.algorithms.registry import register_method
from saferl.cost_critics import CostCritics
from saferl.rollout_tensors import Rollout
from saferl_controllers.projection.fast import PolytopeProjection
from saferl_controllers.safeguard import Safeguarded
from saferl_envs.errors import ConfigError

Array = np.ndarray[Any, Any]
LEAST_ALLOWED = 1e-3
"""Cost per step that counts as the unit of excess where limits allow less."""
_ENDLESS = 1e6
"""In place of infinity, where nothing is known yet."""


class AdvantageCritics(CostCritics):
    """Networks of what an action adds to each cost, and what is allowed, which a policy that is only played needs too.

    Attributes:
        allowed: (C,) cost per step that the limits allow; infinite until a first cost is known.
    """

    allowed: th.Tensor

    def __init__(self, inputs: int, members: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(inputs, members, *args, **kwargs)
        self.register_buffer("allowed", th.full((members,), th.inf, dtype=th.float64))


class ACSPPO(LearnedSafeguard, MixedPPO):
    """PPO behind a chance-constraint safeguard that it learns.

    Args:
        policy: As for SB3's PPO.
        env: An environment with a Box of actions and at least one constraint with a cost limit, all of them ``<=``.
        alpha: The recovery rate, in (0, 1].
        warmup_fraction: Part of the training before corrections begin.
        rounds: Projections at most per action.
        pressure: Weight of costs, and of what proposals exceed, in what the upper policy climbs, in reward per unit of cost.
        safety_net_arch: Hidden widths of the advantage networks.
        **kwargs: Further arguments of `MixedPPO`.

    Raises:
        ConfigError: Actions are not a Box, a constraint is not one to stay below, or costs have no discount.
    """

    rungs = 4
    cost_gain = 0.0  # what networks say before they have seen a cost would be corrected by
    advantage_critics: AdvantageCritics

    def __init__(
        self,
        policy: Any,
        env: Any,
        *args: Any,
        alpha: float = 0.8,
        warmup_fraction: float = 0.1,
        rounds: int = 3,
        pressure: float = 0.1,
        safety_net_arch: tuple[int, ...] = (64, 64),
        **kwargs: Any,
    ) -> None:
        space = getattr(env, "action_space", None)
        if space is not None and not isinstance(space, spaces.Box):
            raise ConfigError(f"method acs_ppo corrects actions: it needs a Box as action space, got {type(space).__name__}")
        self.alpha, self.warmup_fraction, self.rounds, self.pressure = alpha, warmup_fraction, rounds, pressure
        self.safety_net_arch = tuple(safety_net_arch)
        self._executed: list[Array] = []
        self._begun = False
        # the condition is about what actions add, which advantages with their mean taken off would not tell
        kwargs = {"standardize": "mixed", **kwargs, "cost_scaling": "none"}
        super().__init__(policy, env, *args, **kwargs)

    def set_limits(self, limits: list[float], senses: list[str]) -> None:
        """Note the limits; what they allow per step follows from episodes' lengths."""
        if any(sense != "<=" for sense in senses):
            raise ConfigError("method acs_ppo keeps costs below their limits; a constraint with another sense has none")
        self._limits = np.array(limits)

    def move_limits(self, limits: Array) -> None:
        """Allow other costs."""
        self._limits = limits

    def see_costs(self, costs: Array | None) -> None:
        """Learn from episodes' lengths what the limits allow per step."""
        if costs is not None:
            self.advantage_critics.allowed.copy_(th.from_numpy(self._limits * self.per_step()))

    def _setup_model(self) -> None:
        super()._setup_model()
        if (self.gamma if self.cost_gamma is None else self.cost_gamma) == 1.0:
            raise ConfigError("method acs_ppo compares costs per step: it needs a cost_gamma (else gamma) below 1")
        space: Any = self.action_space
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        self._half = 0.5 * (high - low).ravel()
        self._project = PolytopeProjection(low.ravel(), high.ravel(), 1.0 / np.square(self._half))
        self.advantage_critics = AdvantageCritics(
            self.policy.features_dim + len(self._half), len(self.limited), self.safety_net_arch, self.policy.activation_fn,
            learning_rate=1e-3, scale=self.cost_critics.scale, gain=self.cost_gain,
        ).to(self.device)  # fmt: skip

    def mix(self, reward: th.Tensor, costs: th.Tensor) -> th.Tensor:
        """Return what the upper policy climbs."""
        return reward - self.pressure * costs.sum(dim=1)

    def correct(self, observations: Any, proposed: Array) -> Safeguarded:
        """Return what is executed in place of proposed actions (N, na), in the environment's unit.

        The rungs of the ladder: 0 the proposal, 1 the projection, 2 projections with slopes taken anew, 3 nothing was found:
        the least excess, where that gains more than what the limit allows per step, else the proposal. Excess, and the slack,
        are in units of what is allowed.
        """
        features = self._features(observations)
        unit = np.maximum(self.advantage_critics.allowed.cpu().numpy(), LEAST_ALLOWED)
        room = self._room(features).cpu().numpy()
        wanted = np.clip(np.asarray(proposed, np.float64), *self._bounds())
        action = wanted.copy()
        added, slopes = self._added(features, action)
        least = ((added - room) / unit).max(axis=1)
        best, first, rung = action.copy(), least.copy(), np.zeros(len(wanted), np.intp)
        for k in range(self.rounds):
            ids = np.flatnonzero(least > TOUCHING)
            if not ids.size:
                break
            offsets = (room - TOUCHING * unit - added + np.einsum("nci,ni->nc", slopes, action))[ids]
            action[ids] = self._project(wanted[ids], slopes[ids] / unit[:, np.newaxis], offsets / unit).point
            added, slopes = self._added(features, action)
            excess = ((added - room) / unit).max(axis=1)
            better = excess < least
            best[better], least[better], rung[better] = action[better], excess[better], min(k + 1, 2)
        feasible = least <= TOUCHING
        # where nothing is good enough all actions are often about as bad, and what little networks tell them apart by is noise
        (idle,) = (~feasible & (first - least < 1.0)).nonzero()
        best[idle], least[idle] = wanted[idle], first[idle]
        slack, intervened = np.where(feasible, 0.0, least), (best != wanted).any(axis=1)
        return Safeguarded(best, feasible, slack, intervened, np.zeros(len(wanted), np.bool_), np.where(feasible, rung, 3))

    def predict(self, observation: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the upper policy's actions, corrected unless `corrects` says otherwise or corrections have not begun."""
        actions, state = super().predict(observation, *args, **kwargs)
        if not self.corrects or not self.begun:
            return actions, state
        seen, shape = self.policy.obs_to_tensor(observation)[0], actions.shape
        executed = self.correct(seen, actions.reshape(-1, len(self._half))).action.astype(actions.dtype)
        return executed.reshape(shape), state

    @property
    def begun(self) -> bool:
        """Whether corrections have begun; true where no training is known of, and in a second `learn`."""
        total = getattr(self, "_total_timesteps", 0)
        return self._begun or not total or self.num_timesteps / total >= self.warmup_fraction

    def collect_rollouts(self, env: VecEnv, *args: Any, **kwargs: Any) -> bool:
        """Collect a rollout through the safeguard, which begins between rollouts."""
        self._executed, self._begun = [], bool(self._total_timesteps) and self.begun
        return bool(super().collect_rollouts(env, *args, **kwargs))

    def executed(self, actions: Array) -> Array:
        """Correct a step's actions where that has begun, and note what is done."""
        proposed = actions.reshape(len(actions), -1)
        found = untouched(proposed)
        if self._begun:
            began = time.perf_counter()
            last: Any = self._last_obs
            found = self.correct(self.policy.obs_to_tensor(last)[0], proposed)
            self.meter(found, proposed, time.perf_counter() - began)
        executed: Array = found.action.astype(proposed.dtype)
        self.tell(found._replace(action=executed), proposed)
        self._executed.append(executed)
        return executed.reshape(actions.shape)

    def _rollout(self) -> Rollout:
        """Return what was collected; features hold the executed actions too, which brought the costs, and proposals' excess."""
        rollout = super()._rollout()
        executed = self._buffer.flat(np.stack(self._executed).astype(np.float32)) / self._scale()
        low, high = (th.as_tensor(bound, dtype=th.float32, device=self.device) for bound in self._bounds())
        proposed = rollout.actions.clamp(low, high) / self._scale()
        with th.no_grad():
            added = self.advantage_critics(th.cat((rollout.features, proposed), dim=1))
            exceeded = (added - self._room(rollout.features)).clamp(min=0.0).float() / self.cost_critics.scale
        return rollout._replace(features=th.cat((rollout.features, executed, exceeded), dim=1))

    def _loss(self, batch: Rollout) -> tuple[th.Tensor, dict[str, th.Tensor]]:
        (both, exceeded), width = batch.features.tensor_split([-len(self.limited)], dim=1), self.policy.features_dim
        costs = batch.cost_advantages + exceeded
        loss, found = super()._loss(batch._replace(features=both[:, :width], cost_advantages=costs))
        wrong = functional.mse_loss(self.advantage_critics(both), batch.cost_advantages * self.cost_critics.scale)
        wrong = wrong * len(self.limited)
        return loss + wrong, {**found, "safety_loss": wrong.detach()}

    def _cost_optimizers(self) -> list[th.optim.Optimizer]:
        return [*super()._cost_optimizers(), self.advantage_critics.optimizer]

    def _descend(self, loss: th.Tensor) -> None:
        self.advantage_critics.optimizer.zero_grad()
        super()._descend(loss)
        th.nn.utils.clip_grad_norm_(self.advantage_critics.parameters(), self.max_grad_norm)
        self.advantage_critics.optimizer.step()

    def _log_training(self, seen: list[dict[str, th.Tensor]]) -> None:
        super()._log_training(seen)
        self.record_safeguard(self.logger)

    def _room(self, features: th.Tensor) -> th.Tensor:
        """Return what actions may add to each cost per step, (N, C), in double precision."""
        with th.no_grad():
            used = self.cost_critics(features).clamp(min=0.0).double()
        room: th.Tensor = (self.alpha * (self.advantage_critics.allowed - used)).clamp(max=_ENDLESS)
        return room

    def _bounds(self) -> tuple[Array, Array]:
        return self._project.box.low, self._project.box.high

    def _added(self, features: th.Tensor, actions: Array) -> tuple[Array, Array]:
        """Return what actions (N, na) add to each cost per step, (N, C), and its slopes (N, C, na)."""
        inputs = th.as_tensor(actions, dtype=th.float32, device=self.device).requires_grad_()
        with th.enable_grad():
            added = self.advantage_critics(th.cat((features, inputs / self._scale()), dim=1))
            slopes = [th.autograd.grad(added[:, c].sum(), inputs, retain_graph=True)[0] for c in range(added.shape[1])]
        return added.detach().cpu().double().numpy(), th.stack(slopes, dim=1).cpu().double().numpy()

    def _scale(self) -> th.Tensor:
        return th.as_tensor(self._half, dtype=th.float32, device=self.device)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "advantage_critics", "_project", "_executed"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, variables = super()._get_torch_save_params()
        return [*modules, "advantage_critics", "advantage_critics.optimizer"], variables


@register_method(
    "acs_ppo",
    "ACS on PPO: learned advantages of costs correct actions, for all constraints at once",
    "Chen et al. 2023, arXiv 2310.03379",
)
class ACSPPOSettings(MixedSettings):
    """Settings of ACS on PPO: those of PPO with cost critics, and the class's arguments."""

    algorithm: ClassVar[type[ConstrainedPPO]] = ACSPPO

    name: str = "acs_ppo"
    alpha: float = Field(0.8, gt=0, le=1)
    warmup_fraction: float = Field(0.1, ge=0, le=1)
    rounds: PositiveInt = 3
    pressure: float = Field(0.1, ge=0)
    safety_net_arch: tuple[PositiveInt, ...] = Field((64, 64), min_length=1)
    cost_scaling: Literal["none"] = "none"
    standardize: Standardized = "mixed"

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        own = ACSPPOSettings.model_fields.keys() - MixedSettings.model_fields.keys()
        return {**super().arguments(), **{key: getattr(self, key) for key in sorted(own)}}

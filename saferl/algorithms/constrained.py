"""What every learning algorithm of the suite shares: it knows its constraints, records every step, and logs what they said."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from saferl.cost_estimates import per_step
from saferl.recorder import StepRecorder
from saferl_envs.errors import CheckpointError, ConfigError, choose

Array = np.ndarray[Any, Any]


class ConstrainedAlgorithm(BaseAlgorithm):
    """Mixed in before an algorithm of Stable-Baselines3.

    Attributes:
        constraint_specs: JSON specifications of the constraints the policy was trained under; saved with the model.
        update_threads: Threads that share the minibatches of an update of PPO's kind, on the CPU; not saved.
    """

    constraint_specs: list[dict[str, Any]]
    update_threads: int = 1

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        wrapped = BaseAlgorithm._wrap_env(env, verbose, monitor_wrapper)
        return wrapped if isinstance(wrapped, StepRecorder) else StepRecorder(wrapped)

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Train on another environment, which must have the same constraints."""
        super().set_env(env, force_reset)
        if self.env is not None and hasattr(self, "constraint_specs"):
            self._adopt_constraints(self.env)

    def _adopt_constraints(self, env: VecEnv) -> None:
        """Note the environment's constraints, and let the buffer record them."""
        if not isinstance(env, StepRecorder):
            raise CheckpointError("internal: the environment was not wrapped by the step recorder")
        specs = env.constraint_set.to_specs()
        if hasattr(self, "constraint_specs"):
            check_constraints(self.constraint_specs, specs)
        self.constraint_specs = specs
        env.episodes.gamma = float(getattr(self, "gamma"))  # noqa: B009 - the algorithm's, not the base class's
        self._attach(env)

    @abstractmethod
    def _attach(self, recorder: StepRecorder) -> None:
        """Let the buffer take what the recorder notes."""

    @property
    def recorder(self) -> StepRecorder:
        """Where the environment's steps are recorded."""
        if not isinstance(self.env, StepRecorder):
            raise CheckpointError("internal: the environment was not wrapped by the step recorder")
        return self.env

    def learning_state(self) -> dict[str, Any]:
        """Return what the algorithm needs to go on learning beside its networks, as tensors and plain values."""
        return {}

    def load_learning_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `learning_state` returned.

        Raises:
            CheckpointError: It does not fit.
        """

    def reward_unit(self) -> float:
        """Return how many units of reward one unit of what the reward's critic sees is."""
        normalizer = self.get_vec_normalize_env()
        if normalizer is None or not normalizer.norm_reward:
            return 1.0
        return float(np.sqrt(normalizer.ret_rms.var + normalizer.epsilon))

    def _update_info_buffer(self, infos: Any, dones: Array | None = None) -> None:
        """Collect episode statistics, touching only infos of copies whose episode ended."""
        if dones is None:
            super()._update_info_buffer(infos, dones)
            return
        ended = np.flatnonzero(dones)
        if ended.size:
            super()._update_info_buffer([infos[i] for i in ended], dones[ended])

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "update_threads"]

    def log_rollout(self, values: Array, costs: Array, violated: Array, rewards: Array) -> None:
        """Log what the constraints said in a rollout: values (..., K), costs and violations (..., C), raw rewards (...).

        ``cost`` is the mean over the last finished episodes, ``present_cost`` that of this rollout alone: its mean cost per
        step as the constraint aggregates it over episodes as long as the last ones.
        """
        episodes = self.recorder.episodes
        episode_costs = np.mean(episodes.finished, axis=0) if episodes.finished else None
        factors = per_step(episodes, [spec.get("aggregate", "sum") for spec in self.constraint_specs], self.n_envs)
        start, limited = 0, 0.0
        for c, spec in enumerate(self.constraint_specs):
            size = len(spec["components"])
            tag = f"constraint/{spec['name']}"
            self.logger.record(f"{tag}/value_max", float(values[..., start : start + size].max()))
            self.logger.record(f"{tag}/violation_rate", float(violated[..., c].mean()))
            start += size
            if episode_costs is not None:
                self.logger.record(f"{tag}/cost", float(episode_costs[c]))
                self.logger.record(f"{tag}/present_cost", float(costs[..., c].mean(dtype=np.float64) / factors[c]))
                limited += float(episode_costs[c]) if spec.get("cost_limit") is not None else 0.0
        if episode_costs is not None:
            self.logger.record("rollout/ep_cost_mean", limited)
        self.logger.record("rollout/violation_rate", float(violated.any(axis=-1).mean()))
        self.logger.record("rollout/reward_per_step", float(rewards.mean(dtype=np.float64)))
        for name, value in self.recorder.metrics().items():
            self.logger.record(name, value)


def limits_of(specs: list[dict[str, Any]], asked: Mapping[str, float]) -> dict[int, float]:
    """Return the cost limits by index of the constraints that have one, their own or the one asked for.

    Raises:
        ConfigError: None has one.
    """
    found = {c: asked.get(spec["name"], spec.get("cost_limit")) for c, spec in enumerate(specs)}
    limits = {c: float(limit) for c, limit in found.items() if limit is not None}
    if not limits:
        names = [spec["name"] for spec in specs]
        raise ConfigError(
            f"none of the constraints ({', '.join(names)}) has a cost limit, which this method enforces; "
            f"set one, e.g. --env.cost-limits.{names[0].replace('_', '-')} 25"
        )
    return limits


def require_policy(policy: Any, known: Mapping[str, Any]) -> None:
    """Refuse policies that these methods cannot train.

    Raises:
        ConfigError: The policy is recurrent, or none of Stable-Baselines3's for the algorithm.
    """
    name = policy if isinstance(policy, str) else getattr(policy, "__name__", repr(policy))
    if "lstm" in name.lower() or "recurrent" in name.lower():
        raise ConfigError(f"policy {name!r}: recurrent policies are not supported; give the history as an observation")
    if isinstance(policy, str) and policy not in known:
        raise ConfigError(choose("policy", policy, known))


def check_constraints(trained: Any, present: list[dict[str, Any]]) -> None:
    """Refuse constraints other than those a policy was trained under. Limits may change; what is measured may not.

    Raises:
        CheckpointError: Names, families or components differ.
    """

    def identity(spec: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in spec.items() if key not in ("limit", "cost_limit", "kind", "unit")}

    if [identity(spec) for spec in trained] != [identity(spec) for spec in present]:
        raise CheckpointError(
            f"the model was trained under constraints {[spec['name'] for spec in trained]} that measure something else than "
            f"the environment's {[spec['name'] for spec in present]} (family, components, sense, cost or aggregate)"
        )

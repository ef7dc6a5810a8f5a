"""PPO that knows its constraints: Stable-Baselines3's, plus a record of every constraint and a seam for methods.

By itself it is the unconstrained baseline: its weights equal plain SB3 PPO's bit for bit, with one thread for updates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium import spaces
from pydantic import Field, PositiveFloat, PositiveInt
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from saferl.algorithms.registry import MethodSettings, register_method
from saferl.buffers import ConstraintRecords, ContinuationRolloutBuffer, DictContinuationRolloutBuffer
from saferl.recorder import Recorded, StepRecorder
from saferl.shards import evaluated_in_threads
from saferl_envs.errors import CheckpointError, ConfigError, choose

Array = np.ndarray[Any, Any]


class ConstrainedPPO(PPO):
    """PPO (Schulman et al. 2017) on an environment with constraints, which are recorded and logged but not enforced.

    Takes SB3 PPO's arguments. A method that enforces overrides `continuation` (and what else it needs).

    Attributes:
        constraint_specs: JSON specifications of the constraints the policy was trained under; saved with the model.
        update_threads: Threads that share the minibatches of an update, on the CPU; not saved.
    """

    constraint_specs: list[dict[str, Any]]
    update_threads: int = 1

    def __init__(self, policy: Any, env: Any, *args: Any, **kwargs: Any) -> None:
        require_policy(policy, self.policy_aliases)
        super().__init__(policy, env, *args, **kwargs)

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        wrapped = PPO._wrap_env(env, verbose, monitor_wrapper)
        return wrapped if isinstance(wrapped, StepRecorder) else StepRecorder(wrapped)

    def _setup_model(self) -> None:
        if self.rollout_buffer_class is None:
            has_parts = isinstance(self.observation_space, spaces.Dict)
            self.rollout_buffer_class = DictContinuationRolloutBuffer if has_parts else ContinuationRolloutBuffer
        super()._setup_model()
        if self.env is not None:
            self._adopt_constraints(self.env)

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Train on another environment, which must have the same constraints."""
        super().set_env(env, force_reset)
        if self.env is not None and isinstance(self.rollout_buffer, ConstraintRecords):
            self._adopt_constraints(self.env)

    def _adopt_constraints(self, env: VecEnv) -> None:
        if not isinstance(env, StepRecorder):
            raise CheckpointError("internal: the environment was not wrapped by the step recorder")
        specs = env.constraint_set.to_specs()
        if hasattr(self, "constraint_specs"):
            check_constraints(self.constraint_specs, specs)
        self.constraint_specs = specs
        env.episodes.gamma = self.gamma
        buffer: Any = self.rollout_buffer
        buffer.attach(env, self.continuation if self.enforces else None)

    @property
    def recorder(self) -> StepRecorder:
        """Where the environment's steps are recorded."""
        if not isinstance(self.env, StepRecorder):
            raise CheckpointError("internal: the environment was not wrapped by the step recorder")
        return self.env

    @property
    def enforces(self) -> bool:
        """Whether this method changes continuation or rewards."""
        return type(self).continuation is not ConstrainedPPO.continuation

    def continuation(self, recorded: Recorded, rewards: Array) -> tuple[Array, Array]:
        """Return the continuation (N,) of a step and the rewards (N,) to store."""
        return np.ones_like(rewards), rewards

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

    def train(self) -> None:
        """Update the policy as SB3 does, in `update_threads` threads."""
        with evaluated_in_threads(self.policy, self.update_threads):
            super().train()

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "update_threads"]

    def collect_rollouts(self, *args: Any, **kwargs: Any) -> bool:
        """Collect a rollout as SB3 does, and log what the constraints said during it."""
        goes_on = super().collect_rollouts(*args, **kwargs)
        if goes_on:
            self._log_constraints()
        return goes_on

    def _log_constraints(self) -> None:
        buffer: Any = self.rollout_buffer
        costs = self.recorder.episodes.finished
        episode_costs = np.mean(costs, axis=0) if costs else None
        start, limited = 0, 0.0
        for c, spec in enumerate(self.constraint_specs):
            size = len(spec["components"])
            tag = f"constraint/{spec['name']}"
            self.logger.record(f"{tag}/value_max", float(buffer.constraint_values[..., start : start + size].max()))
            self.logger.record(f"{tag}/violation_rate", float(buffer.violated[..., c].mean()))
            start += size
            if episode_costs is not None:
                self.logger.record(f"{tag}/cost", float(episode_costs[c]))
                limited += float(episode_costs[c]) if spec.get("cost_limit") is not None else 0.0
        if episode_costs is not None:
            self.logger.record("rollout/ep_cost_mean", limited)
        self.logger.record("rollout/violation_rate", float(buffer.violated.any(axis=-1).mean()))
        for name, value in self.recorder.metrics().items():
            self.logger.record(f"task/{name}", value)


def require_policy(policy: Any, known: Mapping[str, Any]) -> None:
    """Refuse policies that these methods cannot train.

    Raises:
        ConfigError: The policy is recurrent, or no policy of Stable-Baselines3's for PPO.
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


@register_method("ppo", "PPO without regard to constraints: the baseline", "Schulman et al. 2017, arXiv 1707.06347")
class PPOSettings(MethodSettings):
    """Settings of PPO, with defaults for about 64 copies of a locomotion task on a CPU.

    Attributes:
        policy: ``auto`` takes ``MultiInputPolicy`` for Dict observations and ``MlpPolicy`` for others.
    """

    algorithm: ClassVar[type[ConstrainedPPO]] = ConstrainedPPO

    name: str = "ppo"
    learning_rate: PositiveFloat = 3e-4
    schedule: Literal["constant", "linear"] = "constant"
    n_steps: PositiveInt = 64
    batch_size: PositiveInt = 1024
    n_epochs: PositiveInt = 5
    gamma: float = Field(0.99, ge=0, le=1)
    gae_lambda: float = Field(0.95, ge=0, le=1)
    clip_range: PositiveFloat = 0.2
    ent_coef: float = Field(0.0, ge=0)
    vf_coef: float = Field(0.5, ge=0)
    max_grad_norm: PositiveFloat = 0.5
    target_kl: PositiveFloat | None = None
    net_arch: tuple[PositiveInt, ...] = (128, 128)
    activation: Literal["tanh", "relu", "elu"] = "tanh"
    log_std_init: float = -0.5
    policy: str = "auto"

    def build(self, env: VecEnv, seed: int, device: str) -> ConstrainedPPO:
        """Return a fresh algorithm on `env`."""
        policy = self.policy
        if policy == "auto":
            policy = "MultiInputPolicy" if isinstance(env.observation_space, spaces.Dict) else "MlpPolicy"
        return self.algorithm(policy, env, seed=seed, device=device, **self.arguments())

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        same = ("n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "clip_range", "ent_coef", "vf_coef")
        rate = self.learning_rate
        return {
            **{key: getattr(self, key) for key in (*same, "max_grad_norm", "target_kl")},
            "learning_rate": (lambda remaining: remaining * rate) if self.schedule == "linear" else rate,
            "policy_kwargs": {
                "net_arch": list(self.net_arch),
                "activation_fn": {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU}[self.activation],
                "log_std_init": self.log_std_init,
            },
        }

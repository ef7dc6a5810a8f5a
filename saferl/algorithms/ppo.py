"""PPO that knows its constraints: Stable-Baselines3's, plus a record of every constraint and a seam for methods.

By itself it is the unconstrained baseline: its weights equal plain SB3 PPO's bit for bit, with one thread for updates.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium import spaces
from pydantic import Field, PositiveFloat, PositiveInt
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from saferl.algorithms.constrained import ConstrainedAlgorithm, require_policy
from saferl.algorithms.registry import MethodSettings, register_method
from saferl.buffers import ContinuationRolloutBuffer, DictContinuationRolloutBuffer
from saferl.recorder import Recorded, StepRecorder
from saferl.shards import evaluated_in_threads

Array = np.ndarray[Any, Any]


class ConstrainedPPO(ConstrainedAlgorithm, PPO):
    """PPO (Schulman et al. 2017) on an environment with constraints, which are recorded and logged but not enforced.

    Takes SB3 PPO's arguments. A method that enforces overrides `continuation` (and what else it needs).
    """

    def __init__(self, policy: Any, env: Any, *args: Any, **kwargs: Any) -> None:
        require_policy(policy, self.policy_aliases)
        super().__init__(policy, env, *args, **kwargs)

    def _setup_model(self) -> None:
        if self.rollout_buffer_class is None:
            has_parts = isinstance(self.observation_space, spaces.Dict)
            self.rollout_buffer_class = DictContinuationRolloutBuffer if has_parts else ContinuationRolloutBuffer
        super()._setup_model()
        if self.env is not None:
            self._adopt_constraints(self.env)

    def _attach(self, recorder: StepRecorder) -> None:
        buffer: Any = self.rollout_buffer
        buffer.attach(recorder, self.continuation if self.enforces else None)

    @property
    def enforces(self) -> bool:
        """Whether this method changes continuation or rewards."""
        return type(self).continuation is not ConstrainedPPO.continuation

    def continuation(self, recorded: Recorded, rewards: Array) -> tuple[Array, Array]:
        """Return the continuation (N,) of a step and the rewards (N,) to store."""
        return np.ones_like(rewards), rewards

    def train(self) -> None:
        """Update the policy as SB3 does, in `update_threads` threads."""
        with evaluated_in_threads(self.policy, self.update_threads):
            super().train()

    def collect_rollouts(self, *args: Any, **kwargs: Any) -> bool:
        """Collect a rollout as SB3 does, and log what the constraints said during it."""
        goes_on = super().collect_rollouts(*args, **kwargs)
        if goes_on:
            self._log_constraints()
        return goes_on

    def _log_constraints(self) -> None:
        buffer: Any = self.rollout_buffer
        self.log_rollout(buffer.constraint_values, buffer.costs, buffer.violated, buffer.raw_rewards)


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

"""What off-policy methods share: batched copies, few updates per step, and a replay buffer that knows the costs.

Each iteration steps all copies `n_steps` times, then takes `update_ratio` gradient steps per environment step, an eighth by
default where one is usual: on a CPU nearly all of the time goes into them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch as th
from gymnasium import spaces
from pydantic import Field, PositiveFloat, PositiveInt
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from saferl.algorithms.constrained import ConstrainedAlgorithm
from saferl.algorithms.registry import MethodSettings
from saferl.recorder import StepRecorder
from saferl.replay import CostReplayBuffer
from saferl_envs.errors import ConfigError

Array = np.ndarray[Any, Any]


class ConstrainedOffPolicy(ConstrainedAlgorithm, OffPolicyAlgorithm):
    """Mixed in before an off-policy algorithm of Stable-Baselines3: records and logs constraints, resumes bit for bit.

    Takes the algorithm's arguments; `train_freq` is the number of steps of an iteration.

    Raises:
        ConfigError: Observations or actions are not Boxes.
    """

    def __init__(self, policy: Any, env: Any, *args: Any, **kwargs: Any) -> None:
        for what in ("observation", "action"):  # there is no environment yet while SB3 loads a model
            space = getattr(env, f"{what}_space", None)
            if space is not None and not isinstance(space, spaces.Box):
                raise ConfigError(f"off-policy methods need a Box as {what} space, got {type(space).__name__}")
        super().__init__(policy, env, *args, **{**kwargs, "replay_buffer_class": CostReplayBuffer})

    def _setup_model(self) -> None:
        super()._setup_model()
        if self.env is not None:
            self._adopt_constraints(self.env)

    def _attach(self, recorder: StepRecorder) -> None:
        self._buffer.attach(recorder)

    @property
    def _buffer(self) -> CostReplayBuffer:
        if not isinstance(self.replay_buffer, CostReplayBuffer):
            raise ConfigError("off-policy methods need saferl.replay.CostReplayBuffer")
        return self.replay_buffer

    def load_replay_buffer(self, *args: Any, **kwargs: Any) -> None:
        """Take over a buffer that `save_replay_buffer` wrote."""
        super().load_replay_buffer(*args, **kwargs)
        if self.env is not None:
            self._attach(self.recorder)

    def collect_rollouts(self, *args: Any, **kwargs: Any) -> Any:
        """Collect one iteration's steps, and log what the constraints said during it."""
        # SB3 writes a row per episode; here, as with PPO, one per iteration
        found = super().collect_rollouts(*args, **{**kwargs, "log_interval": None})
        if found.continue_training:
            buffer, newest = self._buffer, self._buffer.newest(self.train_freq.frequency)  # type: ignore[union-attr]
            self.log_rollout(buffer.values[newest], buffer.costs[newest], buffer.violated[newest], buffer.raw_rewards[newest])
            self.dump_logs()
        return found

    def learning_state(self) -> dict[str, Any]:
        """Return the replay buffer and the generator of the first random actions."""
        generator: Any = self.action_space.np_random.bit_generator.state
        return {
            "replay": {key: th.from_numpy(array) for key, array in self._buffer.state().items()},
            "original_observation": th.from_numpy(np.array(self._last_original_obs)) if self._normalizes else None,
            "episodes": int(self._episode_num),
            "random_actions": [str(generator["state"][key]) for key in ("state", "inc")],  # more than 64 bits each
            "random_left_over": [int(generator[key]) for key in ("has_uint32", "uinteger")],
        }

    def load_learning_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `learning_state` returned."""
        self._buffer.load_state({key: tensor.numpy() for key, tensor in state["replay"].items()})
        if self._normalizes:
            self._last_original_obs = state["original_observation"].numpy().copy()
        self._episode_num = int(state["episodes"])
        generator: Any = self.action_space.np_random.bit_generator
        words = dict(zip(("state", "inc"), map(int, state["random_actions"]), strict=True))
        left_over = dict(zip(("has_uint32", "uinteger"), state["random_left_over"], strict=True))
        generator.state = {**generator.state, "state": words, **left_over}

    @property
    def _normalizes(self) -> bool:
        return self._vec_normalize_env is not None


class OffPolicySettings(MethodSettings):
    """Settings of off-policy methods, with defaults for about 16 copies on a CPU.

    Attributes:
        schedule: ``linear`` lets the learning rate fall to zero at the end of the training, so that the last iterate settles.
        n_steps: Steps of every copy per iteration.
        update_ratio: Gradient steps per environment step.
        buffer_size: Transitions kept; a checkpoint holds them all.
        learning_starts: Steps with random actions before the first update.
    """

    algorithm: ClassVar[type[ConstrainedOffPolicy]]

    learning_rate: PositiveFloat = 3e-4
    schedule: Literal["constant", "linear"] = "constant"
    n_steps: PositiveInt = 32
    update_ratio: float = Field(0.125, gt=0, le=4)
    batch_size: PositiveInt = 256
    buffer_size: PositiveInt = 300_000
    learning_starts: int = Field(2_000, ge=0)
    gamma: float = Field(0.99, ge=0, le=1)
    tau: float = Field(0.005, gt=0, le=1)
    net_arch: tuple[PositiveInt, ...] = (128, 128)
    activation: Literal["tanh", "relu", "elu"] = "relu"

    def build(self, env: VecEnv, seed: int, device: str) -> ConstrainedOffPolicy:
        """Return a fresh algorithm on `env`."""
        steps = round(self.update_ratio * self.n_steps * env.num_envs)
        if steps < 1:
            raise ConfigError(
                f"method.update_ratio {self.update_ratio:g} times {self.n_steps} steps of {env.num_envs} copies is not one "
                "update; raise method.n_steps"
            )
        return self.algorithm(
            "MlpPolicy",
            env,
            seed=seed,
            device=device,
            train_freq=(self.n_steps, "step"),
            gradient_steps=steps,
            **self.arguments(),
        )

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        same = ("batch_size", "buffer_size", "learning_starts", "gamma", "tau")
        rate = self.learning_rate
        activation = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU}[self.activation]
        return {
            **{key: getattr(self, key) for key in same},
            "learning_rate": (lambda remaining: remaining * rate) if self.schedule == "linear" else rate,
            "policy_kwargs": {
                "net_arch": list(self.net_arch),
                "activation_fn": activation,
                # one kernel for all parameters: narrow networks spend a tenth of their training in Adam's loop
                "optimizer_kwargs": {"fused": True},
            },
        }

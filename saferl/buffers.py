"""The rollout buffers of constrained on-policy methods: SB3's, with one array in place of the boolean (1 - done)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.buffers import BaseBuffer, DictRolloutBuffer, RolloutBuffer

from saferl.recorder import Recorded, StepRecorder

Array = np.ndarray[Any, Any]
Continuation = Callable[[Recorded, Array], tuple[Array, Array]]
"""(what the step brought, rewards with SB3's truncation bonus) -> (continuation in [0, 1], rewards to store), each (N,)."""


class ConstraintRecords(RolloutBuffer):
    """A rollout buffer whose returns go on past a step with weight `continuation` in [0, 1].

    ``delta_t = r_t + gamma c_t (1 - done_t) V(s_t+1) - V(s_t)``, and the same factor carries the advantage. With c = 1
    everything is SB3's, bit for bit. Real dones stay what they are: they drive resets and statistics.

    Attributes:
        continuation: (n_steps, N) float32.
        costs: (n_steps, N, C) float32 per-step costs, never normalised.
        violated: (n_steps, N, C) bool.
        constraint_values: (n_steps, N, K) float32 signed values.
        raw_rewards: (n_steps, N) before any normalisation; those the learner received where the environment does not tell.
        ended: (n_steps, N) bool, whether a step ended its copy's episode.
        truncated: (step, copy, last observation) of every episode that a time limit ended.
    """

    recorder: StepRecorder | None = None
    method: Continuation | None = None

    def attach(self, recorder: StepRecorder, method: Continuation | None) -> None:
        """Say where steps are recorded and which rule turns a step into continuation and reward (None: plain PPO)."""
        self.recorder, self.method = recorder, method
        steps, n = self.buffer_size, self.n_envs
        constraints = recorder.constraint_set
        self.costs = np.zeros((steps, n, len(constraints)), np.float32)
        self.violated = np.zeros((steps, n, len(constraints)), np.bool_)
        self.constraint_values = np.zeros((steps, n, constraints.num_components), np.float32)
        self.raw_rewards = np.zeros((steps, n), np.float32)

    def reset(self) -> None:
        """Forget the rollout."""
        super().reset()
        self.continuation = np.ones((self.buffer_size, self.n_envs), np.float32)
        self.ended = np.zeros((self.buffer_size, self.n_envs), np.bool_)
        self.truncated: list[tuple[int, int, Any]] = []

    def add(self, obs: Any, action: Array, reward: Array, *args: Any, **kwargs: Any) -> None:
        """Store one step of all copies, with what the recorder noted of it."""
        if self.recorder is not None and self.recorder.last is not None:
            t, recorded = self.pos, self.recorder.last
            values, costs, violated = recorded.evaluation
            self.constraint_values[t], self.costs[t], self.violated[t] = values, costs, violated
            self.raw_rewards[t] = recorded.rewards if recorded.raw_rewards is None else recorded.raw_rewards
            self.truncated += [(t, copy, last) for copy, last in recorded.truncated.items()]
            if self.method is not None:
                self.continuation[t], reward = self.method(recorded, reward)
        super().add(obs, action, reward, *args, **kwargs)

    def compute_returns_and_advantage(self, last_values: th.Tensor, dones: Array) -> None:
        """Compute advantages and returns with SB3's own recursion, handed a fractional done in place of a boolean."""
        real = self.episode_starts
        self.ended[:-1], self.ended[-1] = real[1:], dones
        effective = real.copy()
        effective[1:] = 1.0 - (1.0 - real[1:]) * self.continuation[:-1]
        last = 1.0 - (1.0 - dones.astype(np.float32)) * self.continuation[-1]
        self.episode_starts = effective
        super().compute_returns_and_advantage(last_values, last)
        self.episode_starts = real

    def flat(self, array: Array) -> th.Tensor:
        """Return an array (n_steps, N, ...) as a tensor (N n_steps, ...) on the buffer's device, copy by copy as SB3 does."""
        return self.to_torch(BaseBuffer.swap_and_flatten(array))


class ContinuationRolloutBuffer(ConstraintRecords):
    """For Box observations."""

    def flat_observations(self) -> th.Tensor:
        """Return the observations, (N n_steps, ...)."""
        return self.flat(self.observations)


class DictContinuationRolloutBuffer(ConstraintRecords, DictRolloutBuffer):
    """For Dict observations."""

    def flat_observations(self) -> dict[str, th.Tensor]:
        """Return the observations by key, each (N n_steps, ...)."""
        return {key: self.flat(array) for key, array in self.observations.items()}

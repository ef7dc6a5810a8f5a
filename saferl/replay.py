"""The replay buffer of constrained off-policy methods: SB3's, with the costs of every step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch as th
from stable_baselines3.common.buffers import ReplayBuffer

from saferl.recorder import StepRecorder
from saferl_envs.errors import CheckpointError

Array = np.ndarray[Any, Any]
_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts", "costs", "violated", "values")


class Batch(NamedTuple):
    """B transitions under C constraints.

    Attributes:
        observations: (B, ...) as the learner sees them.
        actions: (B, na) scaled to [-1, 1]; behind a configured safeguard, those that were proposed.
        next_observations: (B, ...).
        dones: (B, 1) 1 where a terminal state followed; a time limit is none.
        rewards: (B, 1).
        costs: (B, C) per-step costs.
        violated: (B, C) whether each constraint was violated, 0 or 1.
        values: (B, K) signed constraint values after the step.
        executed: (B, na) scaled to [-1, 1], those that a configured safeguard made of them; without one, the same.
    """

    observations: th.Tensor
    actions: th.Tensor
    next_observations: th.Tensor
    dones: th.Tensor
    rewards: th.Tensor
    costs: th.Tensor
    violated: th.Tensor
    values: th.Tensor
    executed: th.Tensor


class CostReplayBuffer(ReplayBuffer):
    """A replay buffer that takes the constraints' word from the step recorder.

    Attributes:
        costs: (size, N, C) float32 per-step costs.
        violated: (size, N, C) bool.
        values: (size, N, K) float32 signed values.
        executed: (size, N, na) float32 scaled to [-1, 1], what a safeguard made of `actions`; only where there is one.
        raw_rewards: (size, N) float32, `rewards` as the environment gave them, for the log; no checkpoint keeps them.
    """

    recorder: StepRecorder | None = None

    def attach(self, recorder: StepRecorder) -> None:
        """Say where steps are recorded."""
        self.recorder = recorder
        shape, constraints = (self.buffer_size, self.n_envs), recorder.constraint_set
        if recorder.guarded and not hasattr(self, "executed"):
            self.executed = self.actions.copy()
        self.raw_rewards = self.rewards.copy()
        if hasattr(self, "costs"):  # another environment under the same constraints: what is stored stays
            return
        self.costs = np.zeros((*shape, len(constraints)), np.float32)
        self.violated = np.zeros((*shape, len(constraints)), np.bool_)
        self.values = np.zeros((*shape, constraints.num_components), np.float32)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "recorder": None}  # it holds the environment, which no file can

    def add(self, obs: Array, next_obs: Array, action: Array, reward: Array, done: Array, infos: Any) -> None:
        """Store one step of all copies, with what the recorder noted of it."""
        if self.recorder is not None and self.recorder.last is not None:
            evaluation, truncated = self.recorder.last.evaluation, self.recorder.last.truncated
            t = self.pos
            self.values[t], self.costs[t], self.violated[t] = evaluation.values, evaluation.costs, evaluation.violated
            raw = self.recorder.last.raw_rewards
            self.raw_rewards[t] = reward if raw is None else raw
            if hasattr(self, "executed"):
                self.executed[t] = action if self.recorder.last.executed is None else self._scaled(self.recorder.last.executed)
            # said here, since reading every copy's info would build it
            infos = [{"TimeLimit.truncated": copy in truncated} for copy in range(self.n_envs)]
        super().add(obs, next_obs, action, reward, done, infos)

    def newest(self, steps: int) -> Array:
        """Return the indices of the last steps, oldest first."""
        known = self.buffer_size if self.full else self.pos
        return np.arange(self.pos - min(steps, known), self.pos) % self.buffer_size

    def draw(self, batch_size: int, normalizer: Any) -> Batch:
        """Return random transitions, as the learner sees them under its `VecNormalize` or None."""
        known = self.buffer_size if self.full else self.pos
        drawn = np.random.randint(0, known * self.n_envs, size=batch_size)  # noqa: NPY002 - SB3's generator, which is saved
        at = (drawn // self.n_envs, drawn % self.n_envs)
        ends = self.dones[at] * (1.0 - self.timeouts[at])
        found: tuple[Any, ...] = (
            self._normalize_obs(self.observations[at], normalizer),
            self.actions[at],
            self._normalize_obs(self.next_observations[at], normalizer),
            ends[:, np.newaxis],
            self._normalize_reward(self.rewards[at][:, np.newaxis], normalizer),
            self.costs[at],
            self.violated[at].astype(np.float32),
            self.values[at],
            getattr(self, "executed", self.actions)[at],
        )
        return Batch(*map(self.to_torch, found))

    @property
    def _names(self) -> tuple[str, ...]:
        return (*_ARRAYS, "executed") if hasattr(self, "executed") else _ARRAYS

    def _scaled(self, actions: Array) -> Array:
        """Return actions of the environment scaled to [-1, 1], as SB3's policies scale them."""
        space: Any = self.action_space
        scaled: Array = 2.0 * (actions - space.low) / (space.high - space.low) - 1.0
        return scaled

    def state(self) -> dict[str, Array]:
        """Return what has been stored, as new arrays."""
        known = self.buffer_size if self.full else self.pos
        stored = {name: getattr(self, name)[:known].copy() for name in self._names}
        return {**stored, "pos": np.array(self.pos), "full": np.array(self.full)}

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Take over what `state` returned.

        Raises:
            CheckpointError: It is of other spaces, another size or number of copies.
        """
        known = len(state["dones"])
        if "executed" in state and not hasattr(self, "executed"):
            self.executed = self.actions.copy()
        for name in self._names:
            mine = getattr(self, name)
            if name == "executed" and name not in state:  # made without a safeguard, or by an earlier version
                mine[:known] = state["actions"]
                continue
            if known > self.buffer_size or state[name].shape != (known, *mine.shape[1:]):
                raise CheckpointError(
                    f"the checkpoint's replay buffer holds {name} of shape {state[name].shape}, expected "
                    f"{('at most', self.buffer_size, *mine.shape[1:])}"
                )
            mine[:known] = state[name]
        self.pos, self.full = int(state["pos"]) % self.buffer_size, bool(state["full"])

"""`gymnasium.Env` over a task: one copy of the same code that runs a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from saferl_envs.constraints import Constraint, ConstraintSet
from saferl_envs.errors import TaskError, choose
from saferl_envs.info import Info, reset_info, row, step_info
from saferl_envs.make import make_engine
from saferl_envs.signals import FloatArray
from saferl_envs.spaces import RENDER_MODES, metadata

_UNLIMITED = 2**62  # control steps


class TaskEnv(gymnasium.Env[Any, Any]):
    """One copy of a task with Gymnasium's five-value step; ``info`` as `saferl_envs.info` says.

    Args:
        task_id: A registered environment id.
        render_mode: ``rgb_array``, ``depth_array``, ``human`` or None.
        width: Width of rendered frames in pixels.
        height: Height of rendered frames in pixels.
        constraints: Constraints or their JSON specifications in place of the task's own.
        limits: New limits by constraint name, e.g. ``{"speed": 2.0}``.
        max_episode_steps: Steps before truncation, or None to leave that to the `TimeLimit` of `gymnasium.make`.
        dump_dir: Folder for the state of a copy whose physics diverged.
        **task_kwargs: Passed to the task.
    """

    metadata: dict[str, Any] = {"render_modes": RENDER_MODES, "render_fps": 20}  # noqa: RUF012 - Gymnasium's declaration

    def __init__(
        self,
        task_id: str,
        render_mode: str | None = None,
        width: int = 320,
        height: int = 240,
        constraints: Sequence[Constraint | Mapping[str, Any]] | None = None,
        limits: Mapping[str, float] | None = None,
        max_episode_steps: int | None = None,
        dump_dir: str | None = None,
        **task_kwargs: Any,
    ) -> None:
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise TaskError(choose("render mode", render_mode, RENDER_MODES, task_id))
        self.engine = make_engine(
            task_id,
            1,
            threads=1,
            constraints=constraints,
            limits=limits,
            max_episode_steps=_UNLIMITED if max_episode_steps is None else max_episode_steps,
            dump_dir=dump_dir,
            **task_kwargs,
        )
        self.metadata = metadata(self.engine.control_timestep)
        self.action_space = self.engine.action_space
        self.observation_space = self.engine.observation_space
        self.render_mode = render_mode
        self._renderer = self.engine.renderer(width, height)

    @property
    def constraints(self) -> ConstraintSet:
        """The constraints with their names, limits and cost limits."""
        return self.engine.constraints

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[FloatArray, Info]:
        """Begin an episode; the same seed gives the same episode. Without a seed, the next of the sequence.

        Args:
            seed: Of the episode and those that follow.
            options: What the task knows to arrange, e.g. a layout; see its `arrange`.
        """
        first = self._np_random is None
        super().reset(seed=seed)
        if seed is not None:
            self.engine.seed([seed])
        elif first:
            self.engine.seed([int(self.np_random.integers(2**63))])
        self.engine.reset(options=options)
        if self.render_mode == "human":
            self.render()
        return self.engine.observe()[0], row(reset_info(self.engine), 0)

    def step(self, action: NDArray[np.floating[Any]]) -> tuple[FloatArray, float, bool, bool, Info]:
        """Advance one control step with an action (na,)."""
        action = np.asarray(action)
        if action.shape != self.action_space.shape:
            raise TaskError(f"action has shape {action.shape}, expected {self.action_space.shape}")
        t = self.engine.step(action[np.newaxis])
        if self.render_mode == "human":
            self.render()
        info = row(step_info(self.engine.constraints, t), 0)
        return t.observation[0], float(t.reward[0]), bool(t.terminated[0]), bool(t.truncated[0]), info

    def render(self) -> Any:
        """Return a frame, (H, W, 3) uint8 or (H, W) float32 depth in m; None in ``human`` mode."""
        return self._renderer.render(self.render_mode)

    def close(self) -> None:
        """Free what rendering holds."""
        self._renderer.close()

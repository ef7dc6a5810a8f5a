"""`gymnasium.vector.VectorEnv` over a task: N copies in one batch, all three autoreset modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike

from saferl_envs.constraints import Constraint, ConstraintSet
from saferl_envs.copies import Transition
from saferl_envs.errors import TaskError, choose
from saferl_envs.info import Info, reset_info, step_info
from saferl_envs.make import make_engine
from saferl_envs.signals import BoolArray, FloatArray
from saferl_envs.spaces import RENDER_MODES, metadata


class TaskVectorEnv(VectorEnv[Any, Any, Any]):
    """N copies of a task. Copy i behaves, bit for bit, as the single environment reset with seed + i.

    Args:
        task_id: A registered environment id.
        num_envs: Number of copies.
        autoreset_mode: ``NEXT_STEP`` (Gymnasium's default), ``SAME_STEP`` or ``DISABLED``.
        threads: Threads for physics, 0 for all cores; results do not depend on it.
        render_mode: ``rgb_array`` renders the first copy; None otherwise.
        constraints: Constraints or their JSON specifications in place of the task's own.
        limits: New limits by constraint name.
        max_episode_steps: Steps before truncation, in place of the task's own.
        dump_dir: Folder for the state of a copy whose physics diverged.
        **task_kwargs: Passed to the task.
    """

    def __init__(
        self,
        task_id: str,
        num_envs: int = 1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        threads: int = 0,
        render_mode: str | None = None,
        width: int = 320,
        height: int = 240,
        constraints: Sequence[Constraint | Mapping[str, Any]] | None = None,
        limits: Mapping[str, float] | None = None,
        max_episode_steps: int | None = None,
        dump_dir: str | None = None,
        **task_kwargs: Any,
    ) -> None:
        super().__init__()
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise TaskError(choose("render mode", render_mode, RENDER_MODES, task_id))
        self.engine = make_engine(
            task_id,
            num_envs,
            threads=threads,
            constraints=constraints,
            limits=limits,
            max_episode_steps=max_episode_steps,
            dump_dir=dump_dir,
            **task_kwargs,
        )
        self.num_envs = num_envs
        try:
            self._mode = AutoresetMode(autoreset_mode)
        except ValueError:
            raise TaskError(choose("autoreset mode", autoreset_mode, [m.value for m in AutoresetMode], task_id)) from None
        self.metadata = {**metadata(self.engine.control_timestep), "autoreset_mode": self._mode}
        self.single_action_space = self.engine.action_space
        self.single_observation_space = self.engine.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.render_mode = render_mode
        self._renderer = self.engine.renderer(width, height)
        self._all = np.ones(num_envs, np.bool_)
        self._pending = np.zeros(num_envs, np.bool_)
        self._seeded = np.zeros(num_envs, np.bool_)

    @property
    def constraints(self) -> ConstraintSet:
        """The constraints with their names, limits and cost limits."""
        return self.engine.constraints

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, Info]:
        """Begin episodes in all copies, or in those of ``options["reset_mask"]`` (N,).

        Args:
            seed: Copy i gets ``seed + i``, or its entry of a list; None goes on with the sequence.
            options: ``{"reset_mask": (N,) bool}``, and what the task knows to arrange, the same for all of them.
        """
        mask = self._reset_mask(options)
        super().reset(seed=seed if isinstance(seed, int) else None)
        seeds: list[int | None]
        if seed is None:
            seeds = [None] * self.num_envs
        else:
            seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else list(seed)
        if len(seeds) != self.num_envs:
            raise TaskError(f"got {len(seeds)} seeds for {self.num_envs} environments")
        for i in np.flatnonzero(mask).tolist():
            s = seeds[i]
            if s is None and not self._seeded[i]:
                s = int(self.np_random.integers(2**62))
            if s is not None:
                self.engine.seed([s], np.array([i]))
                self._seeded[i] = True
        others = {key: value for key, value in (options or {}).items() if key != "reset_mask"}
        self.engine.reset(np.flatnonzero(mask), others)
        self._pending[mask] = False
        return self.engine.observe(), self._masked(reset_info(self.engine), mask)

    def step(self, actions: ArrayLike) -> tuple[FloatArray, FloatArray, BoolArray, BoolArray, Info]:
        """Advance all copies one control step with actions (N, na)."""
        if self._mode is AutoresetMode.NEXT_STEP and self._pending.any():
            return self._step_or_reset(actions)
        t = self.engine.step(actions)
        info = self._masked(step_info(self.engine.constraints, t), self._all)
        done = t.terminated | t.truncated
        observation = t.observation
        if self._mode is AutoresetMode.NEXT_STEP:
            self._pending = done
        elif self._mode is AutoresetMode.SAME_STEP and done.any():
            observation, info = self._reset_now(t, info, done)
        return observation, t.reward, t.terminated, t.truncated, info

    def _step_or_reset(self, actions: ArrayLike) -> tuple[FloatArray, FloatArray, BoolArray, BoolArray, Info]:
        """Next-step autoreset: copies that had ended are reset in place of a step; they bring no reward and no cost."""
        resetting = self._pending
        t = self.engine.step(actions, np.flatnonzero(~resetting))
        ids = np.flatnonzero(resetting)
        self.engine.reset(ids)
        info = step_info(self.engine.constraints, t)
        for key, fresh in reset_info(self.engine, ids).items():
            info[key][ids] = fresh
        for array in (t.reward, t.terminated, t.truncated):
            array[ids] = 0
        self._pending = t.terminated | t.truncated
        return self.engine.observe(), t.reward, t.terminated, t.truncated, self._masked(info, self._all)

    def _reset_now(self, t: Transition, info: Info, done: BoolArray) -> tuple[FloatArray, Info]:
        """Same-step autoreset: the ended copies' last observation and info move to `final_obs` and `final_info`."""
        ids = np.flatnonzero(done)
        last = np.zeros_like(t.observation)
        last[ids] = t.observation[ids]
        final: Info = {}
        for key, value in info.items():
            final[key] = np.zeros_like(value)
            final[key][ids] = value[ids]
        self.engine.reset(ids)
        for key, fresh in reset_info(self.engine, ids).items():
            info[key][ids] = fresh
        info.update(final_obs=last, _final_obs=done, final_info=final, _final_info=done.copy())
        return self.engine.observe(), info

    def _reset_mask(self, options: dict[str, Any] | None) -> BoolArray:
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return self._all
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
            raise TaskError(f"options['reset_mask'] must be a boolean array of shape ({self.num_envs},)")
        return mask

    def _masked(self, info: Info, mask: BoolArray) -> Info:
        """Add Gymnasium's ``_key`` arrays, which say whose entries are meant."""
        return info | {f"_{key}": mask.copy() for key in info}

    def render(self) -> tuple[Any, ...] | None:
        """Return a tuple with the first copy's frame, or None in ``human`` mode."""
        frame = self._renderer.render(self.render_mode)
        return None if frame is None else (frame,)

    def close_extras(self, **_: Any) -> None:
        """Free what rendering holds."""
        self._renderer.close()

"""The Stable-Baselines3 face of a task: N copies as one `VecEnv`, arrays first, dictionaries only where somebody looks.

Building N info dictionaries at every step would be Python per copy, so `infos` builds each on demand, and constrained
methods read the arrays in `last_step` instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from saferl_envs.constraints import Constraint, ConstraintSet
from saferl_envs.engine import Transition
from saferl_envs.env_renderer import EnvRenderer
from saferl_envs.info import reset_info, row, step_info
from saferl_envs.make import make_engine
from saferl_envs.spaces import action_space, observation_space


class LazyInfos(Sequence[dict[str, Any]]):
    """The infos of one step: entry i is built when it is read, and kept so that wrappers may write to it."""

    def __init__(self, n: int, build: Callable[[int], dict[str, Any]]) -> None:
        self._n, self._build = n, build
        self._built: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._n))]
        i = int(index) + (self._n if index < 0 else 0)
        if not 0 <= i < self._n:
            raise IndexError(index)
        if i not in self._built:
            self._built[i] = self._build(i)
        return self._built[i]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[i] for i in range(self._n))


class TaskVecEnv(VecEnv):
    """N copies of a registered task with same-step autoreset and built-in episode statistics (no `Monitor` needed).

    Args:
        env_id: A registered environment id.
        num_envs: Number of copies N.
        threads: Threads for physics, 0 for all cores; results do not depend on it.
        constraints: Constraints or JSON specifications in place of the task's own.
        limits: New limits by constraint name.
        max_episode_steps: Steps before truncation, in place of the task's own.
        dump_dir: Folder for the state of a copy whose physics diverged.
        **task_kwargs: Passed to the task.

    Attributes:
        last_step: The `Transition` of the last step, before resets.
    """

    def __init__(
        self,
        env_id: str,
        num_envs: int = 1,
        *,
        threads: int = 0,
        constraints: Sequence[Constraint | Mapping[str, Any]] | None = None,
        limits: Mapping[str, float] | None = None,
        max_episode_steps: int | None = None,
        dump_dir: str | None = None,
        **task_kwargs: Any,
    ) -> None:
        self.engine = make_engine(
            env_id,
            num_envs,
            threads=threads,
            constraints=constraints,
            limits=limits,
            max_episode_steps=max_episode_steps,
            dump_dir=dump_dir,
            **task_kwargs,
        )
        self.env_id = env_id
        self.last_step: Transition | None = None
        self.spec = gymnasium.spec(env_id)
        self._renderer = EnvRenderer(self.engine.simulation, self.engine.task.camera, 320, 240)
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, np.int64)
        self._costs = np.zeros((num_envs, len(self.constraints)))
        self._averaged = np.array([c.aggregate == "mean" for c in self.constraints])
        self._began = time.time()
        self.render_mode = "rgb_array"
        super().__init__(num_envs, observation_space(self.engine), action_space(self.engine))

    @property
    def constraints(self) -> ConstraintSet:
        """The constraints with their names, limits and cost limits."""
        return self.engine.constraints

    def reset(self) -> np.ndarray[Any, Any]:
        """Begin an episode in every copy and return the observations, (N, obs)."""
        if any(seed is not None for seed in self._seeds):
            self.engine.seed([int(seed or 0) for seed in self._seeds])
        self._reset_seeds()
        self._reset_options()
        self.engine.reset()
        self._returns[:] = 0.0
        self._lengths[:] = 0
        self._costs[:] = 0.0
        info = reset_info(self.engine)
        self.reset_infos = [row(info, i) for i in range(self.num_envs)]
        return self.engine.observe()

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        """Note the actions, (N, na)."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Advance all copies; return observations (N, obs), rewards (N,), dones (N,) and lazy infos."""
        t = self.last_step = self.engine.step(self._actions)
        self._returns += t.reward
        self._lengths += 1
        self._costs += t.costs
        dones = t.terminated | t.truncated
        observation = t.observation
        episodes: dict[int, dict[str, Any]] = {}
        if dones.any():
            ids = np.flatnonzero(dones)
            elapsed = round(time.time() - self._began, 6)
            for i in ids.tolist():
                episodes[i] = {
                    "r": float(self._returns[i]),
                    "l": int(self._lengths[i]),
                    "t": elapsed,
                    "costs": np.where(self._averaged, self._costs[i] / self._lengths[i], self._costs[i]),
                }
            self._returns[ids] = 0.0
            self._costs[ids] = 0.0
            self._lengths[ids] = 0
            self.engine.reset(ids)
            observation = self.engine.observe()
        constraints = self.constraints
        arrays: list[dict[str, Any]] = []

        def build(i: int) -> dict[str, Any]:
            if not arrays:
                arrays.append(step_info(constraints, t))
            info = row(arrays[0], i)
            info["TimeLimit.truncated"] = bool(t.truncated[i] and not t.terminated[i])
            if i in episodes:
                info["terminal_observation"] = t.observation[i]
                info["episode"] = episodes[i]
            return info

        return observation, t.reward.copy(), dones, LazyInfos(self.num_envs, build)

    def close(self) -> None:
        """Free what rendering holds."""
        self._renderer.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute once per copy; all copies share this object's."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute, shared by all copies."""
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method once per copy asked for; ``get_wrapper_attr`` reads this object's attributes."""
        if method_name == "get_wrapper_attr":
            return self.get_attr(method_args[0], indices)
        return [getattr(self, method_name)(*method_args, **method_kwargs) for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """Return True for `Monitor`, whose episode statistics are built in, and False for others."""
        return [issubclass(wrapper_class, Monitor) for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray[Any, Any] | None]:
        """Return the first copy's frame."""
        return [self._renderer.render("rgb_array")]

"""The Stable-Baselines3 face of an environment: N copies as one `VecEnv`, arrays first, dictionaries where somebody looks.

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

from saferl_envs.constraints import ConstraintSet
from saferl_envs.copies import Copies, Observation, Transition
from saferl_envs.errors import ConfigError
from saferl_envs.info import reset_info, row, step_info
from saferl_envs.make import make_copies


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


class ConstrainedVecEnv(VecEnv):
    """N copies of an environment with same-step autoreset and built-in episode statistics (no `Monitor` needed).

    Args:
        env: Id of a registered task or of any other Gymnasium environment, or copies that exist already.
        num_envs: Number of copies N, if they are made here.
        env_id: What copies that exist already are copies of, for `spec`.
        **arguments: As for `saferl_envs.make.make_copies`: threads, constraints, limits, cost_limits, ...

    Attributes:
        last_step: The `Transition` of the last step, before resets.
    """

    def __init__(self, env: str | Copies, num_envs: int = 1, *, env_id: str | None = None, **arguments: Any) -> None:
        self.copies = make_copies(env, num_envs, **arguments) if isinstance(env, str) else env
        num_envs = self.copies.num_envs
        self.last_step: Transition | None = None
        name = env if isinstance(env, str) else env_id
        self.spec = None if name is None else gymnasium.spec(name.rpartition(":")[2])
        self._renderer = self.copies.renderer(320, 240)
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, np.int64)
        self._began = time.time()
        self.render_mode = "rgb_array"
        super().__init__(num_envs, self.copies.observation_space, self.copies.action_space)

    @property
    def constraints(self) -> ConstraintSet:
        """The constraints with their names, limits and cost limits."""
        return self.copies.constraints

    def reset(self) -> Observation:
        """Begin an episode in every copy and return the observations, (N, obs) or a dictionary of such."""
        if any(seed is not None for seed in self._seeds):
            self.copies.seed([int(seed or 0) for seed in self._seeds])
        self._reset_seeds()
        if any(self._options):
            raise ConfigError("options of resets are for single and vector environments of Gymnasium, not for this one")
        self._reset_options()
        self.copies.reset()
        self._returns[:] = 0.0
        self._lengths[:] = 0
        info = reset_info(self.copies)
        self.reset_infos = [row(info, i) for i in range(self.num_envs)]
        return self.copies.observe()

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        """Note the actions, (N, na)."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Advance all copies; return observations (N, obs), rewards (N,), dones (N,) and lazy infos."""
        t = self.last_step = self.copies.step(self._actions)
        self._returns += t.reward
        self._lengths += 1
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
                }
            self._returns[ids] = 0.0
            self._lengths[ids] = 0
            self.copies.reset(ids)
            observation = self.copies.observe()
        constraints = self.constraints
        arrays: list[dict[str, Any]] = []

        def build(i: int) -> dict[str, Any]:
            if not arrays:
                arrays.append(step_info(constraints, t))
            info = row(arrays[0], i)
            info["TimeLimit.truncated"] = bool(t.truncated[i] and not t.terminated[i])
            if i in episodes:
                info["terminal_observation"] = _copy(t.observation, i)
                info["episode"] = episodes[i]
            return info

        return observation, t.reward.copy(), dones, LazyInfos(self.num_envs, build)

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return everything that decides how the copies and their episode statistics go on, as new arrays."""
        own = {"returns": self._returns, "lengths": self._lengths}
        return {**self.copies.state(), **{f"episode/{key}": array.copy() for key, array in own.items()}}

    def load_state(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Go on, bit for bit, from where `state` was taken. No reset is needed before the next step.

        Raises:
            SaferlError: The state does not fit.
        """
        self.copies.load_state({key: array for key, array in state.items() if not key.startswith("episode/")})
        for key, array in (("returns", self._returns), ("lengths", self._lengths)):
            array[:] = state[f"episode/{key}"]

    def close(self) -> None:
        """Free what the copies and rendering hold."""
        self._renderer.close()
        self.copies.close()

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


def _copy(observation: Observation, i: int) -> Any:
    """Return one copy's observation."""
    return {key: part[i] for key, part in observation.items()} if isinstance(observation, dict) else observation[i]

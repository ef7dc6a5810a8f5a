"""Observations and actions of N copies of a Gymnasium environment as arrays: batched, checked, and logged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from saferl_envs.copies import Observation
from saferl_envs.errors import TaskError
from saferl_envs.signals import IntArray

_NUMERIC = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


class ObservationBatch:
    """The present observations of N copies, in the dtype of their space.

    Args:
        space: Observation space of one copy.
        num_envs: N.
        env_id: For error messages.

    Raises:
        TaskError: The space is neither numeric nor a flat `Dict` of numeric ones.
    """

    def __init__(self, space: spaces.Space[Any], num_envs: int, env_id: str) -> None:
        self._env_id = env_id
        self._is_dict = isinstance(space, spaces.Dict)
        parts = dict(space.spaces) if isinstance(space, spaces.Dict) else {"": space}
        for part in parts.values():
            if not isinstance(part, _NUMERIC):
                raise TaskError(
                    f"{env_id}: observation space {space} is not supported; valid: Box, Discrete, MultiDiscrete, MultiBinary, "
                    "and a flat Dict of these (gymnasium.wrappers.FlattenObservation makes a Box of anything)"
                )
        self._parts = {key: np.zeros((num_envs, *(part.shape or ())), part.dtype) for key, part in parts.items()}

    @property
    def live(self) -> Observation:
        """The batch itself, (N, ...) or a dictionary of such arrays, valid until the next step."""
        return self._parts if self._is_dict else self._parts[""]

    def store(self, i: int, observation: Any) -> None:
        """Take over the observation of copy i.

        Raises:
            TaskError: It is not of the space's shape.
        """
        for key, batch in self._parts.items():
            part = observation[key] if self._is_dict else observation
            if np.shape(part) != batch.shape[1:]:
                where = f"observation {key!r}" if key else "the observation"
                raise TaskError(f"{self._env_id}: {where} has shape {np.shape(part)}; its space says {batch.shape[1:]}")
            batch[i] = part

    def copy(self) -> Observation:
        """Return new arrays."""
        return {key: batch.copy() for key, batch in self._parts.items()} if self._is_dict else self._parts[""].copy()

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the batch as new arrays under names that begin with ``observation``."""
        return {f"observation/{key}" if key else "observation": batch.copy() for key, batch in self._parts.items()}


class Actions:
    """What is known of an action space of N copies: how to check a batch.

    Args:
        space: Action space of one copy.
        num_envs: N.
        env_id: For error messages.

    Raises:
        TaskError: The space is neither a Box nor made of whole numbers.
    """

    def __init__(self, space: spaces.Space[Any], num_envs: int, env_id: str) -> None:
        if not isinstance(space, _NUMERIC):
            raise TaskError(
                f"{env_id}: action space {space} is not supported; valid: Box, Discrete, MultiDiscrete and MultiBinary"
            )
        self._space, self._env_id = space, env_id
        self.shape = (num_envs, *(space.shape or ()))
        self.dtype = np.dtype(space.dtype)

    def check(self, actions: ArrayLike, ids: IntArray | None) -> NDArray[Any]:
        """Return a new array (N, ...) in the dtype of the space, nothing clipped.

        Args:
            actions: (N, ...); whole numbers may also come as (N, 1).
            ids: Copies whose actions are meant, or None for all.

        Raises:
            TaskError: The shape is wrong, a number is not finite, or a whole number is out of range.
        """
        given = np.array(actions, copy=True)
        box = isinstance(self._space, spaces.Box)
        if not box and len(self.shape) == 1 and given.shape == (self.shape[0], 1):
            given = given[:, 0]
        if given.shape != self.shape:
            raise TaskError(f"actions have shape {given.shape}, expected {self.shape}")
        if given.dtype.kind not in ("biuf" if box else "biu"):
            raise TaskError(f"actions of dtype {given.dtype} are not {'numbers' if box else 'whole numbers'}")
        good = np.isfinite(given) if box else self._in_range(given)
        bad = np.flatnonzero(~good.reshape(self.shape[0], -1).all(axis=1))
        culprits = (bad if ids is None else np.intersect1d(bad, ids)).tolist()
        if culprits:
            wrong = "finite" if box else f"in {self._space}"
            raise TaskError(f"actions of copies {culprits[:5]} are not {wrong}")
        with np.errstate(invalid="ignore"):  # rows that are not meant may hold anything
            return given.astype(self.dtype)

    def _in_range(self, given: NDArray[Any]) -> NDArray[np.bool_]:
        low: Any = getattr(self._space, "start", 0)
        count: Any = 2
        if isinstance(self._space, spaces.Discrete):
            count = self._space.n
        elif isinstance(self._space, spaces.MultiDiscrete):
            count = self._space.nvec
        return np.asarray((given >= low) & (given < low + count))


class ActionLog:
    """The actions of every copy's present episode.

    Args:
        actions: Their shape (N, ...) and dtype.
    """

    def __init__(self, actions: Actions) -> None:
        self._shape = actions.shape
        self._log = np.zeros((actions.shape[0], 64, *actions.shape[1:]), actions.dtype)

    def note(self, action: NDArray[Any], ids: IntArray, steps: IntArray) -> None:
        """Keep the actions of some copies, each at its own step."""
        if steps[ids].max(initial=-1) >= self._log.shape[1]:
            self._log = np.concatenate((self._log, np.zeros_like(self._log)), axis=1)
        self._log[ids, steps[ids]] = action[ids]

    def first(self, start: int, stop: int) -> NDArray[Any]:
        """Return the first copy's actions from step `start` up to `stop`, (stop - start, ...)."""
        return self._log[0, start:stop].copy()

    def until(self, steps: IntArray) -> NDArray[Any]:
        """Return all copies' actions, (N, longest, ...), zero after a copy's number of steps (N,)."""
        log = self._log[:, : int(steps.max(initial=0))].copy()
        log[np.arange(log.shape[1]) >= steps[:, np.newaxis]] = 0
        return log


def same_bits(first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]]) -> bool:
    """Return whether two dictionaries hold the same arrays bit for bit; not a number equals itself."""
    return first.keys() == second.keys() and all(
        a.dtype == second[key].dtype and a.shape == second[key].shape and a.tobytes() == second[key].tobytes()
        for key, a in first.items()
    )

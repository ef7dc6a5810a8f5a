"""Signals of any Gymnasium environment: what it returns, as (N, d) arrays that constraints can read.

``observation`` (or ``observation/<key>`` of a `Dict` space), ``action``, ``previous_action``, ``reward`` and ``info/<key>``.
One source serves a wrapped environment (N = 1), a wrapped vector environment, and copies that are stepped one by one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from saferl_envs.errors import ConstraintError, SignalError
from saferl_envs.signals import FloatArray, IntArray, SignalInfo, Signals

INFO = "info/"
InfoShapes = Mapping[str, Sequence[int]]
"""Key of an environment's info to ``()`` where it is a number and ``(d,)`` where it is an array of d numbers."""


class WrappedSignals:
    """Source of the signals of N copies of a Gymnasium environment. All arrays are float64, whatever the spaces are.

    Columns are called ``observation_0``, ``observation_1``, ...; ``action_0``, ...; a `Discrete` action has one column
    ``action``, the action's number. At a reset, ``action``, ``previous_action`` and ``reward`` are zero, and so are keys that
    the info of a reset lacks. Arrays with two or more axes (pictures) are not on offer.

    Args:
        observation_space: Of one copy.
        action_space: Of one copy.
        num_envs: N.
        info_shapes: The keys of a step's info that are on offer.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_envs: int,
        info_shapes: InfoShapes | None = None,
    ) -> None:
        self._shapes = {key: tuple(shape) for key, shape in (info_shapes or {}).items()}
        self._offers = {
            **_offers_of(observation_space, "observation"),
            **_offers_of(action_space, "action"),
            "reward": SignalInfo(("reward",), "1"),
        }
        if "action" in self._offers:
            self._offers["previous_action"] = self._offers["action"]
        for key, shape in self._shapes.items():
            self._offers[INFO + key] = SignalInfo(_numbered(key, shape) if shape else (key,), "1")
        self._n = num_envs
        self._arrays: dict[str, FloatArray] = {}
        self._keys: list[str] = []
        self.require(("reward",))

    @property
    def view(self) -> Signals:
        """The required signals, live."""
        return self._arrays

    def offers(self) -> Mapping[str, SignalInfo]:
        """Return every signal the environment can deliver, required or not."""
        return self._offers

    def read(self, names: Collection[str]) -> Signals:
        """Return the named signals, (N, d) each, valid until the next step."""
        return {name: self._arrays[name] for name in names}

    def require(self, names: Collection[str]) -> None:
        """Keep signals on offer up to date from now on; only those can be read."""
        # the previous action is the action before the present one, so neither can be kept alone
        pair = ("action", "previous_action")
        for name in {*names, *(pair if not set(pair).isdisjoint(names) else ())}:
            self._arrays.setdefault(name, np.zeros((self._n, len(self._offers[name].components))))
        self._keys = sorted(name.removeprefix(INFO) for name in self._arrays if name.startswith(INFO))

    def acted(self, actions: Any) -> FloatArray | None:
        """Return the actions (N, ...) of a coming step as an array (N, d) of their own, or None where nothing reads them.

        To be called before the step: an environment may write into the actions it is given.
        """
        return np.array(_columns(actions), np.float64, copy=True) if "action" in self._arrays else None

    def update(
        self,
        ids: IntArray,
        observation: Any,
        acted: FloatArray | None,
        reward: ArrayLike,
        infos: Sequence[Mapping[str, Any]],
    ) -> None:
        """Take over what a step brought to some copies.

        Args:
            ids: Those copies.
            observation: (N, ...) of all copies, or a dictionary of such arrays; other copies' rows are not read.
            acted: What `acted` returned for all copies.
            reward: (N,) of all copies.
            infos: One info per entry of `ids`.

        Raises:
            SignalError: A required key is missing in an info, or has another shape than at the first step.
        """
        for key in self._keys:
            self._arrays[INFO + key][ids] = self._info_rows(key, infos, ids, resetting=False)
        if acted is not None:
            self._arrays["previous_action"][ids] = self._arrays["action"][ids]
            self._arrays["action"][ids] = acted[ids]
        self._arrays["reward"][ids, 0] = np.asarray(reward)[ids]
        self._observe(ids, observation)

    def reset(self, ids: IntArray, observation: Any, infos: Sequence[Mapping[str, Any]]) -> None:
        """Begin an episode for some copies; arguments as for `update`.

        Raises:
            SignalError: A required key that an info has is of another shape than at the first step.
        """
        for key in self._keys:
            self._arrays[INFO + key][ids] = self._info_rows(key, infos, ids, resetting=True)
        for name in ("action", "previous_action", "reward"):
            if name in self._arrays:
                self._arrays[name][ids] = 0.0
        self._observe(ids, observation)

    def per_copy(self, infos: Mapping[str, Any], ids: IntArray) -> list[dict[str, Any]]:
        """Return the required keys of a vector environment's info as one info per entry of `ids`."""
        found: list[dict[str, Any]] = []
        for i in ids.tolist():
            one: dict[str, Any] = {}
            for key in self._keys:
                batch = infos.get(key)
                if batch is not None and infos.get(f"_{key}", np.ones(self._n, np.bool_))[i]:
                    one[key] = batch[i] if isinstance(batch, (np.ndarray, Sequence)) else batch
            found.append(one)
        return found

    def _observe(self, ids: IntArray, observation: Any) -> None:
        parts = observation if isinstance(observation, Mapping) else {"": observation}
        for key, part in parts.items():
            name = f"observation/{key}" if key else "observation"
            if name in self._arrays:
                self._arrays[name][ids] = _columns(part)[ids]

    def _info_rows(self, key: str, infos: Sequence[Mapping[str, Any]], ids: IntArray, resetting: bool) -> FloatArray:
        """Return one key of several infos, (len(ids), d); zero where a reset lacks it."""
        shape = self._shapes[key]
        rows = np.zeros((len(infos), math.prod(shape)))
        for row, info, i in zip(rows, infos, ids.tolist(), strict=True):
            if key in info:
                if numeric_shape(info[key]) != shape:
                    raise SignalError(
                        f"signal {INFO + key!r}: info[{key!r}] of copy {i} is {_said(info[key])}, not {_wanted(shape)}"
                    )
                row[:] = info[key]
            elif not resetting:
                raise SignalError(
                    f"signal {INFO + key!r}: info[{key!r}] is missing after a step of copy {i}; a constraint reads it each step"
                )
        return rows


def numeric_shape(value: Any) -> tuple[int, ...] | None:
    """Return ``()`` for a number or truth value, ``(d,)`` for an array of d of them, and None for anything else."""
    if isinstance(value, (bool, int, float, np.generic, np.ndarray)):
        array = np.asarray(value)
        if array.dtype.kind in "biuf" and array.ndim <= 1 and array.size:
            return array.shape
    return None


def probe_info(env: gymnasium.Env[Any, Any], seed: int | None = None) -> dict[str, tuple[int, ...]]:
    """Return the numeric keys of a step's info and their shapes, found by resetting an environment and stepping it once.

    Args:
        env: The environment; it needs a reset afterwards.
        seed: For its reset and its action; None leaves its generators as they are.
    """
    # a copy, because some environments share one space, and its generator, between all their instances
    space = copy.deepcopy(env.action_space)
    if seed is not None:
        space.seed(seed)
    env.reset(seed=seed)
    info = env.step(space.sample())[4]
    shapes = {key: numeric_shape(value) for key, value in info.items() if isinstance(key, str)}
    return {key: shape for key, shape in shapes.items() if shape is not None}


def checked_info_shapes(shapes: InfoShapes) -> dict[str, tuple[int, ...]]:
    """Return the shapes a user gave.

    Raises:
        ConstraintError: They are no mapping from keys to ``()`` or ``(d,)``.
    """
    message = f"info_shapes: expected a mapping from info keys to () or (d,), got {shapes!r}"
    if not isinstance(shapes, Mapping):
        raise ConstraintError(message)
    for key, shape in shapes.items():
        whole = isinstance(shape, (tuple, list)) and len(shape) <= 1 and all(type(d) is int and d > 0 for d in shape)
        if not isinstance(key, str) or not whole:
            raise ConstraintError(message)
    return {key: tuple(shape) for key, shape in shapes.items()}


def _offers_of(space: spaces.Space[Any], name: str) -> dict[str, SignalInfo]:
    """Return the signals that elements of a space make."""
    if isinstance(space, spaces.Dict):
        parts = {key: _component_names(part, key) for key, part in space.spaces.items()}
        return {f"{name}/{key}": SignalInfo(names, "1") for key, names in parts.items() if names}
    names = _component_names(space, name)
    return {name: SignalInfo(names, "1")} if names else {}


def _component_names(space: spaces.Space[Any], name: str) -> tuple[str, ...]:
    """Return the names of the columns that an element of a space makes; none where it has two or more axes, or is no number."""
    if isinstance(space, spaces.Discrete):
        return (name,)
    numeric = isinstance(space, (spaces.Box, spaces.MultiDiscrete, spaces.MultiBinary))
    shape = space.shape
    return _numbered(name, shape) if numeric and shape is not None and len(shape) <= 1 else ()


def _numbered(name: str, shape: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"{name}_{i}" for i in range(math.prod(shape)))


def _columns(batch: ArrayLike) -> NDArray[Any]:
    """Return a batch (N, ...) as (N, d)."""
    array = np.asarray(batch)
    return array.reshape(array.shape[0], -1)


def _wanted(shape: tuple[int, ...]) -> str:
    return f"an array of {shape[0]} numbers as at the first step" if shape else "a number as at the first step"


def _said(value: Any) -> str:
    """Return a value's kind in a few words, for an error."""
    return f"an array of shape {value.shape}" if isinstance(value, np.ndarray) and value.ndim else f"{value!r:.60}"

"""Signals: the named arrays that constraints, rewards and observations read.

A constraint never sees an environment. It names the signals it requires, and a source (a simulated task, a wrapped
Gymnasium environment, a data set, a learned model) delivers each as an ``(N, d)`` array.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from saferl_envs.errors import SignalError, TaskError, choose

FloatArray = NDArray[np.floating[Any]]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.integer[Any]]
Signals = Mapping[str, FloatArray]
"""Name to ``(N, d)`` array. Read-only by contract and valid until the next step."""


@dataclass(frozen=True)
class SignalInfo:
    """What a source says of one signal.

    Attributes:
        components: Names of the d columns, e.g. the joints.
        unit: Unit of every column, ``"1"`` when dimensionless.
    """

    components: tuple[str, ...]
    unit: str


@runtime_checkable
class SignalSource(Protocol):
    """Whoever delivers signals."""

    def offers(self) -> Mapping[str, SignalInfo]:
        """Return every signal that can be read, with its columns and unit."""
        ...

    def read(self, names: Collection[str]) -> Signals:
        """Return the named signals as ``(N, d)`` arrays, valid until the next step."""
        ...


def columns_of(
    offers: Mapping[str, SignalInfo], signal: str, wanted: Iterable[str] | None, source: str
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the names and column indices of the components `wanted` of one signal.

    Args:
        offers: What the source offers.
        signal: Name of the signal.
        wanted: Component names, or None for all of them.
        source: Who asks, for the error message, e.g. ``"constraint 'speed'"``.

    Raises:
        SignalError: The signal or a component is not on offer; the message lists those that are.
    """
    if signal not in offers:
        raise SignalError(choose("signal", signal, offers, source))
    info = offers[signal]
    names = info.components if wanted is None else tuple(wanted)
    for name in names:
        if name not in info.components:
            raise SignalError(choose(f"component of {signal!r}", name, info.components, source))
    return names, tuple(info.components.index(name) for name in names)


def check_arrays(what: str, found: Mapping[str, FloatArray], declared: Mapping[str, SignalInfo], num: int) -> None:
    """Refuse arrays of a task that are not what it declares.

    Raises:
        TaskError: A name is missing or was not declared, or a shape is not (N, number of components).
    """
    for name in found:
        if name not in declared:
            raise TaskError(choose("signal", name, declared, what))
    for name, info in declared.items():
        if name not in found:
            raise TaskError(f"{what}: signal {name!r} is declared but missing")
        if found[name].shape != (num, len(info.components)):
            raise TaskError(f"{what}: signal {name!r} has shape {found[name].shape}, expected {(num, len(info.components))}")

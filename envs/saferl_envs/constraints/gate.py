"""When a constraint applies: only while the command is large, only on flat ground."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from saferl_envs.errors import ConstraintError, choose
from saferl_envs.signals import BoolArray, SignalInfo, Signals, columns_of


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Open while the Euclidean length of some columns of a signal is above one bound and below another.

    Attributes:
        signal: What is read, e.g. ``command``.
        components: Its columns, or None for all; of one column the length is the magnitude.
        above: Open where the length is greater than this, or None for no such bound.
        below: Open where it is less than this, or None.
    """

    signal: str
    components: tuple[str, ...] | None = None
    above: float | None = None
    below: float | None = None
    columns: tuple[int, ...] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.above, self.below) if bound is not None]
        if not bounds or not all(_is_number(bound) for bound in bounds):
            raise ConstraintError(f"gate on {self.signal!r}: needs a finite number above or below, got {bounds!r}")
        if (self.above or 0.0) < 0 or (self.below is not None and self.below <= max(self.above or 0.0, 0.0)):
            raise ConstraintError(
                f"gate on {self.signal!r}: can never open or never close: above {self.above!r}, below {self.below!r}; "
                "a length is never negative, and below must be the larger"
            )
        if isinstance(self.components, list):
            object.__setattr__(self, "components", tuple(self.components))
        names = self.components
        if names is not None and not (isinstance(names, tuple) and names and all(isinstance(name, str) for name in names)):
            raise ConstraintError(f"gate on {self.signal!r}: components must be a list of names, got {names!r}")
        if names is not None and len(set(names)) < len(names):
            raise ConstraintError(f"gate on {self.signal!r}: components {names!r} are not distinct")

    def bind(self, offers: Mapping[str, SignalInfo], where: str) -> Gate:
        """Return this gate with its columns looked up.

        Raises:
            SignalError: The signal or a component is not on offer.
        """
        return dataclasses.replace(self, columns=columns_of(offers, self.signal, self.components, f"{where}, when")[1])

    def is_closed(self, signals: Signals) -> BoolArray:
        """Return (N,) where the constraint does not apply. What cannot be compared (NaN) leaves it open: nothing is excused."""
        if self.columns is None:
            raise ConstraintError(f"gate on {self.signal!r} is not bound to a source")
        signal = signals[self.signal]
        if len(self.columns) == 1:
            length = np.abs(signal[:, self.columns[0]])
        else:
            picked = signal if self.columns == tuple(range(signal.shape[1])) else signal[:, self.columns]
            length = np.sqrt(np.einsum("nk,nk->n", picked, picked))
        if self.above is None:
            return np.asarray(length >= self.below)
        found: BoolArray = length <= self.above
        if self.below is not None:
            found |= length >= self.below
        return found

    def to_spec(self) -> dict[str, Any]:
        """Return the gate as JSON data."""
        spec: dict[str, Any] = {"signal": self.signal}
        if self.components is not None:
            spec["components"] = list(self.components)
        return spec | {key: getattr(self, key) for key in ("above", "below") if getattr(self, key) is not None}


def gate_from_spec(spec: Any, where: str) -> Gate:
    """Return a gate of its JSON form; one that is a gate already is kept.

    Raises:
        ConstraintError: It is no mapping, lacks the signal, or has an unknown key or an invalid value.
    """
    if isinstance(spec, Gate):
        return spec
    if not isinstance(spec, Mapping) or not isinstance(spec.get("signal"), str):
        raise ConstraintError(f"{where}: when: expected mappings with a 'signal', got {spec!r}")
    keys = [f.name for f in dataclasses.fields(Gate) if f.name != "columns"]
    for key in spec:
        if key not in keys:
            raise ConstraintError(choose("key", key, keys, f"{where}: when"))
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in spec.items()}
    return Gate(**values)


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value)

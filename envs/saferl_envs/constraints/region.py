"""Regions of space that a point must stay out of or inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from saferl_envs.constraints.base import Constraint, as_column
from saferl_envs.constraints.shape import Shape, shape_from_spec
from saferl_envs.errors import SignalError
from saferl_envs.signals import FloatArray, SignalInfo, Signals


@dataclass(frozen=True, kw_only=True)
class _Region(Constraint):
    """A relation of one point to one shape, in m; `limit` is the clearance from the surface.

    Attributes:
        shape: A shape, or its JSON form.
        signal: The point: a position with columns x, y, z, e.g. ``base_position``, ``body_position/torso``.
    """

    unit: str = "m"
    shape: Shape
    signal: str = "base_position"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "shape", shape_from_spec(self.shape, f"constraint {self.name!r}"))

    @property
    def bounds_from_above(self) -> bool:
        """The clearance must stay above the limit."""
        return False

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({self.signal})

    def bind(self, offers: Mapping[str, SignalInfo]) -> Self:
        """Return this constraint resolved against a source.

        Raises:
            SignalError: The signal is not on offer, or is not a position with three columns.
        """
        bound = super().bind(offers)
        columns = offers[self.signal].components
        if len(columns) != 3:
            listed = ", ".join(columns)
            raise SignalError(f"constraint {self.name!r}: {self.signal!r} must have columns x, y, z, but has: {listed}")
        return bound


@dataclass(frozen=True, kw_only=True)
class KeepOut(_Region):
    """``limit - signed_distance``: the point stays at least `limit` metres outside the shape."""

    family: ClassVar[str] = "keep_out"

    def value(self, signals: Signals) -> FloatArray:
        """Return how far the point is inside the shape grown by the limit, (N, 1)."""
        return as_column(self.limit - self.shape.signed_distance(signals[self.signal]))

    def gradient(self, signals: Signals) -> Mapping[str, FloatArray]:
        """Return the unit direction into the shape, (N, 1, 3)."""
        return {self.signal: -self.shape.gradient(signals[self.signal])[:, np.newaxis, :]}


@dataclass(frozen=True, kw_only=True)
class KeepIn(_Region):
    """``signed_distance + limit``: the point stays at least `limit` metres inside the shape."""

    family: ClassVar[str] = "keep_in"

    def value(self, signals: Signals) -> FloatArray:
        """Return how far the point is outside the shape shrunk by the limit, (N, 1)."""
        return as_column(self.shape.signed_distance(signals[self.signal]) + self.limit)

    def gradient(self, signals: Signals) -> Mapping[str, FloatArray]:
        """Return the unit direction out of the shape, (N, 1, 3)."""
        return {self.signal: self.shape.gradient(signals[self.signal])[:, np.newaxis, :]}

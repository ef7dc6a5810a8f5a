"""Speed limits of the base or of a body: along one axis, or in the horizontal plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np

from saferl_envs.constraints.base import Constraint, as_column
from saferl_envs.errors import ConstraintError, SignalError, choose
from saferl_envs.signals import FloatArray, SignalInfo, Signals

_AXES = {"x": 0, "y": 1, "z": 2}


@dataclass(frozen=True, kw_only=True)
class _Speed(Constraint):
    """A limit on one number computed from a velocity signal, in m/s.

    Attributes:
        signal: A velocity signal with columns x, y, z: ``base_velocity`` or ``body_velocity/<body>``.
    """

    unit: str = "m/s"
    signal: str = "base_velocity"

    @property
    def requires(self) -> frozenset[str]:
        """The velocity signal."""
        return frozenset({self.signal})

    def bind(self, offers: Mapping[str, SignalInfo]) -> Self:
        """Return this constraint resolved against a source.

        Raises:
            SignalError: The signal is not on offer, or is not a velocity with three columns.
        """
        bound = super().bind(offers)
        if len(offers[self.signal].components) != len(_AXES):
            raise SignalError(f"constraint {self.name!r}: {self.signal!r} is not a velocity with columns x, y, z")
        return bound


@dataclass(frozen=True, kw_only=True)
class AxisSpeed(_Speed):
    """``v_axis - limit``, or ``|v_axis| - limit`` when `absolute`, in m/s.

    With ``axis="x"`` and the indicator cost this is the velocity cost of Safety-Gymnasium for planar robots.
    """

    family: ClassVar[str] = "axis_speed"
    axis: Literal["x", "y", "z"] = "x"
    absolute: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.axis not in _AXES:
            raise ConstraintError(choose("axis", self.axis, _AXES, f"constraint {self.name!r}"))

    def value(self, signals: Signals) -> FloatArray:
        """Return the speed along the axis minus the limit, (N, 1)."""
        speed = signals[self.signal][:, _AXES[self.axis]]
        return as_column((np.abs(speed) if self.absolute else speed) - self.limit)

    def gradient(self, signals: Signals) -> dict[str, FloatArray]:
        """Return 1 (or the sign) in the axis' column, (N, 1, 3)."""
        velocity = signals[self.signal]
        out = np.zeros((velocity.shape[0], 1, velocity.shape[1]))
        axis = _AXES[self.axis]
        out[:, 0, axis] = np.sign(velocity[:, axis]) if self.absolute else 1.0
        return {self.signal: out}


@dataclass(frozen=True, kw_only=True)
class PlanarSpeed(_Speed):
    """``sqrt(v_x^2 + v_y^2) - limit`` in m/s; with the indicator cost, Safety-Gymnasium's velocity cost in the plane."""

    family: ClassVar[str] = "planar_speed"

    def value(self, signals: Signals) -> FloatArray:
        """Return the horizontal speed minus the limit, (N, 1)."""
        velocity = signals[self.signal]
        return as_column(np.sqrt(velocity[:, 0] ** 2 + velocity[:, 1] ** 2) - self.limit)

    def gradient(self, signals: Signals) -> dict[str, FloatArray]:
        """Return the unit direction of the horizontal velocity, (N, 1, 3); zero at rest."""
        velocity = signals[self.signal]
        speed = np.sqrt(velocity[:, 0] ** 2 + velocity[:, 1] ** 2)[:, np.newaxis]
        out = np.zeros((velocity.shape[0], 1, velocity.shape[1]))
        np.divide(velocity[:, :2], speed, out=out[:, 0, :2], where=speed > 0)
        return {self.signal: out}

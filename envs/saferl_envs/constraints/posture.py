"""Posture of the base: how far it leans, how high it is, where it is heading, and whether it lies on its back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from saferl_envs.constraints.base import Constraint, as_column
from saferl_envs.errors import ConstraintError, choose
from saferl_envs.signals import FloatArray, Signals

_GRAVITY = "projected_gravity"
_HEIGHT = "base_height"
_YAW = "base_yaw"
HeightBound = Literal["upper", "lower"]


@dataclass(frozen=True, kw_only=True)
class BaseTilt(Constraint):
    """``sqrt(g_x^2 + g_y^2) - limit``: the sine of the tilt, dimensionless (Chane-Sane et al. 2024, released code).

    Reads `projected_gravity` (N, 3), the unit vector of gravity in the base's frame, (0, 0, -1) when upright. The sine
    falls again beyond a right angle: pair it with `UpsideDown` where the base can roll over.
    """

    family: ClassVar[str] = "base_tilt"

    @property
    def requires(self) -> frozenset[str]:
        """The gravity in the base's frame."""
        return frozenset({_GRAVITY})

    def value(self, signals: Signals) -> FloatArray:
        """Return the sine of the tilt minus the limit, (N, 1)."""
        return as_column(_sine_of_tilt(signals[_GRAVITY]) - self.limit)

    def gradient(self, signals: Signals) -> Mapping[str, FloatArray]:
        """Return the unit direction of the horizontal gravity, (N, 1, 3); zero when upright."""
        gravity = signals[_GRAVITY]
        sine = _sine_of_tilt(gravity)[:, np.newaxis]
        out = np.zeros((gravity.shape[0], 1, gravity.shape[1]))
        np.divide(gravity[:, :2], sine, out=out[:, 0, :2], where=sine > 0)
        return {_GRAVITY: out}


@dataclass(frozen=True, kw_only=True)
class BaseHeight(Constraint):
    """``limit - h`` (`bound` lower) or ``h - limit`` (upper) in m, from `base_height` (N, 1).

    Attributes:
        bound: Which side the limit is on: ``lower`` keeps the base up, ``upper`` makes it crouch.
    """

    family: ClassVar[str] = "base_height"
    unit: str = "m"
    bound: HeightBound = "lower"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bound not in get_args(HeightBound):
            raise ConstraintError(choose("bound", self.bound, get_args(HeightBound), f"constraint {self.name!r}"))

    @property
    def bounds_from_above(self) -> bool:
        """See `Constraint.bounds_from_above`."""
        return self.bound == "upper"

    @property
    def requires(self) -> frozenset[str]:
        """The base's height."""
        return frozenset({_HEIGHT})

    def value(self, signals: Signals) -> FloatArray:
        """Return how far the base is beyond the limit, (N, 1)."""
        height = signals[_HEIGHT]
        return self.limit - height if self.bound == "lower" else height - self.limit

    def gradient(self, signals: Signals) -> Mapping[str, FloatArray]:
        """Return -1 (lower) or 1 (upper), (N, 1, 1)."""
        return {_HEIGHT: np.full((signals[_HEIGHT].shape[0], 1, 1), -1.0 if self.bound == "lower" else 1.0)}


@dataclass(frozen=True, kw_only=True)
class Heading(Constraint):
    """``min(|yaw - heading|, largest) - limit`` in rad, the difference taken the short way round, from `base_yaw` (N, 1).

    A constraint of SoloParkour (Chane-Sane et al. 2024b, arXiv 2409.13678, released code): 0.1 rad, errors cut at 1.5 rad.

    Attributes:
        heading: Direction in the world's plane to keep, rad from x towards y.
        largest: Where the error is cut off, so that a robot that faces backwards does not drown all other violations.
    """

    family: ClassVar[str] = "heading"
    unit: str = "rad"
    limit: float = 0.1
    heading: float = 0.0
    largest: float = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_number("heading", self.heading)
        self._require_number("largest", self.largest)
        if self.largest <= self.limit:
            raise ConstraintError(f"constraint {self.name!r}: largest {self.largest} must be above the limit {self.limit}")

    @property
    def requires(self) -> frozenset[str]:
        """The base's yaw."""
        return frozenset({_YAW})

    def _error(self, signals: Signals) -> FloatArray:
        """Return the signed error (N, 1) from -pi to pi."""
        return np.asarray(np.mod(signals[_YAW] - self.heading + np.pi, 2.0 * np.pi) - np.pi)

    def value(self, signals: Signals) -> FloatArray:
        """Return the error minus the limit, (N, 1)."""
        return np.asarray(np.minimum(np.abs(self._error(signals)), self.largest) - self.limit)

    def gradient(self, signals: Signals) -> Mapping[str, FloatArray]:
        """Return the error's sign, zero where it is cut off, (N, 1, 1)."""
        error = self._error(signals)
        return {_YAW: np.where(np.abs(error) < self.largest, np.sign(error), 0.0)[:, np.newaxis]}


@dataclass(frozen=True, kw_only=True)
class UpsideDown(Constraint):
    """1 where ``gravity_z > limit``, else 0 (satisfied): with the default limit, the base is past a right angle.

    Reads `projected_gravity` (N, 3), whose z is -1 when upright and 1 upside down. A boolean as a number, as in the
    released code of Chane-Sane et al. 2024.
    """

    family: ClassVar[str] = "upside_down"
    graded: ClassVar[bool] = False
    limit: float = 0.0

    @property
    def requires(self) -> frozenset[str]:
        """The gravity in the base's frame."""
        return frozenset({_GRAVITY})

    def value(self, signals: Signals) -> FloatArray:
        """Return 1.0 where upside down, else 0.0, (N, 1)."""
        return as_column((signals[_GRAVITY][:, 2] > self.limit).astype(np.float64))


def _sine_of_tilt(gravity: FloatArray) -> FloatArray:
    """Return the horizontal length (N,) of unit gravity vectors (N, 3)."""
    return np.asarray(np.sqrt(gravity[:, 0] ** 2 + gravity[:, 1] ** 2))

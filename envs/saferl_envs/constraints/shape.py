"""Shapes with exact signed distances: half-space, ball, box, capsule.

A shape is a set of points in the world frame. Its signed distance is Euclidean, in metres: negative inside, zero on the
surface, positive outside.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from saferl_envs.constraints.base import Spec
from saferl_envs.errors import ConstraintError, choose
from saferl_envs.signals import FloatArray

Point = tuple[float, float, float]

_SHAPES: dict[str, type[Shape]] = {}
_NO_DIRECTION = 1e-12
"""Metres below which the direction of an offset is rounding noise."""


@dataclass(frozen=True, kw_only=True)
class Shape(ABC):
    """A closed set of points with a signed distance; defining a subclass with a `shape` name registers it."""

    shape: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.shape and cls.shape not in _SHAPES:
            _SHAPES[cls.shape] = cls

    @abstractmethod
    def signed_distance(self, points: FloatArray) -> FloatArray:
        """Return the distances (N,) of points (N, 3) to the surface in m, negative inside."""

    @abstractmethod
    def gradient(self, points: FloatArray) -> FloatArray:
        """Return the unit directions (N, 3) in which the signed distance of points (N, 3) grows fastest.

        Where several are nearest (a ball's centre), one of them: never zero, so that a method can always leave.
        """

    def to_spec(self) -> Spec:
        """Return the shape as JSON data; ``shape_from_spec(s.to_spec(), ...) == s``."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {"shape": self.shape} | {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def _convert_point(self, key: str) -> None:
        """Store field `key` as three floats."""
        value = getattr(self, key)
        numbers = tuple(value) if isinstance(value, (list, tuple, np.ndarray)) else ()
        if len(numbers) != 3 or not all(_is_finite(v) for v in numbers):
            raise ConstraintError(f"shape {self.shape!r}: {key} must be three finite numbers, got {value!r}")
        object.__setattr__(self, key, tuple(float(v) for v in numbers))

    def _convert_number(self, key: str) -> None:
        """Store field `key` as one float."""
        value = getattr(self, key)
        if not _is_finite(value):
            raise ConstraintError(f"shape {self.shape!r}: {key} must be a finite number, got {value!r}")
        object.__setattr__(self, key, float(value))

    def _require_non_negative(self, key: str) -> None:
        value = getattr(self, key)
        if min(value if isinstance(value, tuple) else (value,)) < 0:
            raise ConstraintError(f"shape {self.shape!r}: {key} must not be negative, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class HalfSpace(Shape):
    """All points p with ``normal . p <= offset``.

    Attributes:
        normal: Points outwards. Any length is accepted and stored as one, `offset` divided alike: the set is the same.
        offset: Distance of the plane from the origin along the stored normal, in m.
    """

    shape: ClassVar[str] = "half_space"
    normal: Point
    offset: float

    def __post_init__(self) -> None:
        self._convert_point("normal")
        self._convert_number("offset")
        length = math.hypot(*self.normal)
        if not 1e-9 < length < 1e9:
            raise ConstraintError(f"shape {self.shape!r}: normal must be a direction, got {self.normal!r}")
        # A unit vector divided by its rounded length may change in its last bit: leave it, so that JSON round trips.
        if abs(length - 1.0) > 1e-14:
            object.__setattr__(self, "normal", tuple(v / length for v in self.normal))
            object.__setattr__(self, "offset", self.offset / length)

    def signed_distance(self, points: FloatArray) -> FloatArray:
        """Return ``normal . p - offset``, (N,)."""
        return _dot(points, self.normal) - self.offset

    def gradient(self, points: FloatArray) -> FloatArray:
        """Return the normal for every point, (N, 3)."""
        return np.broadcast_to(np.asarray(self.normal), points.shape).copy()


@dataclass(frozen=True, kw_only=True)
class Ball(Shape):
    """All points within `radius` (m, zero or more) of `center` (m)."""

    shape: ClassVar[str] = "ball"
    center: Point
    radius: float

    def __post_init__(self) -> None:
        self._convert_point("center")
        self._convert_number("radius")
        self._require_non_negative("radius")

    def signed_distance(self, points: FloatArray) -> FloatArray:
        """Return ``|p - center| - radius``, (N,)."""
        return _length(points - np.asarray(self.center)) - self.radius

    def gradient(self, points: FloatArray) -> FloatArray:
        """Return the direction away from the centre, (N, 3)."""
        return _unit(points - np.asarray(self.center), np.array([1.0, 0.0, 0.0]))


@dataclass(frozen=True, kw_only=True)
class Box(Shape):
    """All points p with ``|p_i - center_i| <= half_sizes_i`` (m, zero or more) on each world axis i."""

    shape: ClassVar[str] = "box"
    center: Point
    half_sizes: Point

    def __post_init__(self) -> None:
        self._convert_point("center")
        self._convert_point("half_sizes")
        self._require_non_negative("half_sizes")

    def signed_distance(self, points: FloatArray) -> FloatArray:
        """Return the distance to the nearest face, edge or corner, (N,)."""
        beyond = np.abs(points - np.asarray(self.center)) - np.asarray(self.half_sizes)
        outside: FloatArray = _length(np.maximum(beyond, 0.0))
        outside += np.minimum(beyond.max(axis=1), 0.0)
        return outside

    def gradient(self, points: FloatArray) -> FloatArray:
        """Return the direction from the nearest surface point, or to it from inside, (N, 3)."""
        offset = points - np.asarray(self.center)
        beyond = np.abs(offset) - np.asarray(self.half_sizes)
        nearest_face = np.zeros(points.shape)
        nearest_face[np.arange(points.shape[0]), beyond.argmax(axis=1)] = 1.0
        direction = _unit(np.maximum(beyond, 0.0), nearest_face)
        direction *= np.where(offset < 0, -1.0, 1.0)
        return direction


@dataclass(frozen=True, kw_only=True)
class Capsule(Shape):
    """All points within `radius` (m, zero or more) of the segment from `start` to `end` (m)."""

    shape: ClassVar[str] = "capsule"
    start: Point
    end: Point
    radius: float

    def __post_init__(self) -> None:
        self._convert_point("start")
        self._convert_point("end")
        self._convert_number("radius")
        self._require_non_negative("radius")

    def signed_distance(self, points: FloatArray) -> FloatArray:
        """Return the distance to the segment minus the radius, (N,)."""
        return np.asarray(_length(self._from_segment(points)) - self.radius)

    def gradient(self, points: FloatArray) -> FloatArray:
        """Return the direction away from the nearest point of the segment, (N, 3)."""
        return _unit(self._from_segment(points), _perpendicular(self._axis))

    @property
    def _axis(self) -> Point:
        (x, y, z), (a, b, c) = self.start, self.end
        return (a - x, b - y, c - z)

    def _from_segment(self, points: FloatArray) -> FloatArray:
        """Return the offsets (N, 3) of points (N, 3) from their nearest points of the segment."""
        offset: FloatArray = points - np.asarray(self.start)
        length = math.hypot(*self._axis)
        if length <= _NO_DIRECTION:
            return offset
        along = np.clip(_dot(offset, self._axis) / length**2, 0.0, 1.0)
        return np.asarray(offset - along[:, np.newaxis] * np.asarray(self._axis))


def shapes() -> Mapping[str, type[Shape]]:
    """Return every registered shape by name."""
    return dict(_SHAPES)


def shape_from_spec(spec: object, source: str) -> Shape:
    """Return a shape, built from its JSON form where it is not one already.

    Args:
        spec: A shape, or ``{"shape": "ball", "center": [0, 0, 0], "radius": 1}``.
        source: Who asks, for error messages, e.g. ``"constraint 'pillar'"``.

    Raises:
        ConstraintError: Unknown shape, unknown or missing key, or an invalid value.
    """
    if isinstance(spec, Shape):
        return spec
    if not isinstance(spec, Mapping):
        raise ConstraintError(f"{source}: expected a mapping with a 'shape', got {spec!r}")
    arguments = dict(spec)
    name = arguments.pop("shape", None)
    if not isinstance(name, str) or name not in _SHAPES:
        raise ConstraintError(choose("shape", name, _SHAPES, source))
    cls = _SHAPES[name]
    keys = [f.name for f in dataclasses.fields(cls)]
    where = f"{source}: shape {name!r}"
    for key in arguments:
        if key not in keys:
            raise ConstraintError(choose("key", key, keys, where))
    for key in keys:
        if key not in arguments:
            raise ConstraintError(f"{where}: key {key!r} is missing")
    try:
        return cls(**arguments)
    except ConstraintError as error:
        raise ConstraintError(f"{source}: {error}") from error


def _is_finite(value: Any) -> bool:
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _dot(points: FloatArray, vector: Point) -> FloatArray:
    """Return ``p . vector``, (N,), column by column: a matrix product differs in bits between N = 1 and N = 256."""
    return np.asarray(points[:, 0] * vector[0] + points[:, 1] * vector[1] + points[:, 2] * vector[2])


def _length(vectors: FloatArray) -> FloatArray:
    """Return the lengths (N,) of vectors (N, 3)."""
    return np.asarray(np.sqrt(vectors[:, 0] ** 2 + vectors[:, 1] ** 2 + vectors[:, 2] ** 2))


def _unit(vectors: FloatArray, otherwise: FloatArray) -> FloatArray:
    """Return the directions of vectors (N, 3), and `otherwise` (3,) or (N, 3) where a vector has none."""
    length = _length(vectors)[:, np.newaxis]
    out = np.broadcast_to(otherwise, vectors.shape).copy()
    np.divide(vectors, length, out=out, where=length > _NO_DIRECTION)
    return out


def _perpendicular(axis: Point) -> FloatArray:
    """Return a unit vector (3,) at right angles to `axis`; x where the axis has no direction."""
    if math.hypot(*axis) <= _NO_DIRECTION:
        return np.array([1.0, 0.0, 0.0])
    smallest = min(range(3), key=lambda i: abs(axis[i]))
    other = np.cross(axis, np.eye(3)[smallest])
    return np.asarray(other / math.hypot(*other))

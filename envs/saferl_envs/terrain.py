"""Rough ground as one height field: ten levels of difficulty times twenty columns of terrain types, a flat border around.

Types, heights and the mix are those of the CaT release (Chane-Sane et al. 2024, released code), which build on Rudin et al.
2021 ("Learning to Walk in Minutes"). Ours: everything is a height field, so risers of stairs lean over one grid cell, and the
flat square in the middle of a field is 2 m wide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np

from saferl_envs.errors import TaskError, choose
from saferl_envs.noise import Noise
from saferl_envs.signals import FloatArray, IntArray

TYPES = ("boxes", "slope_up", "slope_down", "stairs_up", "stairs_down")
MIX = (7, 1, 1, 4, 7)
"""Columns of each type, of twenty: 35, 5, 5, 20 and 35 %."""


@dataclass(frozen=True)
class Terrain:
    """How the ground is made.

    Attributes:
        levels: Rows of growing difficulty; row k has difficulty k / levels.
        size: Width of a square field, m.
        border: Width of the flat ground around all fields, m.
        grid: Distance of neighbouring points, m.
        platform: Width of the flat square in the middle of a field, m.
        tread: Depth of a stair, m.
        boxes: Boxes per field.
        seed: Of what is random in the ground.
    """

    levels: int = 10
    size: float = 8.0
    border: float = 8.0
    grid: float = 0.1
    platform: float = 2.0
    tread: float = 0.8
    boxes: int = 80
    seed: int = 0

    def __post_init__(self) -> None:
        for key in ("levels", "boxes", "seed"):
            value, least = getattr(self, key), 1 if key == "levels" else 0
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise TaskError(f"terrain: {key} must be a whole number of at least {least}, got {value!r}")
        for key in ("size", "border", "grid", "platform", "tread"):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e4:
                raise TaskError(f"terrain: {key} must be a positive length in m, got {value!r}")
        if self.platform >= self.size:
            raise TaskError(f"terrain: platform {self.platform} m must be smaller than a field of {self.size} m")

    @property
    def columns(self) -> tuple[str, ...]:
        """Terrain type of each column."""
        return tuple(name for name, count in zip(TYPES, MIX, strict=True) for _ in range(count))

    @lru_cache(maxsize=4)  # noqa: B019 - terrains are few and equal ones share their ground
    def build(self) -> Ground:
        """Return the ground; the same object for equal terrains, so its arrays are read-only.

        Raises:
            TaskError: A length is no whole number of grid cells.
        """
        cells = [self.size / self.grid, self.border / self.grid]
        if any(abs(count - round(count)) > 1e-6 for count in cells):
            raise TaskError(
                f"terrain: size {self.size} m and border {self.border} m must be multiples of the grid {self.grid} m"
            )
        field, border = round(cells[0]), round(cells[1])
        rows, columns = self.levels * field + 2 * border + 1, len(self.columns) * field + 2 * border + 1
        heights = np.zeros((rows, columns))
        for level in range(self.levels):
            for column, name in enumerate(self.columns):
                noise = Noise([self.seed], [level], [column])
                patch: FloatArray = getattr(self, f"_{name}")(level / self.levels, field, noise)
                i, j = border + level * field, border + column * field
                heights[i : i + field, j : j + field] = patch
        origins = np.stack(
            np.meshgrid(
                self.border + self.size * (np.arange(self.levels) + 0.5),
                self.border + self.size * (np.arange(len(self.columns)) + 0.5),
                indexing="ij",
            ),
            axis=-1,
        )
        heights.flags.writeable = origins.flags.writeable = False
        return Ground(heights, self.grid, origins)

    def _distance(self, field: int) -> FloatArray:
        """Return how far each point of a field is outside the platform, by the larger of both axes, (field, field) in m."""
        axis = np.abs((np.arange(field) + 0.5 - field / 2) * self.grid)
        outside: FloatArray = np.maximum(np.maximum(axis[:, np.newaxis], axis) - self.platform / 2, 0.0)
        return outside

    def _rough(self, difficulty: float, field: int, noise: Noise) -> FloatArray:
        amplitude = 0.01 + 0.02 * difficulty
        return noise.uniform("rough", field * field, -amplitude, amplitude).reshape(field, field)

    def _slope_up(self, difficulty: float, field: int, noise: Noise) -> FloatArray:
        return _level_edge(0.6 * difficulty * self._distance(field)) + self._rough(difficulty, field, noise)

    def _slope_down(self, difficulty: float, field: int, noise: Noise) -> FloatArray:
        return _level_edge(-0.6 * difficulty * self._distance(field)) + self._rough(difficulty, field, noise)

    def _stairs(self, difficulty: float, field: int) -> FloatArray:
        steps: FloatArray = np.ceil(self._distance(field) / self.tread - 1e-9)
        return (0.05 + 0.295 * difficulty) * steps

    def _stairs_up(self, difficulty: float, field: int, noise: Noise) -> FloatArray:
        return _level_edge(self._stairs(difficulty, field)) + self._rough(difficulty, field, noise)

    def _stairs_down(self, difficulty: float, field: int, noise: Noise) -> FloatArray:
        return _level_edge(-self._stairs(difficulty, field)) + self._rough(difficulty, field, noise)

    def _boxes(self, difficulty: float, field: int, noise: Noise) -> FloatArray:
        height = 0.05 + 0.195 * difficulty
        drawn = noise.uniform("boxes", 5 * self.boxes).reshape(self.boxes, 5)
        out = np.zeros((field, field))
        for x, y, wide, deep, kind in drawn:
            extent = [max(1, round((0.5 + 1.5 * share) / self.grid)) for share in (wide, deep)]
            i, j = (int(share * (field - size)) for share, size in zip((x, y), extent, strict=True))
            out[i : i + extent[0], j : j + extent[1]] = height * (-1.0, -0.5, 0.5, 1.0)[int(4 * kind)]
        out[self._distance(field) == 0.0] = 0.0
        return out


def terrain_from(given: Mapping[str, Any]) -> Terrain:
    """Return a terrain with some of its attributes given.

    Raises:
        TaskError: An unknown attribute or an invalid value.
    """
    known = [f.name for f in fields(Terrain)]
    for key in given:
        if key not in known:
            raise TaskError(choose("key", key, known, "terrain"))
    return Terrain(**given)


def _level_edge(patch: FloatArray) -> FloatArray:
    """Return a field shifted so that its corner, where it meets its neighbours, is at height zero."""
    shifted: FloatArray = patch - patch[0, 0]
    return shifted


@dataclass(frozen=True)
class Ground:
    """A height field; its first point is at the world's origin, rows along x and columns along y.

    Attributes:
        heights: (rows, columns) in m.
        grid: Distance of neighbouring points, m.
        origins: (levels, columns of terrain, 2) middles of the fields, m.
    """

    heights: FloatArray
    grid: float
    origins: FloatArray

    @property
    def extent(self) -> tuple[float, float]:
        """Length along x and y, m."""
        rows, columns = self.heights.shape
        return (rows - 1) * self.grid, (columns - 1) * self.grid

    def height(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Return the height of the grid point nearest to each (x, y), same shape; beyond the ground that of its edge."""
        rows, columns = self.heights.shape
        i: IntArray = np.clip(np.rint(x / self.grid).astype(np.intp), 0, rows - 1)
        j: IntArray = np.clip(np.rint(y / self.grid).astype(np.intp), 0, columns - 1)
        found: FloatArray = self.heights[i, j]
        return found

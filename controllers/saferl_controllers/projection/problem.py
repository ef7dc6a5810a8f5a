"""The projection onto a polytope as a problem, its answer, and the answer's certificate.

    minimise    (x - p).W (x - p) / 2
    subject to  G x <= h,   low <= x <= high

with W diagonal and above zero. It has one solution where the polytope is not empty. Where it is empty, the rows are relaxed
and the box is not: of the points of the box at which ``sum_j v_j max(g_j.x - h_j, 0)^2`` is least, the closest is taken.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from saferl_envs.errors import ConfigError
from saferl_envs.signals import BoolArray, FloatArray


class Projected(NamedTuple):
    """What became of N points.

    Attributes:
        point: (N, n) the projections.
        feasible: (N,) whether the polytope has a point.
        slack: (N, m) by how much each row is exceeded, 0 where feasible.
        row_multipliers: (N, m) at least 0, above it only where a row binds. Where infeasible, those of the relaxed rows.
        box_multipliers: (N, n) above 0 where `high` binds, below 0 where `low` does.
    """

    point: FloatArray
    feasible: BoolArray
    slack: FloatArray
    row_multipliers: FloatArray
    box_multipliers: FloatArray


class Residuals(NamedTuple):
    """By how much an answer misses the conditions of optimality, each (N,), for rows of length 1.

    Attributes:
        stationarity: Largest entry of ``W (x - p) + G'y + z``, over 1 plus the largest of its terms.
        primal: Largest excess over ``h + slack``, `low` and `high`.
        dual: Largest negative part of a row's multiplier.
        gap: Largest of a multiplier times the room that its row or bound has left, over 1 plus the multiplier.
    """

    stationarity: FloatArray
    primal: FloatArray
    dual: FloatArray
    gap: FloatArray

    def worst(self) -> FloatArray:
        """Return the largest of the four, (N,)."""
        largest: FloatArray = np.max(np.stack(self), axis=0)
        return largest


class Box:
    """Bounds and the metric of a projection, checked once.

    Args:
        low: (n,) lower bounds, may be minus infinity.
        high: (n,) upper bounds, may be infinity.
        weights: (n,) the diagonal of W, above zero; None for ones.

    Raises:
        ConfigError: Shapes differ, bounds cross or are not numbers, or a weight is not above zero.
    """

    def __init__(self, low: FloatArray, high: FloatArray, weights: FloatArray | None = None) -> None:
        self.low, self.high = np.array(low, np.float64), np.array(high, np.float64)
        if self.low.ndim != 1 or self.low.shape != self.high.shape or not (self.low <= self.high).all():
            raise ConfigError(f"projection: low {self.low.tolist()} must be a vector nowhere above high {self.high.tolist()}")
        self.weights = None if weights is None else np.array(weights, np.float64)
        if self.weights is not None and (self.weights.shape != self.low.shape or not _positive(self.weights)):
            raise ConfigError(f"projection: weights {self.weights.tolist()} must be {len(self.low)} numbers above zero")

    @property
    def size(self) -> int:
        """The number n of coordinates."""
        return len(self.low)


def _positive(values: FloatArray) -> bool:
    return bool((np.isfinite(values) & (values > 0.0)).all())


def residuals(box: Box, points: FloatArray, rows: FloatArray, offsets: FloatArray, found: Projected) -> Residuals:
    """Return how far answers are from the conditions of Karush, Kuhn and Tucker, with the slack they claim granted.

    Args:
        box: Bounds and metric.
        points: (N, n) what was projected.
        rows: (N, m, n) or (m, n), G.
        offsets: (N, m) or (m,), h.
        found: The answers.
    """
    rows = np.broadcast_to(rows, (len(points), *rows.shape[-2:]))
    lengths = np.sqrt(np.einsum("kji,kji->kj", rows, rows))
    lengths = np.where(lengths > 0.0, lengths, 1.0)
    unit, multipliers = rows / lengths[..., np.newaxis], found.row_multipliers * lengths
    room = (offsets + found.slack) / lengths - np.einsum("kji,ki->kj", unit, found.point)
    pull = (1.0 if box.weights is None else box.weights) * (found.point - points)
    push = np.einsum("kj,kji->ki", multipliers, unit)
    size = np.abs(np.concatenate((pull, push, found.box_multipliers), axis=1)).max(axis=1)
    above, below = box.high - found.point, found.point - box.low

    def gap(multiplier: FloatArray, left: FloatArray) -> FloatArray:
        product: FloatArray = np.where(multiplier > 0.0, multiplier * np.abs(left) / (1.0 + multiplier), 0.0)
        return product

    upper, lower = found.box_multipliers.clip(0.0), (-found.box_multipliers).clip(0.0)
    with np.errstate(invalid="ignore"):  # no multiplier times endless room
        gaps = np.concatenate((gap(multipliers, room), gap(upper, above), gap(lower, below)), axis=1)
    return Residuals(
        np.abs(pull + push + found.box_multipliers).max(axis=1) / (1.0 + size),
        np.concatenate((-room, -above, -below), axis=1).max(axis=1).clip(0.0),
        (-multipliers).max(axis=1, initial=0.0),
        gaps.max(axis=1),
    )

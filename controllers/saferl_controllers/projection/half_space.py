"""The exact projection onto one half-space inside a box, for a batch of points at once.

In the metric ``|x|^2_W = x.W x`` with W diagonal, the closest point of ``{g.x <= h, low <= x <= high}`` to p is

    x(t) = clip(p - t W^-1 g, low, high)

with the smallest ``t >= 0`` at which ``g.x(t) <= h``: g.x(t) falls piecewise linearly, with kinks where a coordinate enters or
leaves the box. Clipping after projecting is not exact: it can leave the half-space again.

From a point of the box coordinates only leave it, so g.x(t) is convex, and Newton's steps from t = 0 come to the answer's
piece from below, in two or three steps as a rule and never more than there are coordinates. From other points the kinks are
sorted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from saferl_envs.signals import BoolArray, FloatArray

_FAR = 1e150
"""In place of infinity, which times a slope of zero would be no number."""
_TOUCHING = 1e-12
"""How far rounding may set apart a box and a half-space that touch."""


class HalfSpaceProjected(NamedTuple):
    """What became of N points.

    Attributes:
        point: (N, n) the closest points; where none exists, the points of the box that exceed the half-space least, and of
            these the closest.
        multiplier: (N,) t, the half-space's Lagrange multiplier; infinite where it cannot be met.
        feasible: (N,) whether box and half-space meet.
    """

    point: FloatArray
    multiplier: FloatArray
    feasible: BoolArray


def project_half_space_in_box(
    points: FloatArray,
    normals: FloatArray,
    offsets: FloatArray,
    low: FloatArray,
    high: FloatArray,
    weights: FloatArray | None = None,
) -> HalfSpaceProjected:
    """Return the closest points of ``normal.x <= offset`` in the box ``low <= x <= high``.

    Args:
        points: (N, n).
        normals: (N, n), or (n,) for all points. A normal of zeros asks ``0 <= offset``.
        offsets: (N,), or one number.
        low: (n,) may be minus infinity.
        high: (n,) may be infinity.
        weights: (n,) the diagonal of W, above zero; None for ones.
    """
    nearest: FloatArray = np.minimum(np.maximum(points, low), high)
    excess = np.einsum("...i,...i->...", nearest, normals) - offsets
    multiplier = np.zeros(len(points))
    broken = excess > 0.0
    if not broken.any():
        return HalfSpaceProjected(nearest, multiplier, ~broken)
    moves = _from_inside if (nearest == points).all() else _from_anywhere
    if broken.all():
        return moves(points, _each(normals, points), excess, low, high, weights)
    normals = _each(normals, points)[broken]
    moved = moves(points[broken], normals, excess[broken], low, high, weights)
    feasible = np.ones(len(points), np.bool_)
    nearest[broken], multiplier[broken], feasible[broken] = moved
    return HalfSpaceProjected(nearest, multiplier, feasible)


def _each(normals: FloatArray, points: FloatArray) -> FloatArray:
    """Return a normal (N, n) per point."""
    return normals if normals.shape == points.shape else np.broadcast_to(normals, points.shape)


def _ways(normals: FloatArray, weights: FloatArray | None) -> tuple[FloatArray, FloatArray, BoolArray, FloatArray]:
    """Return, (N, n) each: W^-1 g, its product with g, where that is above 0, and W^-1 g to divide by."""
    direction = normals if weights is None else normals / weights
    slopes = normals * direction
    moves = slopes > 0.0  # a square may vanish where the number does not
    return direction, slopes, moves, np.where(moves, direction, 1.0)


def _from_inside(
    points: FloatArray, normals: FloatArray, excess: FloatArray, low: FloatArray, high: FloatArray, weights: FloatArray | None
) -> HalfSpaceProjected:
    """Return the projections of points of the box that exceed the half-space by `excess`."""
    direction, slopes, moves, divisor = _ways(normals, weights)
    leaves = np.minimum((points - np.where(direction > 0.0, low, high)) / divisor, _FAR)
    leaves[~moves] = 0.0
    lost = slopes * leaves  # what a coordinate has taken off once it has left
    feasible: BoolArray = np.asarray(np.add.reduce(lost, axis=1) >= excess - _TOUCHING * (1.0 + excess))
    multiplier, before = np.zeros(len(points)), -1
    left = ~moves
    while (count := int(np.count_nonzero(left))) != before:
        pace = np.add.reduce(slopes, axis=1, where=~left)
        rest = excess - np.add.reduce(lost, axis=1, where=left)
        np.divide(rest, pace, out=multiplier, where=pace > 0.0)
        left, before = leaves <= multiplier[:, np.newaxis], count
    if feasible.all():
        step = multiplier[:, np.newaxis] * direction
    else:
        multiplier = np.where(feasible, multiplier, np.inf)
        step = np.where(feasible, multiplier, _FAR)[:, np.newaxis] * np.where(moves, direction, 0.0)
    moved: FloatArray = np.minimum(np.maximum(points - step, low), high)
    return HalfSpaceProjected(moved, multiplier, feasible)


def _from_anywhere(
    points: FloatArray, normals: FloatArray, excess: FloatArray, low: FloatArray, high: FloatArray, weights: FloatArray | None
) -> HalfSpaceProjected:
    """Return the projections of points whose nearest point of the box exceeds the half-space by `excess`."""
    direction, slopes, moves, divisor = _ways(normals, weights)
    towards_low = np.where(moves, (points - low) / divisor, _FAR)
    towards_high = np.where(moves, (points - high) / divisor, _FAR)
    enters = np.minimum(np.minimum(towards_low, towards_high).clip(0.0), _FAR)
    leaves = np.minimum(np.maximum(towards_low, towards_high).clip(0.0), _FAR)

    late = enters > 0.0
    slope = np.where(late, 0.0, slopes).sum(axis=1)
    times, changes = leaves, -slopes
    if late.any():  # points outside the box
        times = np.concatenate((leaves, enters), axis=1)
        changes = np.concatenate((-slopes, np.where(late, slopes, 0.0)), axis=1)
    order = times.argsort(axis=1)
    times, changes = np.take_along_axis(times, order, 1), np.take_along_axis(changes, order, 1)
    after = slope[:, np.newaxis] + changes.cumsum(axis=1)
    before = np.concatenate((slope[:, np.newaxis], after[:, :-1]), axis=1)
    reduced = (before * np.diff(times, axis=1, prepend=0.0)).cumsum(axis=1)

    # not read off the sorted kinks, where rounding leaves a little slope after the last
    reach = np.einsum("ki,ki->k", slopes, leaves - enters)
    feasible: BoolArray = np.asarray(reach >= excess - _TOUCHING * (1.0 + excess))
    enough = reduced >= excess[:, np.newaxis]
    enough[:, -1] = True
    at = enough.argmax(axis=1)[:, np.newaxis]
    start = np.where(at > 0, np.take_along_axis(times, np.maximum(at - 1, 0), 1), 0.0)[:, 0]
    missing = excess - np.where(at > 0, np.take_along_axis(reduced, np.maximum(at - 1, 0), 1), 0.0)[:, 0]
    # summed anew: of the running sum, of which little may be left, rounding has taken its share
    moving = (enters <= start[:, np.newaxis]) & (leaves > start[:, np.newaxis])
    pace = np.where(moving, slopes, 0.0).sum(axis=1)
    last = np.take_along_axis(times, at, 1)[:, 0]
    multiplier = np.minimum(start + missing / np.where(pace > 0.0, pace, 1.0), last)
    multiplier = np.where(feasible, multiplier, np.inf)
    step = np.where(feasible, multiplier, _FAR)[:, np.newaxis] * np.where(moves, direction, 0.0)
    moved: FloatArray = np.minimum(np.maximum(points - step, low), high)
    return HalfSpaceProjected(moved, multiplier, feasible)

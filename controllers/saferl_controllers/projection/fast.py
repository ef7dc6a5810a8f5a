"""The projection onto a polytope for every step of a policy: closed forms where they hold, an active-set solver elsewhere.

The solver is DAQP (Arnström, Bemporad and Axehill 2022, IEEE Transactions on Automatic Control 67), a dual active-set method
that is exact up to rounding. It is called only for points whose nearest point of the box breaks a row. `projection.reference`
is the same problem in cvxpy, to which tests hold this one.
"""

from __future__ import annotations

import math
from typing import Any

import daqp
import numpy as np

from saferl_controllers.projection.half_space import project_half_space_in_box
from saferl_controllers.projection.problem import Box, Projected
from saferl_envs.errors import ConfigError
from saferl_envs.signals import FloatArray

_ENDLESS = 1e30
"""What the solver takes for infinity."""
_RELAXATION = 1e-8
"""Weight of the distance against that of the squared excess of rows of length 1, where rows have to be relaxed."""
_TINY = 1e-300
_SETTINGS = {"primal_tol": 1e-10}
_SOLVED, _INFEASIBLE = 1, -1
"""Of the solver's verdicts; others say that it gave up."""
_MET = 1e-7
"""Excess of rows, scaled together to length 1, at which a relaxed answer counts as feasible where the solver had given up."""
_MANY = 8
"""From so many points on one row's closed form is faster for all together than the solver for each."""


class PolytopeProjection:
    """Projects actions onto ``{G x <= h} inside a box``; rows may differ from point to point.

    Of several rows, one that only an entry of less than about 1e-5 of its length can meet, so that the projection would lie 1e5
    times as far off as usual, may be taken for one that cannot be met: the answer is then least-violating and says so.

    Args:
        low: (n,) lower bounds.
        high: (n,) upper bounds.
        weights: (n,) the diagonal of W, or None for ones.
        slack_weights: (m,) v, what exceeding a row costs where not all can be met; None for ones.

    Raises:
        ConfigError: Bounds or weights are not valid.
    """

    def __init__(
        self, low: FloatArray, high: FloatArray, weights: FloatArray | None = None, slack_weights: FloatArray | None = None
    ) -> None:
        self.box = Box(low, high, weights)
        self._metric = np.diag(np.ones(self.box.size) if self.box.weights is None else self.box.weights)
        self._bounds = tuple(np.clip(bound, -_ENDLESS, _ENDLESS) for bound in (self.box.low, self.box.high))
        self._lower = self._upper = np.zeros(0)
        self._prices = None if slack_weights is None else np.array(slack_weights, np.float64)
        if self._prices is not None and not (self._prices > 0.0).all():
            raise ConfigError(f"projection: slack weights {self._prices.tolist()} must be above zero")

    def __call__(self, points: FloatArray, rows: FloatArray, offsets: FloatArray) -> Projected:
        """Return the projections.

        Args:
            points: (N, n).
            rows: (N, m, n), or (m, n) for all points; finite.
            offsets: (N, m), or (m,); infinity for a row that asks nothing.

        Raises:
            ConfigError: Shapes do not fit, or numbers are not finite.
        """
        box, (n, size), m = self.box, points.shape, rows.shape[-2]
        if size != box.size or rows.shape[-1] != size or offsets.shape[-1] != m:
            raise ConfigError(
                f"projection in {box.size} dimensions: got points {points.shape}, rows {rows.shape}, offsets {offsets.shape}"
            )
        if self._prices is not None and len(self._prices) != m:
            raise ConfigError(f"projection: {len(self._prices)} slack weights for {m} rows")
        nearest = np.minimum(np.maximum(points, box.low), box.high)
        if n == 1:
            return self._alone(points, nearest, rows.reshape(m, size), offsets.reshape(m))
        # not `>`: what cannot be compared (NaN) is not satisfied
        broken = ~(np.matmul(rows, nearest[..., np.newaxis])[..., 0] <= offsets)
        found = Projected(nearest, np.ones(n, np.bool_), np.zeros((n, m)), np.zeros((n, m)), points - nearest)
        (at,) = np.logical_or.reduce(broken, axis=1).nonzero()
        if len(at):
            _require_numbers(points, rows, offsets)
            rows, offsets = np.broadcast_to(rows, (n, m, size)), np.broadcast_to(offsets, (n, m))
            if m == 1 and len(at) >= _MANY:
                self._one_row(found, at, points[at], rows[at, 0], offsets[at, 0])
            else:
                for k in at.tolist():
                    self._solve(found, k, points[k], rows[k], offsets[k])
            np.subtract(points, found.point, out=found.box_multipliers)
        if box.weights is not None:
            found.box_multipliers[:] *= box.weights
        if len(at) == n:
            found.box_multipliers[:] -= np.matmul(found.row_multipliers[:, np.newaxis], rows)[:, 0]
        elif len(at):
            found.box_multipliers[at] -= np.matmul(found.row_multipliers[at, np.newaxis], rows[at])[:, 0]
        return found

    def _alone(self, points: FloatArray, nearest: FloatArray, rows: FloatArray, offsets: FloatArray) -> Projected:
        """Return the projection of one point (1, n), whose nearest point of the box is known, for rows (m, n)."""
        m, weights, pull = len(offsets), self.box.weights, points - nearest
        found = Projected(nearest, np.array((True,)), np.zeros((1, m)), np.zeros((1, m)), pull)
        excess = rows.dot(nearest[0]) - offsets
        if m and not np.maximum.reduce(excess) <= 0.0:  # not `>`: what cannot be compared (NaN) is not satisfied
            if not math.isfinite(excess.dot(excess) + pull[0].dot(pull[0])):
                _require_numbers(points, rows, offsets)
            self._solve(found, 0, points[0], rows, offsets)
            np.subtract(points, found.point, out=pull)
            if weights is not None:
                pull *= weights
            pull -= found.row_multipliers[0].dot(rows)
        elif weights is not None:
            pull *= weights
        return found

    def _one_row(self, found: Projected, at: Any, points: FloatArray, rows: FloatArray, offsets: FloatArray) -> None:
        """Fill in the answers `at` (K,) for points (K, n) with one row (K, n) and offset (K,) each."""
        box = self.box
        moved = project_half_space_in_box(points, rows, offsets, box.low, box.high, box.weights)
        found.point[at], found.feasible[at] = moved.point, moved.feasible
        slack = np.maximum(np.einsum("ki,ki->k", rows, moved.point) - offsets, 0.0)
        found.slack[at, 0] = np.where(moved.feasible, 0.0, slack)
        lengths = np.einsum("ki,ki->k", rows, rows / self._metric.diagonal())
        lengths = np.where(lengths > _TINY, lengths, 1.0)  # of a row of zeros: whatever its multiplier is, it pushes nowhere
        found.row_multipliers[at, 0] = np.where(moved.feasible, moved.multiplier, slack / (_RELAXATION * lengths))

    def _solve(self, found: Projected, k: int, point: FloatArray, rows: FloatArray, offsets: FloatArray) -> None:
        """Fill in the answer for point k."""
        size, m = len(point), len(offsets)
        if len(self._lower) != size + m:
            self._lower, self._upper = (np.concatenate((bound, np.full(m, -_ENDLESS))) for bound in self._bounds)
        lower, upper = self._lower, self._upper
        upper[size:] = offsets
        target = -point if self.box.weights is None else -self.box.weights * point
        rows = np.array(rows, np.float64, order="C")  # a copy: the solver takes no read-only views
        x, _, status, info = daqp.solve(self._metric, target, rows, upper, lower, np.zeros(size + m, np.int32), **_SETTINGS)
        solved = status == _SOLVED
        if not solved and m == 1:
            self._one_row(found, np.array([k]), point[np.newaxis], rows, offsets)
            return
        multipliers = info["lam"][-m:]
        if not solved:
            x, multipliers = self._relaxed(point, target, rows, upper, lower)
        np.minimum(np.maximum(x, self.box.low, out=x), self.box.high, out=x)
        found.point[k], found.row_multipliers[k] = x, multipliers
        if not solved:
            found.slack[k] = np.maximum(rows @ x - offsets, 0.0)
            if status != _INFEASIBLE and float(found.slack[k].max()) * self._scale(rows) <= _MET:
                found.slack[k] = 0.0
            else:
                found.feasible[k] = False

    def _scale(self, rows: FloatArray) -> float:
        """Return the factor that makes the longest row's length 1."""
        return float(1.0 / np.sqrt(max(float((rows * rows / self._metric.diagonal()).sum(axis=1).max()), _TINY)))

    def _relaxed(
        self, point: FloatArray, target: FloatArray, rows: FloatArray, upper: FloatArray, lower: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Solve with an excess per row as further variables, dear enough to be least before the distance is.

        Rows are scaled together, so that what is dear enough does not depend on their unit. Where the solver fails, the point
        of the box is returned, without multipliers.
        """
        size, m = self.box.size, len(rows)
        prices = np.ones(m) if self._prices is None else self._prices / self._prices.max()
        scale = self._scale(rows)
        endless = np.full(m, _ENDLESS)
        x, _, status, info = daqp.solve(
            np.diag(np.concatenate((self._metric.diagonal(), prices / _RELAXATION))),
            np.concatenate((target, np.zeros(m))),
            np.concatenate((rows * scale, -np.eye(m)), axis=1),
            np.concatenate((upper[:size], endless, np.minimum(upper[size:] * scale, _ENDLESS))),
            np.concatenate((lower[:size], -endless, lower[size:])),
            np.zeros(size + 2 * m, np.int32),
            **_SETTINGS,
        )
        if status < 1:
            return point, np.zeros(m)
        return x[:size], info["lam"][-m:] * scale


def _require_numbers(points: FloatArray, rows: FloatArray, offsets: FloatArray) -> None:
    """Refuse what is not finite; offsets may be infinite.

    Raises:
        ConfigError: See above.
    """
    # quick and too strict: squares may overflow
    if math.isfinite(np.vdot(points, points) + np.vdot(rows, rows) + np.add.reduce(offsets, axis=None)):
        return
    if not (np.isfinite(points).all() and np.isfinite(rows).all()) or np.isnan(offsets).any():
        raise ConfigError("projection: points, rows or offsets hold numbers that are not finite")

"""The projection onto a polytope for every step of a policy: closed forms where they hold, an active-set solver elsewhere.

The solver is DAQP (Arnström, Bemporad and Axehill 2022, IEEE Transactions on Automatic Control 67), a dual active-set method
that is exact up to rounding. It is called only for points whose nearest point of the box breaks a row. `projection.reference`
is the same problem in cvxpy, to which tests hold this one.
"""

from __future__ import annotations

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
"""Weight of the distance against that of the squared excess, where rows have to be relaxed."""
_SETTINGS = {"primal_tol": 1e-10}
_MANY = 8
"""From so many points on one row's closed form is faster for all together than the solver for each."""


class PolytopeProjection:
    """Projects actions onto ``{G x <= h} inside a box``; rows may differ from point to point.

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
        self._bounds = np.clip(np.stack((self.box.low, self.box.high)), -_ENDLESS, _ENDLESS)
        self._prices = None if slack_weights is None else np.array(slack_weights, np.float64)
        if self._prices is not None and not (self._prices > 0.0).all():
            raise ConfigError(f"projection: slack weights {self._prices.tolist()} must be above zero")

    def __call__(self, points: FloatArray, rows: FloatArray, offsets: FloatArray) -> Projected:
        """Return the projections.

        Args:
            points: (N, n) finite.
            rows: (N, m, n), or (m, n) for all points; finite.
            offsets: (N, m), or (m,); infinity for a row that asks nothing.

        Raises:
            ConfigError: Shapes do not fit.
        """
        box, (n, size), m = self.box, points.shape, rows.shape[-2]
        if size != box.size or rows.shape[-1] != size or offsets.shape[-1] != m:
            raise ConfigError(
                f"projection in {box.size} dimensions: got points {points.shape}, rows {rows.shape}, offsets {offsets.shape}"
            )
        nearest = np.minimum(np.maximum(points, box.low), box.high)
        broken = np.matmul(rows, nearest[..., np.newaxis])[..., 0] > offsets
        found = Projected(nearest, np.ones(n, np.bool_), np.zeros((n, m)), np.zeros((n, m)), points - nearest)
        if broken.any():
            (at,) = broken.any(axis=1).nonzero()
            if rows.ndim == 2:
                rows = np.broadcast_to(rows, (n, m, size))
            if offsets.ndim == 1:
                offsets = np.broadcast_to(offsets, (n, m))
            if m == 1 and len(at) >= _MANY:
                self._one_row(found, at, points, rows[:, 0], offsets[:, 0])
            else:
                for k in at.tolist():
                    self._solve(found, k, points[k], rows[k], offsets[k])
            np.subtract(points, found.point, out=found.box_multipliers)
        if box.weights is not None:
            found.box_multipliers[:] *= box.weights
        if broken.any():
            found.box_multipliers[at] -= np.matmul(found.row_multipliers[at, np.newaxis], rows[at])[:, 0]
        return found

    def _one_row(self, found: Projected, at: Any, points: FloatArray, rows: FloatArray, offsets: FloatArray) -> None:
        box = self.box
        moved = project_half_space_in_box(points[at], rows[at], offsets[at], box.low, box.high, box.weights)
        found.point[at], found.feasible[at] = moved.point, moved.feasible
        slack = np.einsum("ki,ki->k", rows[at], moved.point) - offsets[at]
        found.slack[at, 0] = np.where(moved.feasible, 0.0, slack)
        found.row_multipliers[at, 0] = np.where(moved.feasible, moved.multiplier, slack / _RELAXATION)

    def _solve(self, found: Projected, k: int, point: FloatArray, rows: FloatArray, offsets: FloatArray) -> None:
        """Fill in the answer for point k."""
        size, m = self.box.size, len(offsets)
        upper, lower = np.empty(size + m), np.empty(size + m)
        upper[:size], lower[:size] = self._bounds[1], self._bounds[0]
        upper[size:], lower[size:] = offsets, -_ENDLESS
        target = -point if self.box.weights is None else -self.box.weights * point
        rows = np.array(rows, np.float64, order="C")  # a copy: the solver takes no read-only views
        x, _, status, info = daqp.solve(self._metric, target, rows, upper, lower, np.zeros(size + m, np.int32), **_SETTINGS)
        found.feasible[k] = status == 1
        if not found.feasible[k]:
            x, info = self._relaxed(target, rows, upper, lower)
        x = np.minimum(np.maximum(x[:size], self.box.low), self.box.high)
        found.point[k], found.row_multipliers[k] = x, info["lam"][-m:]
        if not found.feasible[k]:
            found.slack[k] = np.maximum(rows @ x - offsets, 0.0)

    def _relaxed(self, target: FloatArray, rows: FloatArray, upper: FloatArray, lower: FloatArray) -> tuple[FloatArray, Any]:
        """Solve with an excess per row as further variables, dear enough to be least before the distance is."""
        m, endless = len(rows), np.full(len(rows), _ENDLESS)
        price = (np.ones(m) if self._prices is None else self._prices) / _RELAXATION
        metric = np.diag(np.concatenate((self._metric.diagonal(), price)))
        size = self.box.size
        x, _, _, info = daqp.solve(
            metric,
            np.concatenate((target, np.zeros(m))),
            np.concatenate((rows, -np.eye(m)), axis=1),
            np.concatenate((upper[:size], endless, upper[size:])),
            np.concatenate((lower[:size], -endless, lower[size:])),
            np.zeros(size + 2 * m, np.int32),
            **_SETTINGS,
        )
        return x, info

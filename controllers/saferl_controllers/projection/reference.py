"""The same projections as convex programs in cvxpy: the reference of the fast ones, and the form that takes more kinds of rows.

A program is compiled once for its sizes (disciplined parametrised programming), so later calls only rewrite numbers. It is
tens of times slower than `projection.fast`; use it to check, or where rows are uncertain (`ChanceProjection`).
"""

from __future__ import annotations

import importlib
import warnings
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from saferl_controllers.projection.polish import polished
from saferl_controllers.projection.problem import Box, Projected
from saferl_envs.errors import ConfigError
from saferl_envs.signals import FloatArray

_SOLVED = ("optimal", "optimal_inaccurate")
_EXACT = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}
_CHANCE_MET = 1e-6
"""Excess at which a row counts as holding with its probability; the solver is about as exact."""


class ConvexProjection:
    """Projects onto ``{G x <= h} inside a box``, one point at a time, relaxing rows where it must; see `projection.problem`.

    Where the rows can be met, the interior-point solver's answer is polished: `projection.polish`.

    Args:
        low: (n,) lower bounds.
        high: (n,) upper bounds.
        rows: The number m of rows.
        weights: (n,) the diagonal of W, or None for ones.
        slack_weights: (m,) what exceeding a row costs where not all can be met, or None for ones.
        solver: A solver of cvxpy for quadratic programs.

    Raises:
        ConfigError: cvxpy is not installed.
    """

    def __init__(
        self,
        low: FloatArray,
        high: FloatArray,
        rows: int,
        weights: FloatArray | None = None,
        slack_weights: FloatArray | None = None,
        solver: str = "CLARABEL",
    ) -> None:
        self.box, self.solver = Box(low, high, weights), solver
        if slack_weights is not None and not (np.asarray(slack_weights) > 0.0).all():
            raise ConfigError(f"projection: slack weights {np.asarray(slack_weights).tolist()} must be above zero")
        cp, n = _cvxpy(), self.box.size
        root = np.sqrt(np.ones(n) if self.box.weights is None else self.box.weights)
        price = np.sqrt(np.ones(rows) if slack_weights is None else np.asarray(slack_weights, np.float64))
        self._x, self._target = cp.Variable(n), cp.Parameter(n)
        self._rows, self._offsets = cp.Parameter((rows, n)), cp.Parameter(rows)
        excess = cp.Variable(rows, nonneg=True)
        self._inside, self._held = _inside(self._x, self.box), self._rows @ self._x <= self._offsets
        distance = cp.sum_squares(cp.multiply(root, self._x - self._target))
        self._closest = cp.Problem(cp.Minimize(distance), [*self._inside.values(), self._held])
        self._least = cp.Problem(
            cp.Minimize(cp.sum_squares(cp.multiply(price, excess))),
            [*self._inside.values(), self._rows @ self._x - excess <= self._offsets],
        )
        self._excess = excess

    def __call__(self, points: FloatArray, rows: FloatArray, offsets: FloatArray) -> Projected:
        """Return the projections, as `projection.fast.PolytopeProjection` does; `problem.residuals` certifies them.

        Args:
            points: (N, n).
            rows: (N, m, n), or (m, n) for all points.
            offsets: (N, m), or (m,).

        Raises:
            ConfigError: The solver fails.
        """
        n, m = len(points), rows.shape[-2]
        each = zip(points, np.broadcast_to(rows, (n, m, self.box.size)), np.broadcast_to(offsets, (n, m)), strict=True)
        found = [self._project(*one) for one in each]
        return Projected(*(np.stack([getattr(one, key) for one in found]) for key in Projected._fields))

    def _project(self, point: FloatArray, rows: FloatArray, offsets: FloatArray) -> Projected:
        """Return the answer for one point (n,), without a first axis."""
        self._target.value, self._rows.value, self._offsets.value = point, rows, offsets
        if self._solve(self._closest) in _SOLVED:
            found = self._answer(True, np.zeros(len(offsets)))
            return polished(self.box, point, rows, offsets, found) or found
        if self._solve(self._least) not in _SOLVED:
            raise ConfigError(f"projection: {self.solver} finds no least excess ({self._least.status})")
        slack = np.maximum(np.asarray(self._excess.value, np.float64), 0.0)
        # room for the solver's own error: the relaxed set may be a single point
        self._offsets.value = offsets + slack + 1e-9
        if self._solve(self._closest) not in _SOLVED:
            raise ConfigError(f"projection: {self.solver} fails on the relaxed rows ({self._closest.status})")
        return self._answer(False, slack)

    def _solve(self, problem: Any) -> str:
        options = _EXACT if self.solver == "CLARABEL" else {}
        return _solved(problem, self.solver, options)

    def _answer(self, feasible: bool, slack: FloatArray) -> Projected:
        """Return what the program of the closest point has found, with half its multipliers: it has no half of its own."""
        return Projected(
            np.clip(np.asarray(self._x.value, np.float64), self.box.low, self.box.high),
            np.array(feasible),
            slack,
            0.5 * np.maximum(np.asarray(self._held.dual_value, np.float64), 0.0),
            0.5 * _pull_of_bounds(self._inside, self.box),
        )


class ChanceProjected(NamedTuple):
    """A projection onto rows that are to hold with a probability.

    Attributes:
        point: (n,).
        feasible: Whether all rows hold with the probability asked for.
        slack: (m,) what each row has too little of, in the unit of its offset; 0 where it holds.
        multipliers: (m,) of the rows, at least 0, and the slack's price where a row cannot be met.
        residual: How far the point is from being stationary: the largest entry of ``x - p`` plus the rows' and the bounds'
            pushes, over 1 plus the largest push.
    """

    point: FloatArray
    feasible: bool
    slack: FloatArray
    multipliers: FloatArray
    residual: float


class ChanceProjection:
    """Projects onto rows that hold with a probability, where each row is a Gaussian vector: a second-order cone program.

    With ``g_j ~ N(mean_j, L_j L_j')`` the condition ``P(g_j.x <= h_j) >= level`` is ``mean_j.x + q |L_j' x| <= h_j`` with q the
    normal quantile of the level (Boyd and Vandenberghe 2004, section 4.4.2), convex from a level of one half on.

    Args:
        low: (n,) lower bounds.
        high: (n,) upper bounds.
        rows: The number m of rows.
        level: The probability, from 0.5 to below 1.
        slack_price: What a unit of excess costs against half the squared distance; large enough, it is paid only where rows
            cannot be met.

    Raises:
        ConfigError: The level is not in [0.5, 1), or cvxpy is not installed.
    """

    def __init__(self, low: FloatArray, high: FloatArray, rows: int, level: float = 0.95, slack_price: float = 1e4) -> None:
        if not 0.5 <= level < 1.0:
            raise ConfigError(f"projection: level {level} must be at least 0.5 and below 1")
        self.box, self.level = Box(low, high), level
        cp, n = _cvxpy(), self.box.size
        self._x, self._target, self._slack = cp.Variable(n), cp.Parameter(n), cp.Variable(rows, nonneg=True)
        self._means, self._offsets = cp.Parameter((rows, n)), cp.Parameter(rows)
        self._roots = [cp.Parameter((n, n)) for _ in range(rows)]
        self._quantile, self._inside = NormalDist().inv_cdf(level), _inside(self._x, self.box)
        spread = [self._quantile * cp.norm(root.T @ self._x) for root in self._roots]
        used = [self._means[j] @ self._x + spread[j] for j in range(rows)]
        self._held = [used[j] <= self._offsets[j] for j in range(rows)]
        self._relaxed = [used[j] <= self._offsets[j] + self._slack[j] for j in range(rows)]
        distance, inside = 0.5 * cp.sum_squares(self._x - self._target), self._inside.values()
        self._hard = cp.Problem(cp.Minimize(distance), [*inside, *self._held])
        self._soft = cp.Problem(cp.Minimize(distance + slack_price * cp.sum(self._slack)), [*inside, *self._relaxed])

    def __call__(self, point: FloatArray, means: FloatArray, roots: FloatArray, offsets: FloatArray) -> ChanceProjected:
        """Return the projection of a point.

        Args:
            point: (n,).
            means: (m, n) of the rows.
            roots: (m, n, n), L of each row's covariance L L'.
            offsets: (m,).

        Raises:
            ConfigError: The solver fails.
        """
        self._target.value, self._means.value, self._offsets.value = point, means, offsets
        for parameter, root in zip(self._roots, roots, strict=True):
            parameter.value = root
        held = self._held
        if _solved(self._hard, "CLARABEL", _EXACT) not in _SOLVED:
            held = self._relaxed
            if (status := _solved(self._soft, "CLARABEL", _EXACT)) not in _SOLVED:
                raise ConfigError(f"projection: CLARABEL finds no point ({status})")
        x = np.clip(np.asarray(self._x.value, np.float64), self.box.low, self.box.high)
        spread = np.einsum("jki,k->ji", roots, x)
        lengths = np.linalg.norm(spread, axis=1)
        excess = np.einsum("ji,i->j", means, x) + self._quantile * lengths - offsets
        multipliers = np.array([max(float(np.squeeze(row.dual_value)), 0.0) for row in held])
        # at L'x = 0 the norm has a kink, of which 0 is one slope
        slopes = means + self._quantile * np.einsum(
            "jik,jk->ji", roots, spread / np.where(lengths > 0.0, lengths, 1.0)[:, None]
        )
        push = multipliers @ slopes + _pull_of_bounds(self._inside, self.box)
        off = np.abs(x - point + push).max() / (1.0 + np.abs(push).max())
        slack = np.where(excess > _CHANCE_MET, excess, 0.0)
        return ChanceProjected(x, not slack.any(), slack, multipliers, float(off))


def _cvxpy() -> Any:
    """Return cvxpy, an extra."""
    try:
        return importlib.import_module("cvxpy")
    except ImportError as error:
        raise ConfigError("convex programs need cvxpy: pip install 'saferl[optimization]'") from error


def _solved(problem: Any, solver: str, options: dict[str, float]) -> str:
    """Solve and return the status."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "may be inaccurate" is the status
            problem.solve(solver=solver, warm_start=True, **options)
    except _cvxpy().SolverError as error:
        raise ConfigError(f"projection: {solver} fails: {error}") from error
    return str(problem.status)


def _inside(x: Any, box: Box) -> dict[str, Any]:
    """Return the conditions that x lies in the box, by side; bounds at infinity ask nothing."""
    low, high = np.isfinite(box.low), np.isfinite(box.high)
    conditions = {}
    if low.any():
        conditions["low"] = x[low] >= box.low[low]
    if high.any():
        conditions["high"] = x[high] <= box.high[high]
    return conditions


def _pull_of_bounds(inside: dict[str, Any], box: Box) -> FloatArray:
    """Return the multipliers (n,) of conditions of `_inside`, above 0 where `high` binds and below where `low` does."""
    found = np.zeros(box.size)
    for side, sign, bound in (("low", -1.0, box.low), ("high", 1.0, box.high)):
        if side in inside:
            found[np.isfinite(bound)] += sign * np.maximum(np.asarray(inside[side].dual_value, np.float64), 0.0)
    return found

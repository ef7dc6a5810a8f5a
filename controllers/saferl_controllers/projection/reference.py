"""The same projections as convex programs in cvxpy: the reference of the fast ones, and the form that takes more kinds of rows.

A program is compiled once for its sizes (disciplined parametrised programming), so later calls only rewrite numbers. It is a
hundred times slower than `projection.fast`; use it to check, or where rows are uncertain (`ChanceProjection`).
"""

from __future__ import annotations

import importlib
import warnings
from statistics import NormalDist
from typing import Any

import numpy as np

from saferl_controllers.projection.problem import Box
from saferl_envs.errors import ConfigError
from saferl_envs.signals import FloatArray

_SOLVED = ("optimal", "optimal_inaccurate")
_EXACT = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}


class ConvexProjection:
    """Projects one point at a time onto ``{G x <= h} inside a box``, relaxing rows where it must; see `projection.problem`.

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
        cp, n = _cvxpy(), self.box.size
        root = np.sqrt(np.ones(n) if self.box.weights is None else self.box.weights)
        price = np.sqrt(np.ones(rows) if slack_weights is None else np.asarray(slack_weights, np.float64))
        self._x, self._target = cp.Variable(n), cp.Parameter(n)
        self._rows, self._offsets = cp.Parameter((rows, n)), cp.Parameter(rows)
        excess = cp.Variable(rows, nonneg=True)
        inside = _inside(self._x, self.box)
        distance = cp.sum_squares(cp.multiply(root, self._x - self._target))
        self._closest = cp.Problem(cp.Minimize(distance), [*inside, self._rows @ self._x <= self._offsets])
        self._least = cp.Problem(
            cp.Minimize(cp.sum_squares(cp.multiply(price, excess))), [*inside, self._rows @ self._x - excess <= self._offsets]
        )
        self._excess = excess

    def __call__(self, point: FloatArray, rows: FloatArray, offsets: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the projection (n,) and the slack (m,) of a point (n,), for rows (m, n) and offsets (m,).

        Raises:
            ConfigError: The solver fails.
        """
        self._target.value, self._rows.value, self._offsets.value = point, rows, offsets
        if self._solve(self._closest) in _SOLVED:
            return self._point(), np.zeros(len(offsets))
        if self._solve(self._least) not in _SOLVED:
            raise ConfigError(f"projection: {self.solver} finds no least excess ({self._least.status})")
        slack = np.maximum(np.asarray(self._excess.value, np.float64), 0.0)
        # room for the solver's own error: the relaxed set may be a single point
        self._offsets.value = offsets + slack + 1e-9
        if self._solve(self._closest) not in _SOLVED:
            raise ConfigError(f"projection: {self.solver} fails on the relaxed rows ({self._closest.status})")
        return self._point(), slack

    def _solve(self, problem: Any) -> str:
        options = _EXACT if self.solver == "CLARABEL" else {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # "may be inaccurate" is the status
                problem.solve(solver=self.solver, warm_start=True, **options)
        except _cvxpy().SolverError as error:
            raise ConfigError(f"projection: {self.solver} fails: {error}") from error
        return str(problem.status)

    def _point(self) -> FloatArray:
        found: FloatArray = np.clip(np.asarray(self._x.value, np.float64), self.box.low, self.box.high)
        return found


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
        spread = [NormalDist().inv_cdf(level) * cp.norm(root.T @ self._x) for root in self._roots]
        held = [self._means[j] @ self._x + spread[j] <= self._offsets[j] + self._slack[j] for j in range(rows)]
        cost = 0.5 * cp.sum_squares(self._x - self._target) + slack_price * cp.sum(self._slack)
        self._problem = cp.Problem(cp.Minimize(cost), [*_inside(self._x, self.box), *held])

    def __call__(
        self, point: FloatArray, means: FloatArray, roots: FloatArray, offsets: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the projection (n,) and the slack (m,).

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
        try:
            self._problem.solve(solver="CLARABEL")
        except _cvxpy().SolverError as error:
            raise ConfigError(f"projection: CLARABEL fails: {error}") from error
        if self._problem.status not in _SOLVED:
            raise ConfigError(f"projection: CLARABEL finds no point ({self._problem.status})")
        slack: Any = np.maximum(np.asarray(self._slack.value, np.float64), 0.0)
        return np.clip(np.asarray(self._x.value, np.float64), self.box.low, self.box.high), slack


def _cvxpy() -> Any:
    """Return cvxpy, an extra."""
    try:
        return importlib.import_module("cvxpy")
    except ImportError as error:
        raise ConfigError("convex programs need cvxpy: pip install 'saferl[optimization]'") from error


def _inside(x: Any, box: Box) -> list[Any]:
    """Return the conditions that x lies in the box; bounds at infinity ask nothing."""
    low, high = np.isfinite(box.low), np.isfinite(box.high)
    conditions = []
    if low.any():
        conditions.append(x[low] >= box.low[low])
    if high.any():
        conditions.append(x[high] <= box.high[high])
    return conditions

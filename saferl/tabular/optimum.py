"""The optimum of a constrained Markov decision process and its multipliers, by linear programming (Altman 1999).

Over occupancies ``d(s, a) >= 0`` the problem is linear::

    max <r, d>   s.t.   sum_a d(s', a) = (1 - gamma) rho(s') + gamma sum_{s, a} P(s' | s, a) d(s, a),   <c_i, d> <= theta_i
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from saferl.tabular.cmdp import CMDP, Array
from saferl_envs.errors import ConfigError


@dataclass(frozen=True)
class Optimum:
    """Solution of the linear program.

    Attributes:
        returns: (1 + N,) of reward and costs.
        multipliers: (N,) prices of the constraints, not negative.
        policy: (S, A); uniform in states that the optimum never visits.
        occupancy: (S, A).
    """

    returns: Array
    multipliers: Array
    policy: Array
    occupancy: Array


def solve(cmdp: CMDP) -> Optimum:
    """Return the optimum.

    Raises:
        ConfigError: cvxpy is not installed, or no policy meets the thresholds.
    """
    try:
        cp: Any = importlib.import_module("cvxpy")
    except ImportError as error:
        raise ConfigError("linear programs need cvxpy: pip install cvxpy") from error
    occupancy = cp.Variable((cmdp.states, cmdp.actions), nonneg=True)
    inflow = cmdp.gamma * cmdp.transitions.reshape(-1, cmdp.states).T @ cp.vec(occupancy, order="C")
    flow = cp.sum(occupancy, axis=1) == (1.0 - cmdp.gamma) * cmdp.initial + inflow
    limits = [cp.sum(cp.multiply(cost, occupancy)) <= limit for cost, limit in zip(cmdp.costs, cmdp.thresholds, strict=True)]
    problem = cp.Problem(cp.Maximize(cp.sum(cp.multiply(cmdp.reward, occupancy))), [flow, *limits])
    problem.solve(solver=cp.CLARABEL)
    if problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
        raise ConfigError(f"{cmdp.name}: no policy meets the thresholds {cmdp.thresholds.tolist()} ({problem.status})")
    found = np.maximum(np.asarray(occupancy.value), 0.0)
    visited = found.sum(axis=1, keepdims=True)
    policy = np.where(visited > 1e-9, found / np.maximum(visited, 1e-12), 1.0 / cmdp.actions)
    returns = np.einsum("ksa,sa->k", cmdp.rewards, found)
    prices = np.array([float(np.asarray(limit.dual_value)) for limit in limits])
    return Optimum(returns, prices, policy, found)

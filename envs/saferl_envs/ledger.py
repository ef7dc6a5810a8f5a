"""The ledger of a wrapped environment: per-step costs charged to each copy's episode, and the info that says so."""

from __future__ import annotations

import numpy as np

from saferl_envs.constraints import ConstraintSet, Evaluation
from saferl_envs.info import Info
from saferl_envs.signals import FloatArray, IntArray


class Ledger:
    """Running costs of N copies.

    Args:
        constraints: The constraints that are evaluated.
        num_envs: N.

    Attributes:
        episode_cost: (N,) running sum over the present episode.
    """

    def __init__(self, constraints: ConstraintSet, num_envs: int) -> None:
        self._constraints = constraints
        self._limited = np.flatnonzero(constraints.limited)
        self.episode_cost: FloatArray = np.zeros(num_envs)

    def charge(self, evaluation: Evaluation, ids: IntArray) -> FloatArray:
        """Charge a step to some copies' episodes; return the cost (N,) over the constraints that have a cost limit."""
        cost = np.zeros(len(self.episode_cost))
        # one by one, as the engine does: a reduction may add in another order
        for c in self._limited:
            cost += evaluation.costs[:, c]
        self.episode_cost[ids] += cost[ids]
        return cost

    def step_info(self, evaluation: Evaluation, cost: FloatArray) -> Info:
        """Return what `saferl_envs.info` says of a step, each entry with a leading axis N."""
        info: Info = {
            "constraint_values": evaluation.values,
            "constraint_costs": evaluation.costs,
            "constraint_violation": evaluation.violated.astype(np.int8),
            "cost": cost,
            "episode_cost": self.episode_cost.copy(),
        }
        for c, name in enumerate(self._constraints.names):
            info[f"cost_{name}"] = evaluation.costs[:, c].copy()
        return info

    def reset_info(self, values: FloatArray) -> Info:
        """Return the info of a reset: the present values (N, K), and zero for everything a step would have brought."""
        zeros = np.zeros((len(values), len(self._constraints)))
        return self.step_info(Evaluation(values, zeros, zeros > 0), np.zeros(len(values))) | {
            "episode_cost": np.zeros(len(values))
        }

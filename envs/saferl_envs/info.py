"""The `info` of every face: the same keys with fixed shapes in every step and every reset."""

from __future__ import annotations

from typing import Any

import numpy as np

from saferl_envs.constraints import ConstraintSet
from saferl_envs.copies import Copies, Transition
from saferl_envs.signals import IntArray

Info = dict[str, Any]


def step_info(constraints: ConstraintSet, transition: Transition) -> Info:
    """Return the info of a step for N copies, each entry with a leading axis N.

    Keys: ``constraint_values`` (N, K), ``constraint_costs`` (N, C), ``constraint_violation`` (N, C) of 0 and 1,
    ``cost_<name>`` (N,), ``cost`` (N,), ``episode_cost`` (N,), ``diverged`` (N,), ``reward_<term>`` (N,),
    and the step's extras.
    """
    info: Info = {
        "constraint_values": transition.values,
        "constraint_costs": transition.costs,
        "constraint_violation": transition.violated.astype(np.int8),
        "cost": transition.cost,
        "episode_cost": transition.episode_cost,
        "diverged": transition.diverged,
    }
    for i, name in enumerate(constraints.names):
        info[f"cost_{name}"] = transition.costs[:, i]
    for name, term in transition.reward_terms.items():
        info[f"reward_{name}"] = term
    info.update(transition.extras)
    return info


def reset_info(engine: Copies, ids: IntArray | None = None) -> Info:
    """Return the info of a reset of all copies or of some: constraint values, and zero for what a step would have brought."""
    n, constraints = engine.num_envs if ids is None else len(ids), engine.constraints
    info: Info = {
        "constraint_values": engine.values(ids),
        "constraint_costs": np.zeros((n, len(constraints))),
        "constraint_violation": np.zeros((n, len(constraints)), np.int8),
        "cost": np.zeros(n),
        "episode_cost": np.zeros(n),
        "diverged": np.zeros(n, np.bool_),
    }
    for name in constraints.names:
        info[f"cost_{name}"] = np.zeros(n)
    for name in engine.reward_names:
        info[f"reward_{name}"] = np.zeros(n)
    for name, shape in engine.extras.items():
        info[name] = np.zeros((n, *shape))
    return info


def row(info: Info, i: int) -> Info:
    """Return the info of one copy: arrays without the leading axis, scalars as Python numbers."""
    return {key: value[i].item() if value.ndim == 1 else value[i].copy() for key, value in info.items()}

"""The recovery-rate condition of chance-constraint safeguards on tables, where critics are exact.

Chen et al. 2023 (ACS, arXiv 2310.03379); see `saferl.algorithms.acs`. With u(s) the discounted share of violating steps under
the guarded policy, a safeguard allows in state s the actions with::

    E[u(s') | s, a] <= (1 - alpha) u(s) + alpha delta

Where every visited state has such an action, ``E[u(s_t)] - delta`` shrinks by 1 - alpha per step while it is positive and stays
below zero once it is not: {u <= delta} is invariant in expectation. Where a state has none, the action of least risk is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from saferl.tabular.cmdp import CMDP, Array

Actions = np.ndarray[Any, np.dtype[np.int64]]
POSITION, SPEED, ACCELERATION, BOUND = 1.5, 1.2, 1.0, 1.0
"""Of the double integrator: ranges of the table, and the position beyond which a step violates."""


class Guarded(NamedTuple):
    """A nominal policy behind a safeguard, with the critic that the safeguard goes by.

    Attributes:
        actions: (S,) what is executed.
        feasible: (S,) whether the critic finds an action that meets the condition.
        risk: (S,) u, exact, of what is executed.
        excess: (S,) by how much what is executed misses the condition with the exact u; negative where it has room.
    """

    actions: Actions
    feasible: np.ndarray[Any, np.dtype[np.bool_]]
    risk: Array
    excess: Array


def double_integrator(positions: int = 31, speeds: int = 21, pushes: int = 9, step: float = 0.1, gamma: float = 0.97) -> CMDP:
    """A mass on a rail, pushed; between the points of the table it is at each of the neighbours with a probability.

    Its cost is 1 where the position is beyond +-1. It begins at rest in the middle.
    """
    x, v = np.linspace(-POSITION, POSITION, positions), np.linspace(-SPEED, SPEED, speeds)
    a = np.linspace(-ACCELERATION, ACCELERATION, pushes)
    at, speed, push = (grid.reshape(-1, pushes) for grid in np.meshgrid(x, v, a, indexing="ij"))
    states = positions * speeds
    transitions = np.zeros((states, pushes, states))
    reached = np.clip(at + step * speed + 0.5 * step**2 * push, -POSITION, POSITION)
    faster = np.clip(speed + step * push, -SPEED, SPEED)
    row, row_share = _between(reached, POSITION, positions)
    column, column_share = _between(faster, SPEED, speeds)
    s, k = np.indices(row.shape)
    for i, i_share in ((row, 1.0 - row_share), (row + 1, row_share)):
        for j, j_share in ((column, 1.0 - column_share), (column + 1, column_share)):
            np.add.at(transitions, (s, k, i * speeds + j), i_share * j_share)
    cost = (np.abs(at) > BOUND).astype(np.float64)
    initial = np.zeros(states)
    initial[positions // 2 * speeds + speeds // 2] = 1.0
    return CMDP(transitions, at, [cost], [0.0], initial, gamma, "double integrator")


def reckless(positions: int = 31, speeds: int = 21, pushes: int = 9) -> Actions:
    """Return the actions (S,) of someone who heads for a place beyond the bound and stays there."""
    x, v = np.linspace(-POSITION, POSITION, positions), np.linspace(-SPEED, SPEED, speeds)
    a = np.linspace(-ACCELERATION, ACCELERATION, pushes)
    wanted = 2.0 * (1.3 * BOUND - x[:, np.newaxis]) - 1.5 * v
    nearest: Actions = np.abs(wanted.reshape(-1, 1) - a).argmin(axis=1)
    return nearest


def guards(
    problem: CMDP, nominal: Actions, alpha: float, tolerance: float, rounds: int = 4000, every: int = 200, rate: float = 0.05
) -> Iterator[Guarded]:
    """Iterate critic and safeguard, which depend on each other, and yield what that gives now and then.

    The critic moves a share of the way to its Bellman target under the guarded policy per round, as slow targets do. It need
    not come to rest: at large alpha a critic that has become safe admits what made it unsafe.

    Args:
        problem: Its first cost is what violates.
        nominal: (S,) actions that are proposed; the closest that is allowed is executed.
        alpha: Recovery rate, in (0, 1].
        tolerance: delta.
        rounds: Of the iteration.
        every: Rounds between what is yielded.
        rate: Share of the way to the target per round.
    """
    cost, states = problem.costs[0], np.arange(problem.states)
    distance = np.abs(np.arange(problem.actions) - nominal[:, np.newaxis])
    flat = problem.transitions.reshape(-1, problem.states)
    risk = cost.max(axis=1)
    for number in range(1, rounds + 1):
        after = (flat @ risk).reshape(distance.shape)
        allowed = after <= ((1.0 - alpha) * risk + alpha * tolerance)[:, np.newaxis] + 1e-12
        feasible = allowed.any(axis=1)
        actions = np.where(feasible, np.where(allowed, distance, problem.actions).argmin(axis=1), after.argmin(axis=1))
        if number % every == 0:
            exact = problem.values(np.eye(problem.actions)[actions]).v[1]
            drift = problem.transitions[states, actions] @ exact
            yield Guarded(actions, feasible, exact, drift - (1.0 - alpha) * exact - alpha * tolerance)
        risk = risk + rate * ((1.0 - problem.gamma) * cost[states, actions] + problem.gamma * after[states, actions] - risk)


def violating(problem: CMDP, actions: Actions, steps: int = 1000) -> float:
    """Return the share of violating steps from the problem's first state on."""
    every = np.arange(problem.states)
    step, cost = problem.transitions[every, actions], problem.costs[0][every, actions]
    chances, total = problem.initial, 0.0
    for _ in range(steps):
        total += float(chances @ cost)
        chances = chances @ step
    return total / steps


def _between(values: Array, limit: float, points: int) -> tuple[Actions, Array]:
    """Return the point of a grid below each value, and how far it is on the way to the next."""
    scaled = (values + limit) / (2.0 * limit) * (points - 1)
    below = np.clip(scaled.astype(np.int64), 0, points - 2)
    return below, scaled - below

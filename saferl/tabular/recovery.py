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
from scipy.sparse import csr_array

from saferl.tabular.cmdp import CMDP, Array

_ROUNDING = 1e-12
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


class Mixed(NamedTuple):
    """A nominal policy behind a safeguard that acts in turn as many do.

    Attributes:
        policy: (S, A) shares of what is executed.
        feasible: (S,) whether, by the exact risk, an action meets the condition.
        risk: (S,) u, exact, of this policy.
        excess: (S,) by how much it misses the condition with that; negative where it has room.
    """

    policy: Array
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


def fixed(problem: CMDP, actions: Actions) -> Array:
    """Return the policy (S, A) that takes actions (S,)."""
    policy: Array = np.eye(problem.actions)[actions]
    return policy


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
    for number, (actions, feasible) in enumerate(_iterated(problem, nominal, alpha, tolerance, rounds, rate), start=1):
        if number % every == 0:
            exact, excess, _ = _judged(problem, fixed(problem, actions), alpha, tolerance)
            yield Guarded(actions, feasible, exact, excess)


def mixed_guard(
    problem: CMDP, nominal: Actions, alpha: float, tolerance: float, rounds: int = 4000, rate: float = 0.05
) -> Mixed:
    """Iterate as `guards` does, and return the policy that acts as the rounds of the second half do, in turn.

    Where single rounds swing between what is safe and what is not, this is what they come to: the share of rounds that admit
    an action is what the critic, which sees all of them, allows.
    """
    shares = np.zeros((problem.states, problem.actions))
    for number, (actions, _) in enumerate(_iterated(problem, nominal, alpha, tolerance, rounds, rate), start=1):
        if number > rounds // 2:
            shares[np.arange(problem.states), actions] += 1.0
    policy = shares / shares.sum(axis=1, keepdims=True)
    exact, excess, least = _judged(problem, policy, alpha, tolerance)
    return Mixed(policy, least <= _ROUNDING, exact, excess)


def _iterated(
    problem: CMDP, nominal: Actions, alpha: float, tolerance: float, rounds: int, rate: float
) -> Iterator[tuple[Actions, np.ndarray[Any, np.dtype[np.bool_]]]]:
    """Yield every round's actions (S,), and where the critic finds one that meets the condition."""
    cost, states = problem.costs[0], np.arange(problem.states)
    distance = np.abs(np.arange(problem.actions) - nominal[:, np.newaxis])
    flat = csr_array(problem.transitions.reshape(-1, problem.states))
    risk = cost.max(axis=1)
    for _ in range(rounds):
        after = (flat @ risk).reshape(distance.shape)
        allowed = after <= ((1.0 - alpha) * risk + alpha * tolerance)[:, np.newaxis] + _ROUNDING
        feasible = allowed.any(axis=1)
        actions = np.where(feasible, np.where(allowed, distance, problem.actions).argmin(axis=1), after.argmin(axis=1))
        yield actions, feasible
        risk = risk + rate * ((1.0 - problem.gamma) * cost[states, actions] + problem.gamma * after[states, actions] - risk)


def _judged(problem: CMDP, policy: Array, alpha: float, tolerance: float) -> tuple[Array, Array, Array]:
    """Return a policy's exact risk (S,), by how much it misses the condition with that, and by how much every action does."""
    exact = problem.values(policy).v[1]
    after = problem.transitions @ exact
    bound = (1.0 - alpha) * exact + alpha * tolerance
    return exact, np.einsum("sa,sa->s", policy, after) - bound, after.min(axis=1) - bound


def violating(problem: CMDP, policy: Array, steps: int = 1000) -> float:
    """Return a policy's (S, A) share of violating steps from the problem's first state on."""
    step, cost = np.einsum("sa,sat->st", policy, problem.transitions), (policy * problem.costs[0]).sum(axis=1)
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

"""The recovery-rate condition on tables: what it promises holds, and where the iteration of guard and critic does not rest."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, pairwise

import numpy as np
import pytest
from saferl.tabular.recovery import double_integrator, fixed, guards, mixed_guard, reckless, violating

GRID = (21, 15, 5)
TOLERANCE = 0.02


def test_what_is_guarded_violates_nearly_always_and_probabilities_move_the_mass() -> None:
    problem, nominal = double_integrator(*GRID), reckless(*GRID)
    assert violating(problem, fixed(problem, nominal)) > 0.9
    positions = problem.reward[:, 0]
    from_rest = problem.transitions[np.argmax(problem.initial)]
    assert positions @ problem.initial == 0.0
    # 0.5 t^2 a within 0.1 s, a in [-1, 1]: neighbours are weighted so that means are exact
    assert from_rest @ positions == pytest.approx(0.005 * np.linspace(-1.0, 1.0, GRID[2]))


@pytest.mark.parametrize("alpha", [0.1, 0.05])
def test_who_begins_below_the_tolerance_stays_there(alpha: float, record_property: Callable[[str, object], None]) -> None:
    problem = double_integrator(*GRID)
    last = list(guards(problem, reckless(*GRID), alpha, TOLERANCE))[-1]
    assert last.excess[last.feasible].max() <= 1e-9
    step = problem.transitions[np.arange(problem.states), last.actions]
    chances, risks = problem.initial, []
    for _ in range(500):
        risks.append(float(chances @ last.risk))
        chances = chances @ step
    record_property("measured", max(risks))
    assert max(risks) < TOLERANCE
    assert chances @ last.feasible > 0.95
    assert violating(problem, fixed(problem, last.actions)) < TOLERANCE


def test_a_small_recovery_rate_is_infeasible_less_often() -> None:
    problem = double_integrator(*GRID)
    shares = [
        np.mean([1.0 - found.feasible.mean() for found in islice(guards(problem, reckless(*GRID), alpha, TOLERANCE), 10, None)])
        for alpha in (1.0, 0.5, 0.2, 0.05)
    ]
    assert all(later < earlier for earlier, later in pairwise(shares))


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.1])
def test_rounds_in_turn_meet_the_condition_at_every_alpha(alpha: float) -> None:
    problem = double_integrator(*GRID)
    mixed = mixed_guard(problem, reckless(*GRID), alpha, TOLERANCE)
    np.testing.assert_allclose(mixed.policy.sum(axis=1), 1.0)
    assert 0.3 < mixed.feasible.mean() < 1.0
    assert mixed.excess[mixed.feasible].max() <= 1e-9

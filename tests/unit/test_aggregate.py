"""Statistics over runs: against scipy, against brute force, and the facts that a ranking must keep."""

import functools

import numpy as np
import pytest
from saferl.evaluation.aggregate import (
    Requirement,
    bootstrap,
    excess,
    feasible_first,
    improvement,
    improvement_interval,
    iqm,
    normalise,
    pooled_iqm,
    pooled_mean,
)
from saferl.evaluation.statistics import _misses
from scipy import stats

from saferl_envs.constraints import JointVelocity


@pytest.mark.parametrize("n", range(1, 25))
def test_iqm_is_scipys_trimmed_mean(n):
    samples = np.random.default_rng(n).normal(size=(3, n))
    assert iqm(samples) == pytest.approx(stats.trim_mean(samples, 0.25, axis=1), rel=1e-12)
    assert float(iqm(samples[0])) == pytest.approx(stats.trim_mean(samples[0], 0.25), rel=1e-12)


def test_one_outlier_does_not_move_the_iqm():
    assert float(iqm([1.0, 2.0, 3.0, 4.0])) == float(iqm([1.0, 2.0, 3.0, 1e9])) == 2.5


@pytest.mark.parametrize("seed", range(10))
def test_improvement_is_mann_and_whitneys_u(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 6, rng.integers(1, 9)), rng.integers(0, 6, rng.integers(1, 9))  # with ties
    u = stats.mannwhitneyu(x, y, method="asymptotic").statistic
    assert float(improvement([x], [y])) == pytest.approx(u / (len(x) * len(y)), abs=1e-12)


def test_improvement_is_the_mean_over_tasks_and_either_way_adds_to_one():
    rng = np.random.default_rng(0)
    x, y = [rng.normal(size=5), rng.normal(size=3)], [rng.normal(size=4), rng.normal(size=6)]
    each = [float(improvement([a], [b])) for a, b in zip(x, y, strict=True)]
    assert float(improvement(x, y)) == pytest.approx(np.mean(each))
    assert float(improvement(x, y)) + float(improvement(y, x)) == pytest.approx(1)
    assert float(improvement(x, x)) == pytest.approx(0.5)
    low, high = improvement_interval(x, y)
    assert 0 <= low <= float(improvement(x, y)) <= high <= 1


def test_the_bootstrap_is_that_of_a_loop_over_strata():
    strata = [np.array([1.0, 5.0, 2.0, 8.0]), np.array([100.0, 101.0, 90.0])]
    rng = np.random.default_rng(3)
    drawn = [rng.integers(0, len(s), (500, len(s))) for s in strata]
    found = [stats.trim_mean(np.concatenate([s[i[r]] for s, i in zip(strata, drawn, strict=True)]), 0.25) for r in range(500)]
    assert bootstrap(strata, pooled_iqm, seed=3, resamples=500) == pytest.approx(tuple(np.quantile(found, [0.025, 0.975])))


def test_resampling_stays_inside_a_stratum():
    """Runs of a task never stand in for those of another: constant strata leave nothing to chance."""
    assert bootstrap([np.full(3, 1.0), np.full(3, 9.0)], pooled_mean) == (5.0, 5.0)


def test_one_run_has_no_interval():
    assert bootstrap([[3.0]], pooled_mean) is None
    assert bootstrap([[3.0], [4.0]], pooled_mean) is None
    assert bootstrap([[3.0], [4.0, 5.0]], pooled_mean) is not None


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        low, high = bootstrap([rng.normal(size=25)], pooled_mean, resamples=300)
        covered += low <= 0 <= high
    assert 0.88 <= covered / 300 <= 0.98


@pytest.mark.parametrize("seed", range(5))
def test_feasible_first_is_the_order_of_its_definition(seed):
    rng = np.random.default_rng(seed)
    returns, missed = rng.integers(-3, 4, 40).astype(float), rng.integers(-2, 3, 40) / 2

    def compare(i, j):
        """A feasible one beats every other; then the return decides, or the smaller excess."""
        if (missed[i] <= 0) != (missed[j] <= 0):
            return 1 if missed[i] <= 0 else -1
        a, b = (returns[i], returns[j]) if missed[i] <= 0 else (-missed[i], -missed[j])
        return int(a > b) - int(a < b)

    ranks = feasible_first(returns, missed)
    assert ranks.shape == (40,)
    for i in range(40):
        for j in range(40):
            assert np.sign(ranks[i] - ranks[j]) == compare(i, j)
    by_rank = sorted(range(40), key=functools.cmp_to_key(compare))
    assert list(ranks[by_rank]) == sorted(ranks)


def test_a_higher_return_does_not_buy_feasibility():
    assert list(feasible_first([10.0, 1e6, 11.0, 1e6], [0.0, 1e-9, -5.0, 3.0])) == [2, 1, 3, 0]


@pytest.mark.parametrize("sense", ["<=", ">=", "=="])
@pytest.mark.parametrize("limit", [0.5, 25.0])
def test_excess_is_that_of_an_evaluation(sense, limit):
    constraint = JointVelocity(name="v", limit=1.0, cost_limit=limit, sense=sense)
    costs = np.array([0.0, 0.97 * limit, limit, 1.2 * limit, 60.0])
    assert excess(costs, limit, sense) == pytest.approx(_misses(constraint, costs), abs=1e-15)


def test_requirements_hold_up_to_their_bound():
    assert Requirement("speed", "cost", 25.0).excess([24.0, 25.0, 50.0]).tolist() == [-0.04, 0.0, 1.0]
    assert Requirement("speed", "cost", 25.0, ">=").excess(50.0) == -1.0
    assert Requirement("rate", "rate", 0.02).excess([0.02, 0.04]).tolist() == [0.0, 1.0]
    assert Requirement("rate", "rate", 0.02).column == "rate_rate"


def test_normalised_returns_grow_with_the_return_whatever_its_sign():
    assert normalise([0.0, 50.0, 100.0, 200.0], 100.0).tolist() == [0.0, 0.5, 1.0, 2.0]
    assert normalise([-200.0, -100.0], -200.0).tolist() == [1.0, 1.5]

"""Evaluation against brute force, intervals against theory, feasibility against its definition."""

import dataclasses

import numpy as np
import pytest
from saferl.evaluation.report import mean_and_interval
from saferl.evaluation.rollout import Episodes, join, play
from saferl.evaluation.statistics import bootstrap_interval, rank, summarize

from saferl_envs.engine import Engine
from toys import Slider


def test_played_episodes_equal_one_by_one():
    def policy(observation):
        return 3.0 * observation[:, :1]

    together = play(Engine(Slider(), 6), policy, seed=11)
    for i in range(6):
        engine = Engine(Slider(), 1)
        engine.seed([11 + i])
        engine.reset()
        total, steps, cost, violating, worst = 0.0, 0, np.zeros(2), np.zeros(2), np.full(2, -np.inf)
        observation = engine.observe()
        while True:
            t = engine.step(np.clip(policy(observation), -1, 1))
            observation = t.observation
            total, steps = total + t.reward[0], steps + 1
            cost, violating, worst = cost + t.costs[0], violating + (t.values[0] > 0), np.maximum(worst, t.values[0])
            if t.terminated[0] or t.truncated[0]:
                break
        assert together.returns[i] == total
        assert together.lengths[i] == steps
        np.testing.assert_array_equal(together.costs[i], cost)
        np.testing.assert_array_equal(together.violating_steps[i], violating)
        np.testing.assert_array_equal(together.worst[i], worst)
    assert len(set(together.lengths.tolist())) > 1  # episodes did end at different times


def test_bootstrap_interval_is_that_of_the_mean():
    samples = np.random.default_rng(0).normal(3.0, 2.0, 400)
    low, high = bootstrap_interval(samples)
    half = 1.96 * samples.std() / 20
    assert low == pytest.approx(samples.mean() - half, abs=0.03)
    assert high == pytest.approx(samples.mean() + half, abs=0.03)


def episodes(cost, violating, returns=(1.0, 3.0)):
    n = np.array
    terms = {"forward": n([1.0, 2.0]), "alive": n([1.0, 1.0])}
    return Episodes(n(returns), n([100, 100]), n(cost, float), n(violating), n([5, 10]), n([[0.1, -0.2], [0.4, -0.1]]), terms)


def constraints_of(sense="<=", cost_limit=5.0):
    speed, swing = Slider().constraints
    return Engine(Slider(), 1, constraints=(dataclasses.replace(speed, sense=sense, cost_limit=cost_limit), swing)).constraints


def test_summary_and_feasibility():
    constraints = constraints_of()  # speed: at most 5 per episode; swing: no cost limit
    summary = summarize(episodes([[4, 0], [6, 0]], [[4, 0], [6, 2]]), constraints, tolerance=0.01)
    assert summary["reward_terms"] == {"forward": 1.5, "alive": 1.0}
    assert summary["speed_mean"] == 1.5
    speed, swing = summary["constraints"]["speed"], summary["constraints"]["swing"]
    assert speed["cost_mean"] == 5.0
    assert speed["over_limit_rate"] == 0.5
    assert speed["worst_margin"] == pytest.approx(-0.4)
    assert swing["violation_rate"] == pytest.approx(0.01)
    assert swing["over_limit_rate"] is None
    assert summary["any_violation_rate"] == pytest.approx(15 / 200)
    assert summary["return_mean"] == 2.0
    assert summary["feasible"]
    assert not summarize(episodes([[4, 0], [6, 0]], [[4, 0], [6, 2]]), constraints, tolerance=0.005)["feasible"]
    over = summarize(episodes([[4, 0], [16, 0]], [[4, 0], [6, 2]]), constraints, tolerance=0.02)
    assert over["excess"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("sense", "costs", "over", "holds"),
    [
        ("<=", (4, 6), 0.5, True), ("<=", (6, 6), 1.0, False), (">=", (4, 6), 0.5, True), (">=", (4, 4), 1.0, False),
        ("==", (5, 5), 0.0, True), ("==", (4, 6), 1.0, True), ("==", (4, 4), 1.0, False),
    ],
)  # fmt: skip
def test_the_sense_of_a_constraint_decides(sense, costs, over, holds):
    summary = summarize(episodes([[costs[0], 0], [costs[1], 0]], [[0, 0], [0, 0]]), constraints_of(sense), tolerance=0.01)
    assert summary["constraints"]["speed"]["over_limit_rate"] == over
    assert summary["feasible"] is holds


@pytest.mark.parametrize("aggregate", ["sum", "mean", "discounted"])
def test_costs_are_aggregated_as_the_constraint_says(aggregate):
    speed = dataclasses.replace(Slider().constraints[0], aggregate=aggregate, cost="excess")
    engine = Engine(Slider(), 3, constraints=(speed,))
    found = play(engine, lambda seen: 3.0 * seen[:, :1], seed=2, gamma=0.9)
    for i in range(3):
        single = Engine(Slider(), 1, constraints=(speed,))
        single.seed([2 + i])
        single.reset()
        costs = []
        observation = single.observe()
        for _ in range(int(found.lengths[i])):
            t = single.step(np.clip(3.0 * observation[:, :1], -1, 1))
            observation = t.observation
            costs.append(t.costs[0, 0])
        discounted = sum(0.9**k * c for k, c in enumerate(costs))
        expected = {"sum": sum(costs), "mean": np.mean(costs), "discounted": discounted}[aggregate]
        assert found.costs[i, 0] == pytest.approx(expected, abs=1e-12)


def test_episodes_in_parts_equal_episodes_at_once():
    whole = play(Engine(Slider(), 5), lambda seen: 3.0 * seen[:, :1], seed=0)
    first = play(Engine(Slider(), 3), lambda seen: 3.0 * seen[:, :1], seed=0)
    second = play(Engine(Slider(), 2), lambda seen: 3.0 * seen[:, :1], seed=3)
    for name in ("returns", "costs", "worst", "lengths"):
        np.testing.assert_array_equal(getattr(join([first, second]), name), getattr(whole, name))


def test_the_tasks_outcomes_are_means_over_the_episodes_they_apply_to():
    one = episodes([[1, 0]] * 2, [[0, 0]] * 2)
    first = dataclasses.replace(
        one, outcomes={"far": np.array([1.0, 0.0]), "far/up": np.array([1.0, np.nan]), "far/down": np.full(2, np.nan)}
    )
    second = dataclasses.replace(
        one, outcomes={"far": np.array([1.0, 1.0]), "far/up": np.array([0.0, 0.0]), "far/down": np.full(2, np.nan)}
    )
    found = summarize(join([first, second]), constraints_of(), tolerance=0.01)["task"]
    assert found == {"far": 0.75, "far/up": pytest.approx(1 / 3)}


def test_ranking_puts_feasible_first_and_nan_last():
    constraints = constraints_of()

    def of(cost, returns):
        return rank(summarize(episodes([[cost, 0]] * 2, [[0, 0]] * 2, returns), constraints, tolerance=0.01))

    order = [of(1, (np.nan, 1)), of(90, (99, 99)), of(6, (0, 0)), of(5, (1, 1)), of(4, (2, 2))]
    assert order == sorted(order)
    assert len(set(order)) == 5


def test_style_does_not_decide_whether_a_policy_is_feasible():
    speed, swing = Slider().constraints
    limited = dataclasses.replace(speed, sense="<=", cost_limit=5.0)
    found = []
    for kind in ("style", "soft"):
        constraints = Engine(Slider(), 1, constraints=(limited, dataclasses.replace(swing, kind=kind))).constraints
        found.append(summarize(episodes([[4, 0], [6, 0]], [[4, 60], [6, 60]]), constraints, tolerance=0.01)["feasible"])
    assert found == [True, False]


def test_small_costs_keep_their_digits_in_reports():
    assert mean_and_interval(0.0821, (0.0790, 0.0852)) == "0.0821 [0.0790, 0.0852]"
    assert mean_and_interval(2897.94, (2895.1, 2900.6)) == "2897.9 [2895.1, 2900.6]"
    assert mean_and_interval(0.0, (0.0, 0.0)) == "0.0 [0.0, 0.0]"

"""Evaluation against brute force, intervals against theory, feasibility against its definition."""

import numpy as np
import pytest
from saferl.evaluation.rollout import Episodes, play
from saferl.evaluation.statistics import bootstrap_interval, excess, feasible, summarize

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


def episodes(cost, violating, lengths=(100, 100)):
    n = np.array
    return Episodes(
        n([1.0, 3.0]), n(lengths), n(cost, float), n(violating), n([5, 10]), n([[0.1, -0.2], [0.4, -0.1]]), n([np.nan, np.nan])
    )


def test_summary_and_feasibility():
    constraints = Engine(Slider(), 1).constraints  # speed: at most 5 a episode; swing: no cost limit
    summary = summarize(episodes([[4, 0], [6, 0]], [[4, 0], [6, 2]]), constraints)
    speed, swing = summary["constraints"]["speed"], summary["constraints"]["swing"]
    assert speed["cost_mean"] == 5.0
    assert speed["over_limit_rate"] == 0.5
    assert speed["worst_margin"] == pytest.approx(-0.4)
    assert swing["violation_rate"] == pytest.approx(0.01)
    assert swing["over_limit_rate"] is None
    assert summary["any_violation_rate"] == pytest.approx(15 / 200)
    assert summary["return_mean"] == 2.0
    assert feasible(summary, constraints, tolerance=0.01)
    assert not feasible(summary, constraints, tolerance=0.005)
    over = summarize(episodes([[4, 0], [16, 0]], [[4, 0], [6, 2]]), constraints)
    assert excess(over, constraints, tolerance=0.02) == pytest.approx(1.0)

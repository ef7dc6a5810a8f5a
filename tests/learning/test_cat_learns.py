"""Slow: policies are trained. CaT keeps the limits that plain PPO breaks, and still does the task."""

import pytest
from saferl.experiment.config import load_config
from saferl.experiment.evaluate import evaluate
from saferl.experiment.train import train

OPTIONS = ["--seed", "7", "--evaluation.times", "0", "--video.seconds", "0", "--threads", "1"]


@pytest.mark.slow
def test_cat_keeps_the_cart_and_the_pole_within_limits(tmp_path):
    reports = {}
    for method in ("ppo", "cat"):
        train(load_config(f"{method}/cartpole_balance", OPTIONS), tmp_path / method)
        reports[method] = evaluate(tmp_path / method, episodes=20, which="last")
    assert reports["ppo"]["deterministic"]["any_violation_rate"] > 0.3
    for policy in ("deterministic", "stochastic"):
        assert reports["cat"][policy]["any_violation_rate"] < 0.02
    assert reports["cat"]["feasible"]
    assert reports["cat"]["return_mean"] > 200  # of 500 steps with at most 1 each; standing still brings 250 at most

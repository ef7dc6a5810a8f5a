"""Costs that a method learns from: other shapes and margins of what a constraint measures."""

from __future__ import annotations

import numpy as np
import pytest
from saferl.experiment.build import make_copies
from saferl.experiment.config import build_config
from saferl.learned_costs import LearnedCosts

from saferl_envs.constraints import AxisSpeed, ConstraintSet, JointVelocity
from saferl_envs.errors import ConfigError
from saferl_envs.signals import SignalInfo

JOINTS = ("hip", "knee")
OFFERS = {"joint_velocity": SignalInfo(JOINTS, "rad/s"), "base_velocity": SignalInfo(("x", "y", "z"), "m/s")}
CONSTRAINTS = ConstraintSet(
    (JointVelocity(name="joint_speed", limit=2.0, cost_limit=9.0), AxisSpeed(name="speed", limit=1.0, cost_limit=25.0)), OFFERS
)
SPECS = CONSTRAINTS.to_specs()


def test_the_learned_cost_is_that_of_a_constraint_with_that_shape_and_a_stricter_limit():
    rng = np.random.default_rng(0)
    signals = {"joint_velocity": rng.normal(0, 2, (40, 2)), "base_velocity": rng.normal(0, 2, (40, 3))}
    measured = CONSTRAINTS.evaluate(signals)
    learned = LearnedCosts(SPECS, {"speed": "excess"}, {"speed": 0.25, "joint_speed": 0.5}, {"speed": 3.0})
    stricter = ConstraintSet(
        (JointVelocity(name="joint_speed", limit=1.5), AxisSpeed(name="speed", limit=0.75, cost="excess")), OFFERS
    )
    found = learned.replace(measured.costs.reshape(5, 8, 2), measured.values.reshape(5, 8, 3), CONSTRAINTS)
    np.testing.assert_allclose(found.reshape(40, 2), stricter.evaluate(signals).costs, rtol=0, atol=1e-12)
    assert (found.reshape(40, 2) != measured.costs).any()


def test_nothing_asked_for_changes_nothing():
    learned = LearnedCosts(SPECS, {}, {}, {"speed": 3.0})
    costs = np.ones((2, 3, 2))
    assert not learned
    assert learned.replace(costs, np.zeros((2, 3, 3)), CONSTRAINTS) is costs


@pytest.mark.parametrize(
    ("shapes", "margins", "limits", "message"),
    [
        ({"sped": "excess"}, {}, {"sped": 1.0}, "method.cost_shapes: unknown constraint 'sped'"),
        ({}, {"sped": 0.1}, {}, "method.margins: unknown constraint 'sped'"),
        ({}, {}, {"sped": 0.1}, "method.cost_limits: unknown constraint 'sped'"),
        ({"speed": "cubed"}, {}, {"speed": 1.0}, "cost shape 'cubed'"),
        ({"speed": "excess"}, {}, {}, "give method.cost_limits.speed"),
        ({}, {"posture": 0.1}, {}, "'posture' has no cost limit"),
        ({}, {"touch": 0.1}, {"touch": 1.0}, "not for this forbidden_contact constraint"),
        ({}, {"at_least": 0.1}, {}, "not for this axis_speed constraint"),
        ({}, {"straight": 0.1}, {"straight": 1.0}, "not for this base_tilt constraint"),
        ({}, {"speed": float("nan")}, {}, "method.margins.speed: must be a finite number"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(shapes, margins, limits, message):
    others = [
        {"family": "base_tilt", "name": "posture", "limit": 0.1},
        {"family": "base_tilt", "name": "straight", "limit": 0.1, "when": [{"signal": "command", "above": 0.1}]},
        {"family": "forbidden_contact", "name": "touch", "limit": 1.0},
        {"family": "axis_speed", "name": "at_least", "limit": 1.0, "sense": ">=", "cost_limit": 5.0},
    ]
    with pytest.raises(ConfigError) as error:
        LearnedCosts([*SPECS, *others], shapes, margins, limits)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def configured(**method):
    return build_config(
        {
            "env": {"id": "saferl/HopperVelocity-v0", "num_envs": 4, "max_episode_steps": 15, "limits": {"speed": 0.1}},
            "method": {"name": "ppo_lag", "n_steps": 16, "batch_size": 32, "net_arch": [8], **method},
            "threads": 1,
        },
        "test",
    )


def model(config):
    from saferl.vec import ConstrainedVecEnv

    return config.method.build(ConstrainedVecEnv(make_copies(config, 4)), 0, "cpu")


def test_the_multiplier_sees_the_learned_cost_and_the_episode_keeps_the_measured_one():
    shaped = model(configured(cost_shapes={"speed": "excess"}, margins={"speed": 0.5}, cost_limits={"speed": 1.0}))
    shaped.learn(64)
    values = shaped.rollout_buffer.constraint_values[..., 0].astype(np.float64)
    lengths = list(shaped.recorder.episodes.lengths)
    expected = np.maximum(values + 0.5, 0).mean() * np.mean(lengths[-10:])
    assert expected > 0
    np.testing.assert_allclose(shaped.mean_costs(), [expected], rtol=1e-6)
    np.testing.assert_array_equal(shaped.rollout_buffer.costs[..., 0], values > 0)


def test_episode_estimates_and_discounted_sums_do_not_go_with_learned_costs():
    with pytest.raises(ConfigError, match=r"need method\.cost_estimate: rate"):
        model(configured(margins={"speed": 0.5}, cost_estimate="episodes"))
    config = configured(margins={"speed": 0.5})
    speed = {"family": "axis_speed", "name": "speed", "limit": 0.1, "cost_limit": 1.0, "aggregate": "discounted"}
    env = config.env.model_copy(update={"constraints": [speed], "limits": {}})
    with pytest.raises(ConfigError, match="no discounted aggregate"):
        model(config.model_copy(update={"env": env}))

"""The cart-pole's reward, by hand."""

import numpy as np
import pytest

from saferl_envs.errors import ConfigError
from saferl_envs.tasks.cart_pole import CartPoleBalance


def rewards(task, positions, angle=0.0, speed=0.0):
    signals = {
        "joint_position": np.array([[x, angle] for x in positions]),
        "joint_velocity": np.full((len(positions), 2), speed),
    }
    return task.reward(signals, {})


def test_the_target_term_falls_with_the_square_of_the_distance():
    found = rewards(CartPoleBalance(target=-2.0), [-2.0, -1.0, 0.0, 1.0, -3.0, -4.0, -5.0])
    np.testing.assert_allclose(found["target"], [0.5, 0.375, 0.0, 0.0, 0.375, 0.0, 0.0])
    np.testing.assert_allclose(found["upright"], 0.5)
    assert set(found) == {"upright", "target"}


def test_without_a_target_speed_is_rewarded_up_to_one_metre_per_second():
    for speed, reward in ((-0.5, 0.25), (3.0, 0.5)):
        np.testing.assert_allclose(rewards(CartPoleBalance(), [0.0], speed=speed)["hurry"], reward)


@pytest.mark.parametrize("target", [0.0, float("nan"), float("inf")])
def test_a_target_without_a_direction_is_refused(target):
    with pytest.raises(ConfigError, match="target of CartPoleBalance"):
        CartPoleBalance(target=target)

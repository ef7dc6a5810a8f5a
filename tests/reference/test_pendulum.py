"""The pendulum that observes its last torque against Gymnasium's."""

import gymnasium
import numpy as np
import pytest

import saferl_envs

assert saferl_envs  # registers the environment


def test_it_is_gymnasiums_pendulum_with_its_last_torque():
    ours, theirs = gymnasium.make("saferl/Pendulum-v0"), gymnasium.make("Pendulum-v1")
    rng = np.random.default_rng(0)
    for seed in range(3):
        observation, _ = ours.reset(seed=seed)
        expected, _ = theirs.reset(seed=seed)
        assert np.array_equal(observation, [*expected, 0.0])
        for _ in range(20):
            action = rng.uniform(-3.0, 3.0, 1).astype(np.float32)  # beyond the limit too: it is clipped
            observation, reward, *_ = ours.step(action)
            expected, expected_reward, *_ = theirs.step(action)
            assert np.array_equal(observation[:3], expected)
            assert observation[3] == pytest.approx(np.clip(action[0], -2.0, 2.0))
            assert reward == expected_reward
            assert ours.observation_space.contains(observation)
    assert ours.spec.max_episode_steps == theirs.spec.max_episode_steps

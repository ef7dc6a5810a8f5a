"""Catch as an environment against Catch as a table."""

import gymnasium
import numpy as np
import pytest
from saferl.tabular.problems import catch

import saferl_envs
from saferl_envs.errors import TaskError

assert saferl_envs  # registers the environment


def test_it_is_the_process_of_the_table():
    rows, columns = 10, 5
    table, env = catch(rows, columns), gymnasium.make("saferl/Catch-v0").unwrapped
    rng, shape = np.random.default_rng(0), (rows, columns, columns)
    observation, info = env.reset(seed=1)
    assert info == {"moved": 0.0, "caught": 0.0}
    seen = set()
    for _ in range(2000):
        state = int(np.ravel_multi_index((env._row, env._ball, env._paddle), shape))
        board = observation.reshape(rows, columns)
        assert {tuple(at) for at in np.argwhere(board)} == {(env._row, env._ball), (rows - 1, env._paddle)}
        action = int(rng.integers(3))
        observation, reward, terminated, truncated, info = env.step(action)
        following = int(np.ravel_multi_index((env._row, env._ball, env._paddle), shape))
        assert table.transitions[state, action, following] > 0.0
        assert reward == table.reward[state, action]
        assert info["moved"] == table.costs[0, state, action]
        assert info["caught"] == (reward == 1.0)
        assert not terminated
        assert not truncated
        seen.add(following)
    assert len(seen) > 200  # of 250, the corners are rare


def test_new_balls_fall_anywhere_and_boards_have_a_least_size():
    env = gymnasium.make("saferl/Catch-v0", rows=3, columns=4)
    assert env.observation_space.shape == (12,)
    balls = [env.reset(seed=seed)[0][:4].argmax() for seed in range(60)]
    assert set(balls) == {0, 1, 2, 3}
    with pytest.raises(TaskError, match="at least 2 rows"):
        gymnasium.make("saferl/Catch-v0", rows=1)

"""Every environment goes on, bit for bit, from a saved state: in fresh copies, after episodes have ended."""

import numpy as np
import pytest

from saferl_envs.engine import Engine
from saferl_envs.errors import TaskError
from saferl_envs.make import make_copies
from saferl_envs.simulation import Divergence
from saferl_envs.tasks import task_ids
from toys import Slider

COPIES, STEPS = 3, 12


def go_on(copies, actions):
    """Step and reset as training does; return everything that was seen."""
    seen = []
    for action in actions:
        t = copies.step(action)
        ended = t.terminated | t.truncated
        if ended.any():
            copies.reset(np.flatnonzero(ended))
        seen.append([t.observation, t.reward, t.values, t.costs, t.episode_cost, ended, copies.observe(), copies.values()])
    return seen


def equal(first, second):
    for a, b in zip(first, second, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("env_id", task_ids())
def test_saved_copies_go_on_bit_for_bit(env_id):
    make = lambda: make_copies(env_id, COPIES, threads=1, max_episode_steps=9)  # noqa: E731
    copies = make()
    copies.seed([5, 17, 2**40])
    copies.reset()
    rng = np.random.default_rng(0)
    width = copies.action_space.shape[0]
    actions = rng.uniform(-1, 1, (2 * STEPS, COPIES, width)).astype(np.float32)
    go_on(copies, actions[:STEPS])
    state = copies.state()
    expected = go_on(copies, actions[STEPS:])
    fresh = make()
    fresh.step(actions[0])  # nothing of what it did before may remain
    fresh.load_state(state)
    equal(expected, go_on(fresh, actions[STEPS:]))
    copies.load_state(state)
    equal(expected, go_on(copies, actions[STEPS:]))


def test_randomised_masses_memory_and_divergence_are_part_of_the_state():
    make = lambda: Engine(Slider(), COPIES, threads=1, max_episode_steps=9)  # noqa: E731
    engine = make()
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (2 * STEPS, COPIES, 1))
    go_on(engine, actions[:STEPS])
    engine.step(actions[0], np.array([1]))
    engine.simulation.qvel[2] = 1e30
    with pytest.warns(Divergence):
        engine.step(actions[1])
    state = engine.state()
    expected = go_on(engine, actions[STEPS:])
    fresh = make()
    fresh.load_state(state)
    equal(expected, go_on(fresh, actions[STEPS:]))


def test_a_state_of_another_shape_is_refused():
    state = make_copies("saferl/HopperVelocity-v0", 2, threads=1).state()
    with pytest.raises(TaskError, match="another shape"):
        make_copies("saferl/HopperVelocity-v0", 3, threads=1).load_state(state)
    state.pop("seeds")
    with pytest.raises(TaskError, match="seeds"):
        make_copies("saferl/HopperVelocity-v0", 2, threads=1).load_state(state)

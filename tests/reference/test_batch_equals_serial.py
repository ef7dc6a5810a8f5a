"""Copy i of a batch equals, bit for bit, a single environment with its seed: any number of copies, any threads."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from saferl_envs.engine import Engine
from saferl_envs.tasks import make_task
from toys import Slider

STEPS = 1000
FEWER = {"humanoid": 120, "solo12": 200, "solo12 terrain": 80}  # slow physics, and short episodes under random actions


def run(task, n, threads, steps, first, actions):
    """Play copies first..first+n-1 with resets as they come; return everything that came out, copy by copy."""
    engine = Engine(task, n, threads=threads)
    engine.seed(np.arange(first, first + n))
    engine.reset()
    out = [[] for _ in range(n)]
    for i in range(n):
        out[i].append(engine.observe()[i])
    for step in range(steps):
        t = engine.step(actions[step, first : first + n])
        done = t.terminated | t.truncated
        if done.any():
            engine.reset(np.flatnonzero(done))
        after = engine.observe()
        for i in range(n):
            row = (
                t.observation[i],
                [t.reward[i]],
                t.values[i],
                t.costs[i],
                [t.terminated[i], t.truncated[i]],
                after[i],
            )
            out[i].append(np.concatenate(row))
    return out, engine


CASES = {
    "toy with randomisation, memory and noise": (lambda: Slider(), 1),
    "half cheetah limits": (lambda: make_task("saferl/HalfCheetahLimits-v0"), 6),
    "hopper": (lambda: make_task("saferl/HopperVelocity-v0"), 3),
    "ant": (lambda: make_task("saferl/AntVelocity-v0"), 8),
    "humanoid": (lambda: make_task("saferl/HumanoidVelocity-v0"), 17),
    "solo12": (lambda: make_task("saferl/Solo12Flat-v0"), 12),
    "solo12 terrain": (lambda: make_task("saferl/Solo12Terrain-v0"), 12),
}


@pytest.mark.parametrize("case", CASES)
def test_a_thousand_steps_with_resets_are_bit_equal(case, record_property):
    make, nu = CASES[case]
    steps = FEWER.get(case, STEPS)
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, 64, nu))
    reference = {}
    for first in (0, 3, 63):
        single, _ = run(make(), 1, 1, steps, first, actions)
        reference[first] = single[0]
    differing = 0
    for n, threads in ((1, 2), (7, 1), (7, 2), (64, 1), (64, 2)):
        batch, engine = run(make(), n, threads, steps, 0, actions)
        assert engine.episodes.min() >= 1
        for copy, expected in reference.items():
            if copy < n:
                for got, want in zip(batch[copy], expected, strict=True):
                    differing += int((got != want).sum())
    record_property("measured", differing)
    assert differing == 0
    if "toy" in case:
        assert engine.episodes.min() > 10  # resets did happen
    if case == "humanoid":
        assert engine.episodes.min() > 2


def test_the_faces_agree_bit_for_bit():
    n, steps = 7, 120
    vector = gymnasium.make_vec("saferl/HopperVelocity-v0", num_envs=n, autoreset_mode=AutoresetMode.SAME_STEP)
    observations, infos = vector.reset(seed=5)
    actions = np.random.default_rng(1).uniform(-1, 1, (steps, n, 3)).astype(np.float32)
    singles = [gymnasium.make("saferl/HopperVelocity-v0") for _ in range(n)]
    for i, env in enumerate(singles):
        observation, info = env.reset(seed=5 + i)
        np.testing.assert_array_equal(observations[i], observation)
        np.testing.assert_array_equal(infos["constraint_values"][i], info["constraint_values"])
    ends = 0
    for step in range(steps):
        observations, rewards, terminated, truncated, infos = vector.step(actions[step])
        for i, env in enumerate(singles):
            observation, reward, end, cut, info = env.step(actions[step, i])
            assert (rewards[i], terminated[i], truncated[i]) == (reward, end, cut)
            source = infos["final_info"] if end or cut else infos
            for key, value in info.items():
                np.testing.assert_array_equal(source[key][i], value)
            if end or cut:
                ends += 1
                np.testing.assert_array_equal(infos["final_obs"][i], observation)
                observation, _ = env.reset()
            np.testing.assert_array_equal(observations[i], observation)
    assert ends > n

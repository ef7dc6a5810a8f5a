"""Our bodies against Gymnasium's own -v4 environments: equal states and actions must give equal numbers."""

import gymnasium
import numpy as np
import pytest

from saferl_envs.engine import Engine
from saferl_envs.tasks import make_task

PAIRS = [
    ("saferl/HalfCheetahVelocity-v0", "HalfCheetah-v4", {"forward": "reward_run", "control": "reward_ctrl"}),
    ("saferl/HopperVelocity-v0", "Hopper-v4", {}),
    (
        "saferl/AntVelocity-v0",
        "Ant-v4",
        {"forward": "reward_forward", "control": "reward_ctrl", "alive": "reward_survive"},
    ),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("ours", "theirs", "terms"), PAIRS)
def test_thousand_random_steps_equal_gymnasiums(ours, theirs, terms, dtype, record_property):
    reference = gymnasium.make(theirs).unwrapped
    engine = Engine(make_task(ours), 2, threads=2)
    rng = np.random.default_rng(7)
    restart = True
    seen_termination, largest = False, 0.0
    for _ in range(1000):
        if restart:
            reference.reset(seed=int(rng.integers(1000)))
            qpos, qvel = reference.data.qpos.copy(), reference.data.qvel.copy()
            reference.set_state(qpos, qvel)
            ids = np.arange(2)
            engine.simulation.set_state(ids, np.tile(qpos, (2, 1)), np.tile(qvel, (2, 1)))
            engine.signals.reset(ids)
            np.testing.assert_array_equal(engine.observe()[1], reference._get_obs())
        action = rng.uniform(-1, 1, reference.model.nu).astype(dtype)
        observation, reward, terminated, _, info = reference.step(action)
        t = engine.step(np.tile(action, (2, 1)))
        np.testing.assert_allclose(t.observation[1], observation, rtol=0, atol=1e-9)
        largest = max(largest, np.abs(t.observation[1] - observation).max(), abs(t.reward[1] - reward))
        assert t.reward[1] == pytest.approx(reward, abs=1e-9)
        for ours_term, theirs_term in terms.items():
            assert t.reward_terms[ours_term][1] == pytest.approx(info[theirs_term], abs=1e-9)
        assert bool(t.terminated[1]) == terminated
        restart = terminated
        seen_termination |= terminated
    assert seen_termination or "HalfCheetah" in ours
    record_property("measured", float(largest))


@pytest.mark.parametrize(("ours", "speed"), [("HalfCheetah", 3.2096), ("Hopper", 0.7402), ("Ant", 2.6222)])
def test_limits_are_safety_gymnasiums(ours, speed):
    constraint = make_task(f"saferl/{ours}Velocity-v0").constraints[0]
    assert constraint.limit == speed
    assert constraint.cost == "indicator"
    assert constraint.cost_limit == 25.0
    for level, factor in (("Hard", 0.75), ("Extreme", 0.5)):
        assert make_task(f"saferl/{ours}Velocity{level}-v0").constraints[0].limit == pytest.approx(factor * speed)

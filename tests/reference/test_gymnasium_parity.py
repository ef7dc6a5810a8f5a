"""Our bodies against Gymnasium's own -v4 environments: equal states and actions must give equal numbers.

One exception: the 84 external wrenches at the end of the humanoid's observation are those a sensor sees, in the state before
the last physics substep; Gymnasium's are from the last stage of the Runge-Kutta integrator. Ours are compared with that state.
"""

import copy

import gymnasium
import mujoco
import numpy as np
import pytest

from saferl_envs.constraints import AxisSpeed, PlanarSpeed
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
    ("saferl/Walker2dVelocity-v0", "Walker2d-v4", {}),
    ("saferl/SwimmerVelocity-v0", "Swimmer-v4", {"forward": "reward_fwd", "control": "reward_ctrl"}),
    (
        "saferl/HumanoidVelocity-v0",
        "Humanoid-v4",
        {"forward": "reward_linvel", "control": "reward_quadctrl", "alive": "reward_alive"},
    ),
]
WRENCHES = slice(376 - 84, 376)


def wrenches_before_the_last_substep(reference, action):
    """Return the humanoid's external wrenches (84,) in the state before the last substep of the step to come."""
    model, data = reference.model, copy.copy(reference.data)
    data.ctrl[:] = action
    mujoco.mj_step(model, data, nstep=reference.frame_skip - 1)
    mujoco.mj_forward(model, data)
    mujoco.mj_rnePostConstraint(model, data)
    return data.cfrc_ext.ravel()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("ours", "theirs", "terms"), PAIRS)
def test_thousand_random_steps_equal_gymnasiums(ours, theirs, terms, dtype, record_property):
    reference = gymnasium.make(theirs).unwrapped
    engine = Engine(make_task(ours), 2, threads=2)
    rng = np.random.default_rng(7)
    restart = True
    seen_termination, largest, seen_wrench = False, 0.0, False
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
        wrenches = wrenches_before_the_last_substep(reference, action) if "Humanoid" in ours else None
        observation, reward, terminated, _, info = reference.step(action)
        if wrenches is not None:
            observation[WRENCHES] = wrenches
            seen_wrench |= bool(wrenches.any())
        t = engine.step(np.tile(action, (2, 1)))
        np.testing.assert_allclose(t.observation[1], observation, rtol=0, atol=1e-9)
        largest = max(largest, np.abs(t.observation[1] - observation).max(), abs(t.reward[1] - reward))
        assert t.reward[1] == pytest.approx(reward, abs=1e-9)
        for ours_term, theirs_term in terms.items():
            assert t.reward_terms[ours_term][1] == pytest.approx(info[theirs_term], abs=1e-9)
        assert bool(t.terminated[1]) == terminated
        restart = terminated
        seen_termination |= terminated
    assert seen_termination or ours.startswith(("saferl/HalfCheetah", "saferl/Swimmer"))
    assert seen_wrench == ("Humanoid" in ours)
    record_property("measured", float(largest))


LIMITS = {
    "HalfCheetah": (3.2096, AxisSpeed, "base_velocity"),
    "Hopper": (0.7402, AxisSpeed, "base_velocity"),
    "Walker2d": (2.3415, AxisSpeed, "base_velocity"),
    "Swimmer": (0.2282, AxisSpeed, "base_velocity"),
    "Ant": (2.6222, PlanarSpeed, "body_velocity/torso"),
    "Humanoid": (1.4149, PlanarSpeed, "com_velocity"),
}


@pytest.mark.parametrize("ours", LIMITS)
def test_limits_are_safety_gymnasiums(ours):
    speed, family, signal = LIMITS[ours]
    constraint = make_task(f"saferl/{ours}Velocity-v0").constraints[0]
    assert type(constraint) is family
    assert constraint.signal == signal
    assert constraint.limit == speed
    assert constraint.cost == "indicator"
    assert constraint.cost_limit == 25.0
    for level, factor in (("Hard", 0.75), ("Extreme", 0.5)):
        assert make_task(f"saferl/{ours}Velocity{level}-v0").constraints[0].limit == pytest.approx(factor * speed)

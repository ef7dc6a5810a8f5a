"""The DeepMind Control Suite's walker and cheetah against the suite itself."""

from __future__ import annotations

import numpy as np
import pytest
from dm_control import suite
from saferl.experiment.catalogue import catalogue, tables

from saferl_envs import make_task
from saferl_envs.errors import TaskError
from saferl_envs.make import make_engine
from saferl_envs.noise import Noise

TASKS = {
    "saferl/DMWalkerStand-v0": ("walker", "stand"),
    "saferl/DMWalkerWalk-v0": ("walker", "walk"),
    "saferl/DMWalkerRun-v0": ("walker", "run"),
    "saferl/DMCheetahRun-v0": ("cheetah", "run"),
}


@pytest.mark.parametrize("env_id", TASKS)
def test_observations_and_rewards_are_the_suites(env_id):
    domain, name = TASKS[env_id]
    theirs, ours = suite.load(domain, name), make_task(env_id)
    rng = np.random.default_rng(0)
    for _ in range(20):
        qpos, qvel = rng.uniform(-1, 1, 9), rng.uniform(-12, 12, 9)
        with theirs.physics.reset_context():
            theirs.physics.data.qpos[:], theirs.physics.data.qvel[:] = qpos, qvel
        speed = float(theirs.physics.named.data.sensordata["torso_subtreelinvel"][0])
        signals = {"qpos": qpos[None], "qvel": qvel[None], "com_velocity": np.array([[speed, 0.0, 0.0]])}
        expected = np.concatenate([np.ravel(part) for part in theirs.task.get_observation(theirs.physics).values()])
        np.testing.assert_allclose(ours.observe(signals, {})[0], expected, atol=1e-12)
        found = sum(ours.reward(signals, {}).values())
        np.testing.assert_allclose(found[0], theirs.task.get_reward(theirs.physics), atol=1e-12)


@pytest.mark.parametrize("env_id", TASKS)
def test_bodies_move_as_in_the_suite(env_id):
    domain, name = TASKS[env_id]
    theirs, ours = suite.load(domain, name, task_kwargs={"random": 0}), make_engine(env_id, 1, threads=1)
    assert (theirs.control_timestep(), 1000) == (ours.control_timestep, ours.max_episode_steps)
    ours.seed([3])
    ours.reset()
    theirs.reset()
    ours.simulation.qvel[0, 0 if domain == "cheetah" else 1] = 3.0  # forwards, or there would be no reward to compare
    with theirs.physics.reset_context():
        theirs.physics.data.qpos[:], theirs.physics.data.qvel[:] = ours.simulation.qpos[0], ours.simulation.qvel[0]
    rng, spec = np.random.default_rng(1), theirs.action_spec()
    rewards = []
    for _ in range(50):
        action = rng.uniform(spec.minimum, spec.maximum)
        theirs.step(action)
        step = ours.step(action[None])
        np.testing.assert_allclose(ours.simulation.qpos[0], theirs.physics.data.qpos, rtol=1e-9, atol=1e-9)
        # the suite's formula with the mean speed over the control step in place of the moment's
        mean_speed = ours.signals.view["com_velocity"][0, 0]
        theirs.physics.named.data.sensordata["torso_subtreelinvel"] = [mean_speed, 0.0, 0.0]
        rewards.append(theirs.task.get_reward(theirs.physics))
        np.testing.assert_allclose(step.reward[0], rewards[-1], atol=1e-9)
    assert np.ptp(rewards) > 0.01


def test_the_cheetah_starts_at_rest_and_the_walker_anywhere():
    cheetah, walker = (make_engine(env_id, 200, threads=1) for env_id in ("saferl/DMCheetahRun-v0", "saferl/DMWalkerWalk-v0"))
    assert np.abs(cheetah.simulation.qvel).max() < 2.0
    poses = np.unique(cheetah.simulation.qpos.round(9), axis=0)
    assert 50 <= len(poses) <= 64
    pitch = walker.simulation.qpos[:, 2]
    assert pitch.min() < -2.5
    assert pitch.max() > 2.5


def test_limits_are_the_real_world_suites_times_the_coefficient():
    task = make_task("saferl/DMWalkerWalk-v0", safety_coefficient=0.5, height=1.25, speed=0.6, allowed=0.2)
    engine = make_engine("saferl/DMWalkerWalk-v0", 1, safety_coefficient=0.5, height=1.25, speed=0.6, allowed=0.2, threads=1)
    assert [c.name for c in task.constraints] == ["hip_angle", "knee_angle", "ankle_angle", "joint_velocity", "height", "speed"]
    assert {c.cost_limit for c in task.constraints} == {0.2}
    ids = np.arange(1)
    qpos = engine.simulation.qpos.copy()
    for joint, degrees, allowed in ((3, 54.0, True), (3, 56.0, False), (4, 8.0, False), (5, -38.0, False), (5, 29.0, True)):
        qpos[:] = 0.0
        qpos[0, joint] = np.deg2rad(degrees)
        engine.simulation.set_state(ids, qpos, np.zeros((1, 9)))
        engine.signals.reset(ids)
        name = ("hip_angle", "knee_angle", "ankle_angle")[joint - 3]
        value = engine.values()[0, engine.constraints.slices[engine.constraints.names.index(name)]]
        assert (value <= 0).all() == allowed, (joint, degrees)
    engine.simulation.set_state(ids, np.zeros((1, 9)), np.array([[0, 0, 0, 0, 33.0, 0, 0, 0, 0]], float))
    engine.signals.reset(ids)
    values = dict(zip(engine.constraints.components, engine.values()[0], strict=True))
    np.testing.assert_allclose(values["joint_velocity/right_knee"], 33.0 - 32.5)
    np.testing.assert_allclose(values["height/height"], 1.3 - 1.25)
    with pytest.raises(TaskError, match="safety_coefficient"):
        make_task("saferl/DMWalkerWalk-v0", safety_coefficient=0.0)


def test_the_cheetahs_angles_are_limited_to_a_share_of_the_models_ranges():
    engine = make_engine("saferl/DMCheetahRun-v0", 1, safety_coefficient=0.5, threads=1)
    model, names = engine.simulation.model, engine.constraints.names
    assert len(names) == 7
    assert names[-1] == "joint_velocity"
    for joint in range(3, 9):
        low, high = 0.5 * model.jnt_range[joint]
        columns = engine.constraints.slices[names.index(f"{model.joint(joint).name}_angle")]
        for angle, excess in ((high + 0.01, 0.01), (low - 0.02, 0.02), (low + 0.01, -0.01), (high - 0.03, -0.03)):
            qpos = np.zeros((1, 9))
            qpos[0, joint] = angle
            engine.simulation.set_state(np.arange(1), qpos, np.zeros((1, 9)))
            engine.signals.reset(np.arange(1))
            np.testing.assert_allclose(engine.values()[0, columns], excess, atol=1e-9)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TaskError, match="pip install dm-control"):
        make_task("saferl/DMCheetahRun-v0").spec()
    found = catalogue()
    missing = {env["id"]: env["missing"] for env in found["environments"] if "missing" in env}
    assert missing.keys() == TASKS.keys()
    assert len(tables(found)) == 5


def test_starts_do_not_depend_on_how_many_copies_there_are():
    task = make_task("saferl/DMCheetahRun-v0")
    model = task.spec().compile()
    many = task.initial_state(Noise(np.arange(5), np.ones(5), np.zeros(5)), model)
    one = task.initial_state(Noise(np.array([3]), np.ones(1), np.zeros(1)), model)
    np.testing.assert_array_equal(many.qpos[3:4], one.qpos)

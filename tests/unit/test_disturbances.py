"""Disturbances: each changes what it says, by as much as it says, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from saferl_envs.disturbances import Disturbance, kinds
from saferl_envs.engine import Engine
from saferl_envs.errors import TaskError
from saferl_envs.make import make_copies
from saferl_envs.tasks.solo12 import Solo12Flat

SOLO = "saferl/Solo12FlatPlay-v0"


def engines(num=3, env_id=SOLO, **disturbances):
    return [make_copies(env_id, num, threads=1, disturbances=d) for d in (None, disturbances)]


def states(engine, actions):
    engine.reset()
    found = []
    for action in actions:
        engine.step(action)
        found.append(np.concatenate((engine.simulation.qpos, engine.simulation.qvel), axis=1))
    return np.array(found)


@pytest.mark.parametrize("kind", kinds().values(), ids=lambda kind: kind.name)
def test_the_neutral_strength_changes_nothing_and_each_usual_one_something(kind):
    actions = np.random.default_rng(0).normal(size=(60, 3, 12)) * 0.3
    plain, neutral = engines(**{kind.name: kind.neutral})
    expected = states(plain, actions)
    np.testing.assert_array_equal(states(neutral, actions), expected)
    for strength in kind.usual:
        assert (states(make_copies(SOLO, 3, threads=1, disturbances={kind.name: strength}), actions) != expected).any()


def test_a_push_comes_once_a_second_with_its_size_in_a_random_direction():
    plain, pushed = engines(num=64, push=0.5)
    seen = []
    for step in range(100):
        before = [engine.simulation.qvel.copy() for engine in (plain, pushed)]
        for engine in (plain, pushed):
            engine._disturb(None)
        changes = pushed.simulation.qvel - before[1]
        np.testing.assert_array_equal(plain.simulation.qvel, before[0])
        if step in (49, 99):
            np.testing.assert_allclose(np.hypot(changes[:, 0], changes[:, 1]), 0.5, rtol=1e-12)
            seen.append(changes[:, :2].mean(axis=0))
        else:
            assert not changes.any()
        assert not changes[:, 2:].any()
        for engine in (plain, pushed):
            engine.steps += 1
    assert np.abs(seen).max() < 0.2


def test_the_payload_is_a_share_of_the_robots_mass_on_its_base():
    plain, heavy = engines(payload=0.2)
    base = plain.simulation.model.body("base").id
    mass = heavy.simulation.batch.expand("body_mass")[1]
    own = plain.simulation.model.body_mass
    assert mass.sum() == pytest.approx(1.2 * own.sum(), rel=1e-12)
    np.testing.assert_array_equal(np.delete(mass, base), np.delete(own, base))


def test_weak_motors_give_their_part_of_the_force_and_saturate_earlier():
    plain, weak = engines(motor_strength=0.7)
    forces = [engine.simulation.field("actuator_force") for engine in (plain, weak)]
    for scale in (1.0, 5.0):
        for engine in (plain, weak):
            engine.seed(np.arange(3))
            engine.reset()
            engine.simulation.ctrl[:] = engine.task.control(np.full((3, 12), scale), engine.memory)
            engine.simulation.batch.step(None, nstep=1)
        np.testing.assert_allclose(forces[1], 0.7 * forces[0], rtol=1e-12)
    assert forces[0].max() == pytest.approx(10.0)


@pytest.mark.parametrize("late", [0.005, 0.02, 0.045])
def test_controls_arrive_late_by_so_many_physics_steps(late):
    engine = make_copies(SOLO, 2, threads=1, disturbances={"latency": late})
    engine.reset()
    asked, applied = [], []
    standing = engine.task.control(np.zeros((2, 12)), engine.memory)
    step = engine.simulation.batch.step

    def note(ids, nstep):
        assert nstep == 1
        applied.append(engine.simulation.ctrl.copy())
        step(ids, nstep=nstep)

    class Batch:
        def __getattr__(self, name):
            return getattr(batch, name)

    batch, watched = engine.simulation.batch, Batch()
    watched.step = note
    engine.simulation.batch = watched
    rng = np.random.default_rng(1)
    for _ in range(10):
        action = rng.normal(size=(2, 12)) * 0.1
        asked += [engine.task.control(action, engine.memory)] * 4
        engine.step(action)
    delay = round(late / 0.005)
    expected = [standing] * delay + asked[: len(asked) - delay]
    np.testing.assert_array_equal(applied, expected)


def test_friction_multiplies_what_the_task_draws():
    plain, slippery = (Engine(Solo12Flat(), 8, threads=1, disturbances=d) for d in ((), (kinds()["friction"](0.5),)))
    found = [engine.simulation.batch.expand("geom_friction") for engine in (plain, slippery)]
    np.testing.assert_allclose(found[1], 0.5 * found[0], rtol=1e-15)
    assert np.unique(found[0][:, -1, 0]).size == 8


def test_what_cannot_be_disturbed_is_refused_in_one_line():
    for env_id, disturbances, message in (
        (SOLO, {"wind": 1.0}, "unknown disturbance 'wind'"),
        (SOLO, {"push": -1.0}, "must be a number >= 0"),
        (SOLO, {"latency": 0.003}, "multiple of the physics step of 0.005 s"),
        ("saferl/CartPoleBalance-v0", {"push": 1.0}, "floating base"),
        ("saferl/CartPoleBalance-v0", {"payload": 1.0}, "needs a robot with a base"),
        ("CartPole-v1", {"push": 1.0}, "not for other environments"),
    ):
        with pytest.raises(TaskError) as error:
            make_copies(env_id, 1, disturbances=disturbances)
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    engine = make_copies(SOLO, 1, threads=1, disturbances={"push": 1.0})
    with pytest.raises(TaskError, match="disturbed copies"):
        engine.load_state(engine.state())


def test_a_disturbance_is_a_class_with_a_name_a_unit_and_strengths():
    for name, kind in kinds().items():
        assert issubclass(kind, Disturbance)
        assert kind.name == name
        assert kind.unit
        assert kind.usual
        assert kind.neutral not in kind.usual

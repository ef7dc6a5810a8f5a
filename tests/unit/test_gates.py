"""Gates: when a constraint applies; and what tasks remember from one episode to the next, and do between steps."""

from __future__ import annotations

import numpy as np
import pytest

from saferl_envs.constraints import BaseTilt, ConstraintSet, Gate, JointVelocity, from_spec
from saferl_envs.engine import Engine
from saferl_envs.errors import ConstraintError, SignalError, TaskError
from saferl_envs.signals import SignalInfo
from saferl_envs.tasks.solo12 import Solo12Flat

COMMAND = SignalInfo(("vx", "vy", "yaw_rate"), "m/s")
OFFERS = {"joint_velocity": SignalInfo(("hip", "knee"), "rad/s"), "command": COMMAND}


def limited(*gates):
    return ConstraintSet((JointVelocity(name="still", limit=1.0, when=gates),), OFFERS)


def test_a_closed_gate_leaves_margins_and_lets_nothing_be_violated():
    signals = {"joint_velocity": np.array([[3.0, 0.4], [3.0, 0.4]]), "command": np.array([[0.0, 0.0, 0.0], [0.3, 0.4, 0.0]])}
    found = limited(Gate(signal="command", below=0.5)).evaluate(signals)
    np.testing.assert_allclose(found.values, [[2.0, -0.6], [0.0, -0.6]])
    assert found.violated.tolist() == [[True], [False]]
    assert found.costs.tolist() == [[1.0], [0.0]]


@pytest.mark.parametrize(
    ("gates", "expected"),
    [
        ((Gate(signal="command", above=0.5),), [False, True, True, True]),
        ((Gate(signal="command", components=("vy",), below=0.45),), [True, True, False, True]),
        ((Gate(signal="command", above=0.2, below=0.9),), [True, True, False, False]),
        ((Gate(signal="command", above=0.5), Gate(signal="command", components=["vx"], below=0.9)), [False, True, True, False]),
    ],
)
def test_gates_compare_the_length_of_the_chosen_columns(gates, expected):
    command = np.array([[0.3, -0.1, 0.0], [0.5, 0.4, 0.1], [0.1, -0.9, 0.0], [-0.95, 0.0, 0.0]])
    signals = {"joint_velocity": np.full((4, 2), 2.0), "command": command}
    assert limited(*gates).evaluate(signals).violated[:, 0].tolist() == expected


def test_a_gate_survives_json_and_is_part_of_what_the_constraint_reads():
    constraint = JointVelocity(name="still", limit=1.0, when=(Gate(signal="command", components=("vy",), below=0.1),))
    spec = constraint.to_spec()
    assert spec["when"] == [{"signal": "command", "components": ["vy"], "below": 0.1}]
    assert from_spec(spec) == constraint
    assert constraint.requires == {"joint_velocity"}
    assert constraint.reads == {"joint_velocity", "command"} == ConstraintSet((constraint,), OFFERS).requires


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ([{"signal": "command"}], "needs a finite number above or below"),
        ([{"signal": "command", "below": float("inf")}], "needs a finite number"),
        ([{"signal": "command", "above": 0.5, "below": 0.1}], "below must be the larger"),
        ([{"signal": "command", "below": -1.0}], "can never open"),
        ([{"signal": "command", "components": ["vx", "vx"], "below": 1.0}], "not distinct"),
        ([{"signal": "command", "under": 1.0}], "unknown key 'under'"),
        ([{"below": 1.0}], "expected mappings with a 'signal'"),
        ("command", "when must be a list of gates"),
        ([{"signal": "command", "components": "vy", "below": 1.0}], "components must be a list of names"),
    ],
)
def test_invalid_gates_are_refused_in_one_line(when, message):
    with pytest.raises(ConstraintError) as error:
        from_spec({"family": "joint_velocity", "name": "still", "limit": 1.0, "when": when})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_gate_on_something_that_is_not_offered_is_refused():
    with pytest.raises(SignalError, match="unknown signal 'terrain'"):
        limited(Gate(signal="terrain", below=1.0))
    with pytest.raises(SignalError, match="unknown component of 'command' 'vz'"):
        limited(Gate(signal="command", components=("vz",), below=1.0))


class Walker(Solo12Flat):
    """Remembers how often each copy has begun, and is pushed at every step."""

    def initial_memory(self, noise):
        return {**super().initial_memory(noise), "begun": np.zeros((noise.n, 1))}

    def next_memory(self, noise, last, signals):
        assert signals["command"].shape == (noise.n, 3)
        return {**super().initial_memory(noise), "begun": last["begun"] + 1}

    def advance(self, memory, signals, noise):
        return {**super().advance(memory, signals, noise), "begun": memory["begun"]}

    def disturb(self, noise, qvel):
        qvel[:, 0] = 7.0


def test_memory_goes_from_one_episode_to_the_next_and_a_new_seed_forgets_it():
    engine = Engine(Walker(), 4, threads=1)
    before = engine.memory["begun"][:, 0].copy()
    engine.reset(np.array([1, 3]))
    assert (engine.memory["begun"][:, 0] - before).tolist() == [0, 1, 0, 1]
    engine.seed(np.array([5]), np.array([3]))
    engine.reset(np.array([3]))
    assert engine.memory["begun"][3, 0] == 0


def test_disturbances_change_velocities_before_the_step_of_the_copies_that_take_it():
    engine = Engine(Walker(), 3, threads=1)
    waiting = engine.simulation.qvel[1].copy()
    engine.step(np.zeros((3, 12)), np.array([0, 2]))
    assert (engine.simulation.qvel[[0, 2], 0] > 5).all()
    np.testing.assert_array_equal(engine.simulation.qvel[1], waiting)


def test_memory_may_not_take_the_name_of_a_signal():
    class Wrong(Solo12Flat):
        memory_signals = {"joint_velocity": COMMAND}  # noqa: RUF012

    with pytest.raises(TaskError, match="'joint_velocity' is the name of a signal"):
        Engine(Wrong(), 1)


def test_references_may_differ_between_components():
    from saferl_envs.constraints import JointPosition

    offers = {"joint_position": SignalInfo(("left", "right"), "rad")}
    both = ConstraintSet(
        (JointPosition(name="roll", limit=0.2, components=("left", "right"), reference=(0.05, -0.05)),), offers
    )
    values = both.evaluate({"joint_position": np.array([[0.05, 0.2]])}).values
    np.testing.assert_allclose(values, [[-0.2, 0.05]])
    with pytest.raises(ConstraintError, match="several references need as many named components"):
        JointPosition(name="roll", limit=0.2, components=("left",), reference=(0.05, -0.05))


def test_tilt_with_a_gate_still_has_its_gradient():
    tilt = BaseTilt(name="tilt", limit=0.1, when=(Gate(signal="command", above=0.1),))
    bound = tilt.bind({"projected_gravity": SignalInfo(("x", "y", "z"), "1"), "command": COMMAND})
    assert bound.gradient({"projected_gravity": np.array([[0.6, 0.0, -0.8]])})["projected_gravity"].tolist() == [[[1.0, 0, 0]]]


def test_a_gate_that_cannot_be_read_excuses_nothing():
    signals = {"joint_velocity": np.full((1, 2), 3.0), "command": np.array([[np.nan, 0.0, 0.0]])}
    for gate in (Gate(signal="command", above=0.5), Gate(signal="command", below=0.5)):
        assert limited(gate).evaluate(signals).violated.all()


class Counter(Walker):
    """Notes what `next_memory` is given, and derives the speed of the base."""

    derived_signals = {"speed": SignalInfo(("speed",), "m/s")}  # noqa: RUF012
    requires = (*Solo12Flat.requires, "base_velocity")

    def __init__(self):
        super().__init__(play=True)
        self.given = []

    def derive(self, signals):
        return {"speed": np.abs(signals["base_velocity"][:, :1])}

    def disturb(self, noise, qvel):
        pass

    def advance(self, memory, signals, noise):
        return {**super().advance(memory, signals, noise), "begun": memory["begun"] + 1}

    def next_memory(self, noise, last, signals):
        self.given.append({**last, **{key: array.copy() for key, array in signals.items()}})
        return super().next_memory(noise, last, signals)


def test_copies_that_wait_keep_everything_until_their_next_episode():
    """Next-step autoreset steps the others first; what the next episode is made of must be the end of this one."""
    engines = [Engine(Counter(), 3, threads=1) for _ in range(2)]
    rng = np.random.default_rng(0)
    for action in rng.normal(size=(10, 3, 12)) * 0.3:
        for engine in engines:
            engine.step(action)
    same_step, next_step = engines
    same_step.reset(np.array([1]))
    next_step.step(rng.normal(size=(3, 12)), np.array([0, 2]))
    assert next_step.steps.tolist() == [11, 10, 11]
    next_step.reset(np.array([1]))
    first, second = (engine.task.given[-1] for engine in engines)
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)


def test_derived_signals_belong_to_the_first_observation_too():
    engine = Engine(Counter(), 2, threads=1)
    for _ in range(5):
        engine.step(np.full((2, 12), 0.5))
    assert (engine.signals.view["speed"] > 0).all()
    engine.reset(np.array([0]))
    assert engine.signals.view["speed"][0, 0] == 0.0
    assert engine.signals.view["speed"][1, 0] > 0.0


@pytest.mark.parametrize(
    ("derived", "message"),
    [
        ({}, "derive: signal 'speed' is declared but missing"),
        ({"speed": np.zeros(2)}, r"derive: signal 'speed' has shape \(2,\), expected \(2, 1\)"),
        ({"speed": np.zeros((2, 1)), "joint_velocity": np.zeros((2, 12))}, "derive: unknown signal 'joint_velocity'"),
    ],
)
def test_what_a_task_derives_must_be_what_it_declares(derived, message):
    class Wrong(Counter):
        def derive(self, signals):
            return derived

    with pytest.raises(TaskError, match=message):
        Engine(Wrong(), 2, threads=1)


def test_memory_must_be_what_the_task_declares():
    class Forgetful(Solo12Flat):
        memory_signals = {**Solo12Flat.memory_signals, "phase": SignalInfo(("phase",), "rad")}  # noqa: RUF012

    with pytest.raises(TaskError, match="memory: signal 'phase' is declared but missing"):
        Engine(Forgetful(), 2, threads=1)

    class Changing(Walker):
        def next_memory(self, noise, last, signals):
            return {"begun": last["begun"]}

    with pytest.raises(TaskError, match="they must be the same"):
        Engine(Changing(), 2, threads=1).reset()


@pytest.mark.parametrize("speed", [1e12, 1e200])
def test_a_copy_that_diverges_leaves_no_trace_in_what_others_learn_from(speed):
    from saferl.termination import TerminationProbability

    engine = Engine(Solo12Flat(play=True), 4, threads=1)
    rule = TerminationProbability(engine.constraints.to_specs(), 0.99)
    rule.set_p_max({"hard": 1.0, "soft": 0.1, "style": 0.1})
    engine.simulation.qvel[1, :3] = speed
    with pytest.warns(UserWarning, match="diverged"):
        found = engine.step(np.zeros((4, 12)))
    assert found.diverged.tolist() == [False, True, False, False]
    others = [0, 2, 3]
    assert np.isfinite(found.values[others]).all()
    delta = rule(found.values)
    assert np.isfinite(delta).all()
    assert np.isfinite(rule.normaliser).all()
    force = engine.constraints.slices[engine.constraints.names.index("foot_force")]
    assert rule.normaliser[force].max() < 1e4

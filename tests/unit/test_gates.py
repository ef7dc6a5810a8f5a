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

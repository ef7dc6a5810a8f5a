"""Constraint families against hand-worked numbers, and the set against loops."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from saferl_envs.constraints import (
    ActionRate,
    AirTime,
    AxisSpeed,
    Ball,
    BaseHeight,
    BaseTilt,
    Box,
    Capsule,
    Constraint,
    ConstraintSet,
    ContactForce,
    FeetInContact,
    ForbiddenContact,
    HalfSpace,
    Heading,
    JointAcceleration,
    JointPosition,
    JointTorque,
    JointVelocity,
    KeepIn,
    KeepOut,
    PlanarSpeed,
    SignalLimit,
    Stumble,
    UpsideDown,
    constraints_from_specs,
    from_spec,
    shape_from_spec,
)
from saferl_envs.errors import ConstraintError, SignalError
from saferl_envs.signals import FloatArray, SignalInfo

OFFERS = {
    "action": SignalInfo(("hip", "knee"), "1"),
    "base_height": SignalInfo(("height",), "m"),
    "base_position": SignalInfo(("x", "y", "z"), "m"),
    "base_velocity": SignalInfo(("x", "y", "z"), "m/s"),
    "base_yaw": SignalInfo(("yaw",), "rad"),
    "contact_force/feet": SignalInfo(("left", "right", "tail"), "N"),
    "horizontal_contact_force/feet": SignalInfo(("left", "right", "tail"), "N"),
    "joint_acceleration": SignalInfo(("hip", "knee"), "rad/s^2"),
    "joint_position": SignalInfo(("hip", "knee"), "rad"),
    "joint_torque": SignalInfo(("hip", "knee"), "Nm"),
    "joint_velocity": SignalInfo(("hip", "knee"), "rad/s"),
    "observation": SignalInfo(("0", "1", "2"), "1"),
    "previous_action": SignalInfo(("hip", "knee"), "1"),
    "projected_gravity": SignalInfo(("x", "y", "z"), "1"),
    "swing_time/feet": SignalInfo(("left", "right", "tail"), "s"),
    "touchdown/feet": SignalInfo(("left", "right", "tail"), "1"),
    "vertical_contact_force/feet": SignalInfo(("left", "right", "tail"), "N"),
}


def arrays(signals: Mapping[str, Any]) -> dict[str, FloatArray]:
    return {name: np.atleast_2d(np.asarray(rows, dtype=np.float64)) for name, rows in signals.items()}


BALL = Ball(center=(1, 0, 0), radius=0.5)
CASES = [
    (JointPosition(name="c", limit=1), {"joint_position": [0.5, -3]}, [-0.5, 2]),
    (JointPosition.between(-1, 3, name="c"), {"joint_position": [-1.5, 2.0]}, [0.5, -1]),
    (JointPosition(name="c", limit=1, components=("knee",)), {"joint_position": [0.5, -3]}, [2]),
    (JointVelocity(name="c", limit=16), {"joint_velocity": [-17, 17]}, [1, 1]),
    (JointAcceleration(name="c", limit=800), {"joint_acceleration": [-900, 0]}, [100, -800]),
    (JointTorque(name="c", limit=3, components=("knee", "hip")), {"joint_torque": [1, -4]}, [1, -2]),
    (ActionRate(name="c", limit=80, timestep=0.02), {"action": [1, 0], "previous_action": [-1, 1]}, [20, -30]),
    (AxisSpeed(name="c", limit=1), {"base_velocity": [-3, 5, 5]}, [-4]),
    (AxisSpeed(name="c", limit=1, absolute=True), {"base_velocity": [-3, 5, 5]}, [2]),
    (PlanarSpeed(name="c", limit=1), {"base_velocity": [3, -4, 9]}, [4]),
    (BaseTilt(name="c", limit=0.1), {"projected_gravity": [0.36, -0.48, -0.8]}, [0.5]),
    (BaseTilt(name="c", limit=0.1), {"projected_gravity": [0, 0, -1]}, [-0.1]),
    (BaseHeight(name="c", limit=0.25), {"base_height": [0.125]}, [0.125]),
    (BaseHeight(name="c", limit=0.25, bound="upper"), {"base_height": [0.125]}, [-0.125]),
    (Heading(name="c", limit=0.5, heading=3.0), {"base_yaw": [[3.0], [3.75], [-3.0]]}, [[-0.5], [0.25], [math.tau - 6.5]]),
    (Heading(name="c", limit=0.5), {"base_yaw": [[-2.0], [1.0]]}, [[1.0], [0.5]]),
    (UpsideDown(name="c"), {"projected_gravity": [[0, 0, -1], [1, 0, 0], [0, 0.8, 0.6]]}, [[0], [0], [1]]),
    (ContactForce(name="c", limit=50), {"contact_force/feet": [0, 60, 50]}, [-50, 10, 0]),
    (
        Stumble(name="c", limit=0.5),
        {"horizontal_contact_force/feet": [3, 9, 9], "vertical_contact_force/feet": [1, 2, -2]},
        [-1.5, 0.5, 0.5],
    ),
    (ForbiddenContact(name="c"), {"contact_force/feet": [0, 1, 1.1]}, [0, 0, 1]),
    (
        AirTime(name="c", limit=0.25),
        {"swing_time/feet": [0.125, 0.5, 0.125], "touchdown/feet": [1, 1, 0]},
        [0.125, -0.25, 0],
    ),
    (FeetInContact(name="c"), {"contact_force/feet": [[9, 9, 0], [9, 9, 9], [1, 1, 1]]}, [[0], [1], [2]]),
    (FeetInContact(name="c", count=3, threshold=0, limit=1), {"contact_force/feet": [9, 0, 0]}, [1]),
    (SignalLimit(name="c", limit=1, signal="observation"), {"observation": [2, -3, 1]}, [1, -4, 0]),
    (SignalLimit(name="c", limit=1, signal="observation", bound="lower"), {"observation": [2, -3, 1]}, [-1, 4, 0]),
    (SignalLimit(name="c", limit=1, signal="observation", bound="absolute"), {"observation": [2, -3, 1]}, [1, 2, 0]),
    (SignalLimit(name="c", limit=1, signal="observation", components=("2",)), {"observation": [2, -3, 5]}, [4]),
    (KeepOut(name="c", limit=0.25, shape=BALL), {"base_position": [[1, 0, 2], [1, 0, 0]]}, [[-1.25], [0.75]]),
    (KeepIn(name="c", limit=0.25, shape=BALL), {"base_position": [[1, 0, 2], [1, 0, 0]]}, [[1.75], [-0.25]]),
]


@pytest.mark.parametrize(("constraint", "signals", "expected"), CASES)
def test_values_by_hand(constraint: Constraint, signals: Mapping[str, Any], expected: Any):
    bound = constraint.bind(OFFERS)
    np.testing.assert_allclose(bound.value(arrays(signals)), np.atleast_2d(expected), rtol=0, atol=1e-12)


def test_gradient_of_tilt_is_zero_when_upright():
    gradient = BaseTilt(name="tilt", limit=0.1).gradient(arrays({"projected_gravity": [[0, 0, -1], [0.6, 0, -0.8]]}))
    np.testing.assert_array_equal(gradient["projected_gravity"], [[[0, 0, 0]], [[1, 0, 0]]])


def test_gradient_only_touches_bound_columns():
    constraint = ContactForce(name="force", limit=1, components=("tail", "left")).bind(OFFERS)
    gradient = constraint.gradient(arrays({"contact_force/feet": [1, 2, 3]}))
    assert gradient is not None
    np.testing.assert_array_equal(gradient["contact_force/feet"], [[[0, 0, 1], [1, 0, 0]]])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"family": "base_height", "bound": "absolute"}, ["'bad'", "bound 'absolute'", "lower, upper"]),
        (
            {"family": "signal_limit", "signal": "action", "bound": "up"},
            ["'bad'", "bound 'up'", "absolute, lower, upper"],
        ),
        ({"family": "feet_in_contact", "count": 1.5}, ["'bad'", "count", "1.5"]),
        ({"family": "feet_in_contact", "count": True}, ["'bad'", "count", "True"]),
        ({"family": "feet_in_contact", "count": -1}, ["'bad'", "count", "-1"]),
        ({"family": "feet_in_contact", "threshold": "1"}, ["'bad'", "threshold", "'1'"]),
        ({"family": "action_rate", "timestep": 0}, ["'bad'", "timestep"]),
        ({"family": "axis_speed", "axis": "w"}, ["'bad'", "axis 'w'", "x, y, z"]),
        ({"family": "joint_torque", "components": []}, ["'bad'", "components", "distinct names"]),
        ({"family": "joint_torque", "components": "hip"}, ["'bad'", "components", "'hip'"]),
        ({"family": "joint_torque", "components": ["hip", "hip"]}, ["'bad'", "components", "distinct"]),
        ({"family": "joint_torqe"}, ["unknown constraint family 'joint_torqe'", "did you mean 'joint_torque'"]),
        ({"family": ["joint_torque"]}, ["unknown constraint family ['joint_torque']", "joint_velocity"]),
        ({"family": "joint_torque", "name": "two words"}, ["'two words'", "letters"]),
        ({"family": "keep_out"}, ["'bad'", "'shape' is missing"]),
        ({"family": "keep_out", "shape": 3}, ["'bad'", "'shape'", "3"]),
        ({"family": "keep_out", "shape": {"shape": "bal"}}, ["'bad'", "'bal'", "did you mean 'ball'", "capsule"]),
        ({"family": "keep_out", "shape": {"shape": ["ball"]}}, ["'bad'", "['ball']", "capsule"]),
        (
            {"family": "keep_out", "shape": {"shape": "ball", "center": [0, 0, 0], "radios": 1}},
            ["'bad'", "'ball'", "'radios'", "did you mean 'radius'", "center"],
        ),
        ({"family": "keep_in", "shape": {"shape": "ball", "radius": 1}}, ["'bad'", "'ball'", "'center' is missing"]),
        (
            {"family": "keep_in", "shape": {"shape": "ball", "center": [0, 0, 0], "radius": -1}},
            ["'bad'", "'ball'", "radius", "-1"],
        ),
    ],
)
def test_errors_teach(spec: dict[str, Any], words: list[str]):
    with pytest.raises(ConstraintError) as error:
        from_spec({"name": "bad", "limit": 1.0} | spec)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "1", True, None, [1]])
@pytest.mark.parametrize(
    ("cls", "valid"),
    [
        (HalfSpace, {"normal": (0, 0, 1), "offset": 0}),
        (Ball, {"center": (0, 0, 0), "radius": 1}),
        (Box, {"center": (0, 0, 0), "half_sizes": (1, 1, 1)}),
        (Capsule, {"start": (0, 0, 0), "end": (1, 0, 0), "radius": 1}),
    ],
)
def test_shapes_reject_what_is_no_number(cls: Any, valid: dict[str, Any], bad: object):
    for key, value in valid.items():
        wrong = (0, bad, 0) if isinstance(value, tuple) else bad
        with pytest.raises(ConstraintError, match=f"shape '{cls.shape}': {key} must be"):
            cls(**valid | {key: wrong})
        with pytest.raises(ConstraintError, match=f"shape '{cls.shape}': {key} must be"):
            cls(**valid | {key: (0, 0)})


@pytest.mark.parametrize("normal", [(0, 0, 0), (1e-12, 0, 0), (0, 1e12, 0)])
def test_half_space_needs_a_direction(normal: tuple[float, float, float]):
    with pytest.raises(ConstraintError, match="normal must be a direction"):
        HalfSpace(normal=normal, offset=0)


@pytest.mark.parametrize(("cls", "key"), [(Ball, "radius"), (Capsule, "radius"), (Box, "half_sizes")])
def test_sizes_must_not_be_negative(cls: Any, key: str):
    zeros = {"center": (0, 0, 0), "start": (0, 0, 0), "end": (0, 0, 0)}
    places = {name: zeros[name] for name in cls.__dataclass_fields__ if name in zeros}
    cls(**places, **{key: (0, 0, 0) if key == "half_sizes" else 0})
    with pytest.raises(ConstraintError, match=f"{key} must not be negative"):
        cls(**places, **{key: (0, -0.1, 0) if key == "half_sizes" else -0.1})


def test_half_space_keeps_its_set_when_the_normal_is_scaled():
    assert HalfSpace(normal=(0, 0, 2), offset=1) == HalfSpace(normal=(0, 0, 1), offset=0.5)


def test_shapes_accept_arrays_and_lists():
    assert Ball(center=np.zeros(3), radius=np.float32(0.5)) == Ball(center=[0, 0, 0], radius=0.5)
    assert shape_from_spec(BALL, "test") is BALL


def test_region_needs_a_position():
    keep_out = KeepOut(name="pillar", limit=0, shape=BALL, signal="action")
    with pytest.raises(SignalError, match=r"'pillar': 'action' must have columns x, y, z, but has: hip, knee"):
        keep_out.bind(OFFERS)


def test_an_empty_group_is_refused():
    with pytest.raises(SignalError, match=r"'force'.*'contact_force/feet' has no components"):
        ContactForce(name="force", limit=1).bind({"contact_force/feet": SignalInfo((), "N")})


def test_between_needs_an_order():
    with pytest.raises(ConstraintError, match="lower 2 must be below upper 1"):
        JointPosition.between(2, 1, name="range")


MIXED = (
    JointTorque(name="torque", limit=0.5, cost="excess", cost_limit=25.0),
    BaseHeight(name="height", limit=0.2, cost="signed"),
    ContactForce(name="force", limit=0.3, cost="sqrt"),
    SignalLimit(name="first", signal="observation", components=("0",), limit=0.0),
    SignalLimit(name="all", signal="observation", limit=0.1, cost="log1p", bound="absolute", cost_limit=1.0),
    PlanarSpeed(name="speed", limit=1.0, cost="indicator"),
)
COSTS = {
    "indicator": lambda g: float(g > 0),
    "excess": lambda g: max(g, 0.0),
    "sqrt": lambda g: np.sqrt(max(g, 0.0)),
    "log1p": lambda g: np.log1p(max(g, 0.0)),
    "signed": lambda g: g,
}


def random_signals(n: int, seed: int) -> dict[str, FloatArray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(n, len(info.components))) for name, info in OFFERS.items()}


@pytest.mark.parametrize("n", [1, 7])
@pytest.mark.parametrize("members", [MIXED, MIXED[1:2] + MIXED[3:4], MIXED[:1], MIXED[5:]])
def test_set_equals_a_loop_over_constraints_and_copies(n: int, members: tuple[Constraint, ...]):
    constraints = ConstraintSet(members, OFFERS)
    signals = random_signals(n, seed=n)
    evaluation = constraints.evaluate(signals)
    assert evaluation.values.shape == (n, constraints.num_components)
    for i in range(n):
        row = {name: array[i : i + 1] for name, array in signals.items()}
        stacked = [constraint.value(row)[0] for constraint in constraints]
        np.testing.assert_array_equal(evaluation.values[i], np.concatenate(stacked))
        for c, (constraint, own) in enumerate(zip(constraints, stacked, strict=True)):
            np.testing.assert_array_equal(evaluation.values[i, constraints.slices[c]], own)
            assert evaluation.violated[i, c] == (max(own) > 0)
            assert evaluation.costs[i, c] == pytest.approx(COSTS[constraint.cost](max(own)), abs=1e-15)


@pytest.mark.parametrize("cost", COSTS)
def test_cost_shapes_on_the_boundary_and_both_sides(cost: Any):
    constraints = ConstraintSet([BaseHeight(name="height", limit=0.0, bound="upper", cost=cost)], OFFERS)
    values = np.array([[-2.0], [0.0], [1e-12], [3.0]])
    evaluation = constraints.judge(values)
    np.testing.assert_allclose(evaluation.costs[:, 0], [COSTS[cost](g) for g in values[:, 0]], rtol=1e-15)
    np.testing.assert_array_equal(evaluation.violated[:, 0], [False, False, True, True])


def test_set_says_what_it_holds_before_the_first_step():
    constraints = ConstraintSet(MIXED, OFFERS)
    assert constraints.names == ("torque", "height", "force", "first", "all", "speed")
    assert constraints.components[:3] == ("torque/hip", "torque/knee", "height/height")
    assert constraints.components[-4:] == ("all/0", "all/1", "all/2", "speed/speed")
    assert constraints.num_components == 2 + 1 + 3 + 1 + 3 + 1
    np.testing.assert_array_equal(constraints.limited, [True, False, False, False, True, False])
    assert constraints.requires == {
        "joint_torque",
        "base_height",
        "contact_force/feet",
        "observation",
        "base_velocity",
    }
    assert len(constraints) == 6
    assert constraints[4].name == "all"
    assert constraints_from_specs(constraints.to_specs(), "test") == tuple(constraints)


def test_set_refuses_duplicates_and_nothing():
    with pytest.raises(ConstraintError, match="'torque' occurs twice"):
        ConstraintSet([MIXED[0], MIXED[1], MIXED[0]], OFFERS)
    with pytest.raises(ConstraintError, match="at least one"):
        ConstraintSet([], OFFERS)


def test_set_checks_the_offers_once_at_construction():
    with pytest.raises(SignalError, match=r"'speed': unknown signal 'base_velocity'.*did you mean 'joint_velocity'"):
        ConstraintSet(MIXED, {name: info for name, info in OFFERS.items() if name != "base_velocity"})


@pytest.mark.parametrize("specs", ["torque", {"family": "joint_torque"}, 3, None])
def test_specs_must_be_a_list(specs: Any):
    with pytest.raises(ConstraintError, match=r"task\.yaml: expected a list of constraints"):
        constraints_from_specs(specs, "task.yaml")

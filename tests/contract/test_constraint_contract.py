"""What every registered constraint family must hold; a new family is tested here because it is registered."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pytest

from saferl_envs.constraints import Constraint, ConstraintSet, constraints_from_specs, families, from_spec
from saferl_envs.errors import ConstraintError, SignalError
from saferl_envs.signals import FloatArray, SignalInfo, Signals, SignalSource

JOINT_SIGNALS = (
    "joint_position",
    "joint_velocity",
    "joint_acceleration",
    "joint_torque",
    "action",
    "previous_action",
)
JOINTS = ("hip", "thigh", "knee", "ankle")
FEET = ("fl", "fr", "hl", "hr")
XYZ = ("x", "y", "z")
PILLAR = {"shape": "capsule", "start": [0, 0, -1], "end": [0, 0.5, 1], "radius": 0.5}

# Variations of the defaults that a family is tested with; a family that is not named here is tested with its defaults.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "action_rate": [{}, {"timestep": 0.02}],
    "axis_speed": [{}, {"axis": "y", "absolute": True}, {"signal": "body_velocity/torso"}],
    "base_height": [{}, {"bound": "upper"}],
    "contact_force": [{}, {"components": ["hr", "fl"]}, {"group": "legs"}],
    "feet_in_contact": [{}, {"count": 3, "threshold": 20.0, "group": "legs"}],
    "heading": [{}, {"heading": 2.5, "largest": 0.9}],
    "joint_position": [{}, {"components": ["knee", "hip"], "reference": -0.2}],
    "keep_in": [
        {"shape": {"shape": "ball", "center": [0.1, 0.2, 0.3], "radius": 1}},
        {"shape": {"shape": "box", "center": [0.1, 0.2, 0.3], "half_sizes": [0.5, 0.6, 0.7]}},
        {"shape": {"shape": "half_space", "normal": [1.0, 2.0, 3.0], "offset": 0.1}},
    ],
    "keep_out": [{"shape": PILLAR}, {"shape": PILLAR, "signal": "body_position/torso"}],
    "signal_limit": [
        {"signal": "observation"},
        {"signal": "observation", "bound": "lower", "components": ["2"], "unit": "rad"},
        {"signal": "info/fuel", "bound": "absolute"},
    ],
    "stumble": [{}, {"components": ["hr", "fl"], "group": "legs", "ratio": 1.5}],
    "upside_down": [{}, {"limit": -0.2}],
}


class FakeSource:
    """Plausible signals of `n` copies; any attempt to write into them raises."""

    def __init__(self, n: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        gravity = rng.normal(size=(n, 3))
        gravity /= np.linalg.norm(gravity, axis=1, keepdims=True)
        self._offers = {name: SignalInfo(JOINTS, "1") for name in JOINT_SIGNALS}
        for body in ("base_{}", "body_{}/torso"):
            self._offers[body.format("position")] = SignalInfo(XYZ, "m")
            self._offers[body.format("velocity")] = SignalInfo(XYZ, "m/s")
        for group in ("feet", "legs"):
            self._offers[f"swing_time/{group}"] = SignalInfo(FEET, "s")
            self._offers[f"touchdown/{group}"] = SignalInfo(FEET, "1")
            for part in ("", "horizontal_", "vertical_"):
                self._offers[f"{part}contact_force/{group}"] = SignalInfo(FEET, "N")
        self._offers["projected_gravity"] = SignalInfo(XYZ, "1")
        self._offers["base_height"] = SignalInfo(("height",), "m")
        self._offers["base_yaw"] = SignalInfo(("yaw",), "rad")
        self._offers["observation"] = SignalInfo(tuple(map(str, range(5))), "1")
        self._offers["info/fuel"] = SignalInfo(("fuel",), "1")
        self._signals = {name: rng.normal(size=(n, len(info.components))) for name, info in self._offers.items()}
        self._signals["projected_gravity"] = gravity
        for group in ("feet", "legs"):
            self._signals[f"touchdown/{group}"] = rng.integers(0, 2, size=(n, 4)).astype(np.float64)
            self._signals[f"swing_time/{group}"] = rng.uniform(0, 1, size=(n, 4))
            self._signals[f"contact_force/{group}"] = np.maximum(rng.normal(0, 30, size=(n, 4)), 0)
        for array in self._signals.values():
            array.flags.writeable = False

    def offers(self) -> Mapping[str, SignalInfo]:
        return self._offers

    def read(self, names: Collection[str]) -> Signals:
        return {name: self._signals[name] for name in names}


SOURCE = FakeSource(64)


def examples() -> list[Any]:
    """Every family of the library (not the toys of other tests) with every variant of its arguments."""
    return [
        pytest.param({"family": family, "name": "example", "limit": 0.25} | variant, id=f"{family}-{i}")
        for family, cls in sorted(families().items())
        if cls.__module__.startswith("saferl")
        for i, variant in enumerate(VARIANTS.get(family, [{}]))
    ]


@pytest.fixture(params=examples())
def spec(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param


@pytest.fixture
def bound(spec: dict[str, Any]) -> Constraint:
    return from_spec(spec).bind(SOURCE.offers())


def rows(signals: Signals, index: slice) -> Signals:
    return {name: array[index] for name, array in signals.items()}


def test_the_fake_is_a_signal_source():
    assert isinstance(SOURCE, SignalSource)


def test_every_variant_names_a_family():
    assert set(VARIANTS) <= set(families())


def test_is_frozen_hashable_and_pickles(spec: dict[str, Any], bound: Constraint):
    constraint = from_spec(spec)
    for field in dataclasses.fields(constraint):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(constraint, field.name, None)
    assert hash(constraint) == hash(from_spec(spec))
    copy = pickle.loads(pickle.dumps(bound))
    assert copy == bound
    assert copy.columns == bound.columns


def test_json_round_trip_is_exact(spec: dict[str, Any], bound: Constraint):
    for constraint in (from_spec(spec), bound):
        text = json.dumps(constraint.to_spec())
        again = from_spec(json.loads(text))
        assert again == constraint
        assert json.dumps(again.to_spec()) == text


def test_bind_fills_in_components_and_is_idempotent(spec: dict[str, Any], bound: Constraint):
    assert bound.components
    assert bound.components == tuple(spec.get("components", bound.components))
    again = bound.bind(SOURCE.offers())
    assert again == bound
    assert again.columns == bound.columns
    assert set(bound.columns or ()) == bound.requires
    assert set(bound.component_signals) <= bound.requires


def test_value_has_one_column_per_component_and_is_pure(bound: Constraint):
    signals = SOURCE.read(bound.requires)
    before = {name: array.copy() for name, array in signals.items()}
    value = bound.value(signals)
    assert value.shape == (64, len(bound.components or ()))
    assert np.issubdtype(value.dtype, np.floating)
    assert np.isfinite(value).all()
    assert np.ptp(value) > 0, "these signals do not exercise the constraint"
    assert all(not np.shares_memory(value, array) for array in signals.values())
    np.testing.assert_array_equal(bound.value(signals), value)
    for name, array in signals.items():
        np.testing.assert_array_equal(array, before[name])


def test_a_copy_alone_equals_its_row_of_the_batch_bit_for_bit(bound: Constraint):
    signals = SOURCE.read(bound.requires)
    value, gradient = bound.value(signals), bound.gradient(signals) or {}
    for i in range(64):
        alone = rows(signals, slice(i, i + 1))
        assert bound.value(alone).tobytes() == value[i : i + 1].tobytes()
        for name, slopes in (bound.gradient(alone) or {}).items():
            assert slopes.tobytes() == gradient[name][i : i + 1].tobytes()


def test_gradient_matches_finite_differences(bound: Constraint):
    signals = SOURCE.read(bound.requires)
    gradient = bound.gradient(signals)
    if gradient is None:
        return  # a step function, or a family without a closed form
    value, step = bound.value(signals), 1e-6
    assert set(gradient) <= bound.requires
    for name, slopes in gradient.items():
        assert slopes.shape == (*value.shape, signals[name].shape[1])
        forward, backward = (_one_sided_slopes(bound, signals, name, value, sign * step) for sign in (1, -1))
        # At a kink the slopes of the two sides differ and any value between them is a gradient.
        smooth = np.abs(forward - backward) < 1e-4
        assert smooth.mean() > 0.9
        np.testing.assert_allclose(slopes[smooth], ((forward + backward) / 2)[smooth], atol=1e-6)


def _one_sided_slopes(bound: Constraint, signals: Signals, name: str, value: FloatArray, step: float) -> FloatArray:
    slopes = []
    for column in range(signals[name].shape[1]):
        moved = signals[name].copy()
        moved[:, column] += step
        slopes.append((bound.value({**signals, name: moved}) - value) / step)
    return np.stack(slopes, axis=-1)


def test_unknown_signal_lists_those_on_offer(spec: dict[str, Any]):
    constraint = from_spec(spec)
    for missing in constraint.requires:
        offers = {name: info for name, info in SOURCE.offers().items() if name != missing}
        with pytest.raises(SignalError) as error:
            constraint.bind(offers)
        assert "'example'" in str(error.value)
        assert repr(missing) in str(error.value)
        assert all(name in str(error.value) for name in offers)


def test_unknown_component_lists_the_valid_ones(bound: Constraint):
    if not bound.component_signals:
        with pytest.raises(ConstraintError, match=r"'example'.*one component"):
            dataclasses.replace(bound, components=("wing", "tail")).bind(SOURCE.offers())
        return
    with pytest.raises(SignalError) as error:
        dataclasses.replace(bound, components=("wing",)).bind(SOURCE.offers())
    assert "'example'" in str(error.value)
    assert "'wing'" in str(error.value)
    assert all(name in str(error.value) for name in SOURCE.offers()[bound.component_signals[0]].components)


@pytest.mark.parametrize("key", ["limit", "cost_limit"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), "1", True, [1.0]])
def test_invalid_numbers_are_rejected_at_construction(spec: dict[str, Any], key: str, bad: object):
    with pytest.raises(ConstraintError, match=f"'example'.*{key} must be a finite number"):
        from_spec(spec | {key: bad})


@pytest.mark.parametrize("key", ["kind", "cost", "aggregate", "sense"])
def test_unknown_choice_lists_the_valid_ones(spec: dict[str, Any], key: str):
    with pytest.raises(ConstraintError, match=f"'example'.*unknown {key} 'sotf'.*valid: "):
        from_spec(spec | {key: "sotf"})


def test_unknown_key_lists_the_valid_ones(spec: dict[str, Any]):
    with pytest.raises(ConstraintError) as error:
        from_spec(spec | {"limti": 3}, "safe.yaml: constraints[0]")
    for part in ("safe.yaml: constraints[0]", "'example'", "'limti'", "did you mean 'limit'", "cost_limit"):
        assert part in str(error.value)


def test_missing_keys_are_named(spec: dict[str, Any]):
    cls = families()[spec["family"]]
    for field in dataclasses.fields(cls):
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            with pytest.raises(ConstraintError, match=f"key '{field.name}' is missing"):
                from_spec({key: value for key, value in spec.items() if key != field.name})


def test_unbound_component_families_say_so(spec: dict[str, Any]):
    constraint = from_spec(spec)
    if constraint.component_signals:
        with pytest.raises(ConstraintError, match="'example' is not bound"):
            constraint.value(SOURCE.read(constraint.requires))


def test_all_families_in_one_set_round_trip():
    specs = [param.values[0] | {"name": f"c{i}", "cost_limit": 25.0} for i, param in enumerate(examples())]
    constraints = ConstraintSet(constraints_from_specs(specs, "test"), SOURCE.offers())
    saved = json.loads(json.dumps(constraints.to_specs()))
    again = ConstraintSet(constraints_from_specs(saved, "test"), SOURCE.offers())
    assert list(again) == list(constraints)
    assert again.components == constraints.components
    signals = SOURCE.read(constraints.requires)
    for a, b in zip(again.evaluate(signals), constraints.evaluate(signals), strict=True):
        np.testing.assert_array_equal(a, b)

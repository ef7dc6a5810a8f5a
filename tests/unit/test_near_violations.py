"""Violations counted from a margin on are those of stricter limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th
from saferl.near_violations import NearViolations

from saferl_envs.constraints import AxisSpeed, ConstraintSet, JointVelocity
from saferl_envs.errors import ConfigError
from saferl_envs.signals import SignalInfo

OFFERS = {"joint_velocity": SignalInfo(("hip", "knee"), "rad/s"), "base_velocity": SignalInfo(("x", "y", "z"), "m/s")}
SPECS = ConstraintSet((JointVelocity(name="joints", limit=2.0), AxisSpeed(name="speed", limit=1.0)), OFFERS).to_specs()


def found(columns: list[int], margins: dict[str, float], joints: float, speed: float) -> tuple[th.Tensor, Any]:
    """Return what counts with margins, and whether limits that much stricter are violated, (B, C)."""
    rng = np.random.default_rng(0)
    signals = {"joint_velocity": rng.normal(0, 1.5, (200, 2)), "base_velocity": rng.normal(0, 1, (200, 3))}
    given = ConstraintSet((JointVelocity(name="joints", limit=2.0), AxisSpeed(name="speed", limit=1.0)), OFFERS)
    stricter = ConstraintSet((JointVelocity(name="joints", limit=joints), AxisSpeed(name="speed", limit=speed)), OFFERS)
    measured = given.evaluate(signals)
    counted = NearViolations(SPECS, columns, margins)(
        th.as_tensor(measured.violated, dtype=th.float32), th.as_tensor(measured.values)
    )
    return counted, stricter.evaluate(signals).violated


@pytest.mark.parametrize(
    ("columns", "margins", "joints", "speed"),
    [
        ([0, 1], {}, 2.0, 1.0),
        ([0, 1], {"speed": 0.25}, 2.0, 0.75),
        ([0, 1], {"joints": 0.5, "speed": 0.1}, 1.5, 0.9),
        ([1], {"speed": 0.25}, 2.0, 0.75),
        ([0], {"joints": 0.0}, 2.0, 1.0),
    ],
)
def test_they_are_the_violations_of_stricter_limits(
    columns: list[int], margins: dict[str, float], joints: float, speed: float
) -> None:
    counted, violated = found(columns, margins, joints, speed)
    assert counted.shape == (200, 1)
    np.testing.assert_array_equal(counted[:, 0].numpy() > 0, violated[:, columns].any(axis=1))
    assert 0.0 < counted.mean() < 1.0


@pytest.mark.parametrize(
    ("columns", "margins", "message"),
    [
        ([0, 1], {"sped": 0.1}, "method.margins: unknown constraint 'sped'"),
        ([0], {"speed": 0.1}, "method.margins.speed: the constraint is not guarded"),
        ([1], {"speed": -0.1}, "method.margins.speed: must not be negative"),
        ([1], {"speed": float("inf")}, "method.margins.speed: must be a finite number"),
    ],
)
def test_what_cannot_be_meant_is_refused(columns: list[int], margins: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NearViolations(SPECS, columns, margins)

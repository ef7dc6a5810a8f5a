"""Looking ahead is the future itself, and leaves the present alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from saferl_controllers.backup import linear_backup
from saferl_controllers.barrier import BarrierSafeguard
from saferl_envs.foresight import DIVERGED, Foresight
from saferl_envs.make import make_copies
from toys import engine, random_actions


@pytest.mark.parametrize(
    "name",
    [
        "CartPoleBalance-v0",
        "HalfCheetahVelocity-v0",
        "Solo12Flat-v0",
        "QuadrotorCircle-v0",
        "PandaReach-v0",
        "PointGoal1-v0",
        "CarGoal2-v0",
    ],
)
def test_a_branch_is_what_would_have_happened(name: str) -> None:
    rng = np.random.default_rng(0)
    copies = engine(name, 3)
    for _ in range(7):
        copies.step(random_actions(copies, rng)[:, 0])
    ahead = Foresight(copies, 2, threads=1)
    ahead.begin()
    plans = [random_actions(copies, rng, 2) for _ in range(5)]
    foreseen = [ahead.step(plan) for plan in plans]
    for plan, seen in zip(plans, foreseen, strict=True):
        assert copies.step(plan[:, 1]).values.tobytes() == seen[:, 1].tobytes()
        assert seen[:, 0].tobytes() != seen[:, 1].tobytes()


def test_some_branches_alone_come_out_the_same() -> None:
    rng = np.random.default_rng(0)
    copies = engine("CartPoleBalance-v0", 4)
    actions = random_actions(copies, rng, 3)
    ahead = Foresight(copies, 3, threads=1)
    ahead.begin()
    everything = ahead.step(actions)
    ahead.begin(np.array([1, 3]))
    assert ahead.step(actions)[[1, 3]].tobytes() == everything[[1, 3]].tobytes()


def test_looking_ahead_leaves_the_copies_alone() -> None:
    copies = engine("CartPoleBalance-v0", 2)
    before = {key: array.tobytes() for key, array in copies.state().items()}
    ahead = Foresight(copies, 2, threads=1)
    ahead.begin()
    ahead.step(np.ones((2, 2, 1)))
    assert {key: array.tobytes() for key, array in copies.state().items()} == before


def test_a_branch_that_breaks_down_is_not_safe() -> None:
    copies = engine("CartPoleBalance-v0", 2)
    ahead = Foresight(copies, 1, threads=1)
    ahead.begin()
    ahead.copies.simulation.qvel[0] = 1e11
    for _ in range(2):
        values = ahead.step(np.zeros((2, 1, 1)))
        assert (values[0] == DIVERGED).all()
        assert (values[1] < 0.0).all()
    ahead.begin()
    assert (ahead.step(np.zeros((2, 1, 1))) < 0.0).all()


@pytest.mark.parametrize(("kind", "strength"), [("motor_strength", 0.8), ("latency", 0.01)])
def test_disturbances_are_not_foreseen_and_stop_nothing(kind: str, strength: float) -> None:
    copies: Any = make_copies("saferl/QuadrotorCircle-v0", 2, threads=1, disturbances={kind: strength})
    safeguard = BarrierSafeguard(copies, linear_backup(copies), horizon=5, threads=1)
    ahead = Foresight(copies, 1, threads=1)
    for step in range(4):
        ahead.begin()
        assert ahead.copies.simulation.qpos.tobytes() == copies.simulation.qpos.tobytes()  # it begins where the robot is
        found = safeguard.filter(copies.present(), np.full((2, 2), 0.2 * (-1) ** step, np.float32))
        assert not found.verified.any()
        foreseen = ahead.step(found.action[:, np.newaxis])[:, 0]
        assert foreseen.tobytes() != copies.step(found.action).values.tobytes()


def test_copies_that_have_ended_do_not_stop_the_others() -> None:
    copies = engine("HopperVelocity-v0", 3)
    ahead = Foresight(copies, 1, threads=1)
    copies.step(np.full((3, 3), 0.1))
    copies.step(np.full((3, 3), 0.5), np.array([0, 2]))
    ahead.begin(np.array([0, 2]))
    foreseen = ahead.step(np.full((3, 1, 3), 0.2))[[0, 2], 0]
    assert copies.step(np.full((3, 3), 0.2), np.array([0, 2])).values[[0, 2]].tobytes() == foreseen.tobytes()


def test_what_is_verified_is_what_is_executed() -> None:
    copies = engine("CartPoleBalance-v0", 4)
    safeguard, ahead = BarrierSafeguard(copies, linear_backup(copies), horizon=20, threads=1), Foresight(copies, 1, threads=1)
    for _ in range(20):
        found = safeguard.filter(copies.present(), np.array([[1.0], [-1.0], [0.3], [1.7]], np.float32))
        assert (found.action.astype(np.float32) == found.action).all()  # nothing is lost where it becomes an action
        assert found.intervened[3]  # clipped is changed too
        ahead.begin()
        foreseen = ahead.step(found.action[:, np.newaxis])[:, 0]
        assert copies.step(found.action.astype(np.float32)).values.tobytes() == foreseen.tobytes()

"""Backup controllers are what textbooks say, bring robots to rest, and refuse robots that they cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from saferl_controllers.backup import Brake, linear_backup, linearized, regulator, returning_backup
from saferl_envs.errors import ConfigError
from toys import engine

HOVER = np.full(2, 0.027 * 9.81 / 0.298 - 1.0)


def test_regulator_solves_riccatis_equation() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 4)) * 0.6, rng.normal(size=(4, 2))
    q, r = rng.uniform(0.5, 2.0, 4), rng.uniform(0.5, 2.0, 2)
    value = solve_discrete_are(a, b, np.diag(q), np.diag(r))
    expected = np.linalg.solve(np.diag(r) + b.T @ value @ b, b.T @ value @ a)
    np.testing.assert_allclose(regulator(a, b, q, r), expected, rtol=1e-7)


def test_regulator_says_where_it_cannot() -> None:
    with pytest.raises(ConfigError, match="does not settle"):
        regulator(np.diag([2.0, 0.5]), np.array([[0.0], [1.0]]), np.ones(2), np.ones(1), most=3000)


def test_linearized_pendulum_falls_as_the_textbook_says() -> None:
    copies = engine("CartPoleBalance-v0", 1)
    a, b = linearized(copies, np.zeros(2), np.zeros(2), np.zeros(1))
    # a uniform rod of length 1 with rounded ends on a cart: the angle's unstable eigenvalue, and the push of a unit action
    rates = np.log(np.linalg.eigvals(a).real.clip(1e-9)) / copies.control_timestep
    assert rates.max() == pytest.approx(np.sqrt(1.5 * 9.81 / (1.0 - 0.75 * 0.1 / 1.1)), rel=0.05)
    assert b[2, 0] > 0.0 > b[3, 0]


def test_linear_backup_brings_a_robot_to_rest() -> None:
    for name, rest in (("CartPoleBalance-v0", np.zeros(1)), ("QuadrotorCircle-v0", HOVER)):
        copies = engine(name, 4)
        backup = linear_backup(copies, np.zeros(copies.simulation.model.nq), rest)
        for _ in range(400):
            copies.step(backup(copies))
        assert np.abs(copies.simulation.qpos).max() < 1e-2
        assert np.abs(copies.simulation.qvel).max() < 1e-2


def test_linear_backup_refuses_what_has_no_plain_coordinates() -> None:
    copies = engine("AntVelocity-v0", 1)
    with pytest.raises(ConfigError, match="free or ball joint"):
        linear_backup(copies, copies.simulation.qpos[0], np.zeros(8))


def test_a_rest_outside_of_a_joints_range_is_refused() -> None:
    copies = engine("PandaReach-v0", 1)
    with pytest.raises(ConfigError, match="rest 0 of joint4 is outside its range"):
        returning_backup(copies, np.zeros(9))
    with pytest.raises(ConfigError, match="rest has 7 positions, the model has 9: person_x, person_y, joint1"):
        returning_backup(copies, np.zeros(7))


def test_a_robot_that_nobody_taught_to_brake_is_refused() -> None:
    with pytest.raises(ConfigError, match="CartPoleBalance does not say how its robot brakes"):
        Brake(engine("CartPoleBalance-v0", 1))


@pytest.mark.parametrize("name", ["PointGoal1-v0", "CarGoal1-v0"])
def test_brakes_bring_a_robot_to_a_stop(name: str) -> None:
    copies = engine(name, 16)
    actions, brake = np.random.default_rng(0).uniform(-1.0, 1.0, (16, 2)), Brake(copies)
    for _ in range(40):
        copies.step(actions)
    task: Any = copies.task
    before = np.hypot(*task.robot.motion(copies.simulation.qpos, copies.simulation.qvel).velocity.T)
    for _ in range(200):
        copies.step(brake(copies))
    after = np.hypot(*task.robot.motion(copies.simulation.qpos, copies.simulation.qvel).velocity.T)
    assert before.mean() > 0.3
    assert after.max() < 0.05
    assert np.abs(task.robot.motion(copies.simulation.qpos, copies.simulation.qvel).turning).max() < 1.0

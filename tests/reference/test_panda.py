"""The arm against its published numbers: Denavit-Hartenberg parameters, masses and inertias, and the gravity they imply."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest

from saferl_envs.engine import Engine
from saferl_envs.tasks.panda_reach import HIGH, LOW, POINTS, RADIUS, READY, SPEEDS, PandaReach

Array = np.ndarray[Any, Any]
# a, d, alpha of each joint and of the flange, in Craig's convention (Franka Emika, robot and interface specifications)
DH = (
    (0.0, 0.333, 0.0), (0.0, 0.0, -np.pi / 2), (0.0, 0.316, np.pi / 2), (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2), (0.0, 0.0, np.pi / 2), (0.088, 0.0, np.pi / 2), (0.0, 0.107, 0.0),
)  # fmt: skip
# mass, centre of mass, and Ixx, Iyy, Izz, Ixy, Ixz, Iyz about it along the link's axes (Gaz et al. 2019, in franka_description)
LINKS = (
    (4.970684, (0.003875, 0.002081, -0.04762), (0.70337, 0.70661, 0.009117, -0.000139, 0.006772, 0.019169)),
    (0.646926, (-0.003141, -0.02872, 0.003495), (0.007962, 0.02811, 0.025995, -0.003925, 0.010254, 0.000704)),
    (3.228604, (0.027518, 0.039252, -0.066502), (0.037242, 0.036155, 0.01083, -0.004761, -0.011396, -0.012805)),
    (3.587895, (-0.05317, 0.104419, 0.027454), (0.025853, 0.019552, 0.028323, 0.007796, -0.001332, 0.008641)),
    (1.225946, (-0.011953, 0.041065, -0.038437), (0.035549, 0.029474, 0.008627, -0.002117, -0.004037, 0.000229)),
    (1.666555, (0.060149, -0.014117, -0.010517), (0.001964, 0.004354, 0.005433, 0.000109, -0.001158, 0.000341)),
    (0.735522, (0.010517, -0.004252, 0.061597), (0.012516, 0.010027, 0.004815, -0.000428, -0.001196, -0.000741)),
)
POSES = [READY, np.zeros(7) + 0.3 * (LOW + HIGH), np.random.default_rng(0).uniform(LOW, HIGH)]


@pytest.fixture(scope="module")
def arm() -> Engine:
    return Engine(PandaReach(), 4, threads=1)


def frames(angles: Array) -> list[Array]:
    """Return the poses (4, 4) of the seven links and the flange."""
    found, pose = [], np.eye(4)
    for (a, d, alpha), turn in zip(DH, (*angles, 0.0), strict=True):
        c, s, ca, sa = np.cos(turn), np.sin(turn), np.cos(alpha), np.sin(alpha)
        pose = pose @ np.array([[c, -s, 0, a], [s * ca, c * ca, -sa, -sa * d], [s * sa, c * sa, ca, ca * d], [0, 0, 0, 1]])
        found.append(pose)
    return found


def placed(arm: Engine, angles: Array) -> Any:
    data = mujoco.MjData(arm.simulation.model)
    data.qpos[2:] = angles
    mujoco.mj_forward(arm.simulation.model, data)
    return data


@pytest.mark.parametrize("angles", POSES)
def test_links_are_where_the_data_sheet_puts_them(arm: Engine, angles: Array) -> None:
    data = placed(arm, angles)
    for k, pose in enumerate(frames(angles)):
        at = data.body(f"link{k + 1}") if k < 7 else data.site("flange")
        np.testing.assert_allclose(at.xpos, pose[:3, 3], atol=1e-9)
        np.testing.assert_allclose(at.xmat.reshape(3, 3), pose[:3, :3], atol=1e-9)


def test_masses_and_inertias_are_the_published_ones(arm: Engine) -> None:
    model = arm.simulation.model
    for k, (mass, com, inertia) in enumerate(LINKS):
        body = model.body(f"link{k + 1}")
        xx, yy, zz, xy, xz, yz = inertia
        turn = np.zeros(9)
        mujoco.mju_quat2Mat(turn, body.iquat)
        turn = turn.reshape(3, 3)
        np.testing.assert_allclose(body.mass, mass, rtol=1e-12)
        np.testing.assert_allclose(body.ipos, com, rtol=1e-12)
        expected = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        np.testing.assert_allclose(turn @ np.diag(body.inertia) @ turn.T, expected, atol=1e-9)


@pytest.mark.parametrize("angles", POSES)
def test_gravity_torque_is_the_slope_of_potential_energy(arm: Engine, angles: Array) -> None:
    def energy(q: Array) -> float:
        poses = frames(q)
        heights = [(poses[k] @ np.array([*com, 1.0]))[2] for k, (_, com, _) in enumerate(LINKS)]
        return 9.81 * sum(mass * height for (mass, _, _), height in zip(LINKS, heights, strict=True))

    step = 1e-6
    slopes = [(energy(angles + step * e) - energy(angles - step * e)) / (2 * step) for e in np.eye(7)]
    data = placed(arm, angles)
    np.testing.assert_allclose(data.qfrc_bias[2:], slopes, atol=1e-6)
    np.testing.assert_allclose(data.qfrc_gravcomp[2:], slopes, atol=1e-6)  # which is compensated


def test_joints_have_the_data_sheets_limits(arm: Engine) -> None:
    model = arm.simulation.model
    np.testing.assert_allclose(model.jnt_range[2:], np.stack((LOW, HIGH), axis=1))
    np.testing.assert_allclose(model.actuator_ctrlrange[:7, 1], SPEEDS)
    assert model.actuator_forcerange[:7, 1].tolist() == [87.0] * 4 + [12.0] * 3


def test_actions_are_shares_of_the_largest_speeds(arm: Engine) -> None:
    arm.reset()
    for _ in range(5):
        arm.step(np.full((4, 7), 0.3))
    np.testing.assert_allclose(arm.simulation.qvel[:, 2:], np.tile(0.3 * SPEEDS, (4, 1)), atol=0.02)


def test_clearances_are_distances_between_surfaces(arm: Engine) -> None:
    arm.reset()
    signals = arm.present()
    site = signals["site_position/wrist"][0]
    person = np.array([*arm.simulation.qpos[0, :2], np.clip(site[2], 0.2, 1.5)])
    expected = np.linalg.norm(site - person) - RADIUS - POINTS["wrist"]
    assert signals["clearance"][0, list(POINTS).index("wrist")] == pytest.approx(expected)


def test_the_goal_lies_past_the_person(arm: Engine) -> None:
    arm.seed(np.arange(4))
    arm.reset()
    tip, goal = arm.present()["site_position/tip"], arm.memory["goal"]
    assert (np.sign(tip[:, 1]) == -np.sign(goal[:, 1])).all()
    assert (arm.values() < 0.0).all()  # nothing is violated where it begins
    crossing = np.abs(0.5 * (tip + goal)[:, 1])
    assert (crossing < 0.2).all()

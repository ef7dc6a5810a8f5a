"""Solo-12: the model against its source's numbers and an independent rigid-body library, the servos, and the task's rules.

``solo12.json`` holds what pinocchio computes from the URDF whose numbers the model carries (benchmarks/solo12_reference.py).
"""

from __future__ import annotations

import json
from pathlib import Path

import mujoco
import numpy as np
import pytest

from saferl_envs.engine import Engine
from saferl_envs.noise import Noise
from saferl_envs.tasks.commands import Commands
from saferl_envs.tasks.solo12 import Solo12Flat

SOURCE = json.loads((Path(__file__).parent / "solo12.json").read_text())
JOINTS = [f"{leg}_{joint}" for leg in ("FL", "FR", "HL", "HR") for joint in ("HAA", "HFE", "KFE")]


@pytest.fixture(scope="module")
def model():
    return Solo12Flat().spec().compile()


def composite(model, body):
    """Return mass, centre of mass and inertia about it of a body and what is fixed to it, in the body's frame."""
    parts, todo = [], [(body, np.zeros(3), np.eye(3))]
    while todo:
        b, origin, rotation = todo.pop()
        own = np.zeros(9)
        mujoco.mju_quat2Mat(own, model.body_iquat[b])
        axes = rotation @ own.reshape(3, 3)
        inertia = axes @ np.diag(model.body_inertia[b]) @ axes.T
        parts.append((model.body_mass[b], origin + rotation @ model.body_ipos[b], inertia))
        fixed = [c for c in range(1, model.nbody) if model.body_parentid[c] == b and model.body_jntnum[c] == 0]
        todo += [(child, origin + rotation @ model.body_pos[child], rotation) for child in fixed]
    mass = sum(m for m, _, _ in parts)
    com = sum(m * c for m, c, _ in parts) / mass
    about = sum(i + m * (np.dot(c - com, c - com) * np.eye(3) - np.outer(c - com, c - com)) for m, c, i in parts)
    return mass, com, about


def test_every_links_mass_and_inertia_are_the_sources(model):
    assert model.body_mass.sum() == pytest.approx(SOURCE["total_mass"], abs=1e-9)
    assert SOURCE["total_mass"] == pytest.approx(2.5, abs=1e-5)
    for joint, link in SOURCE["links"].items():
        body = model.body("base").id if joint == "root_joint" else int(model.jnt_bodyid[model.joint(joint).id])
        mass, com, inertia = composite(model, body)
        assert mass == pytest.approx(link["mass"], abs=1e-12)
        np.testing.assert_allclose(com, link["com"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(inertia, link["inertia"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("pose", SOURCE["poses"])
def test_gravity_torques_are_those_of_an_independent_library(model, pose):
    data = mujoco.MjData(model)
    data.qpos[3:7], data.qpos[7:] = pose["quaternion"], pose["angles"]
    mujoco.mj_forward(model, data)
    assert [model.joint(j).name for j in range(1, 13)] == JOINTS
    np.testing.assert_allclose(data.qfrc_bias[6:], pose["gravity"], rtol=0, atol=1e-6)


def test_each_physics_step_applies_the_pd_law_of_its_first_instant():
    """Explicit PD at 200 Hz, clipped at 10 Nm, as the CaT release computes it outside the simulator."""
    task = Solo12Flat()
    engine = Engine(task, 1, threads=1)
    simulation, rng = engine.simulation, np.random.default_rng(0)
    force = simulation.field("actuator_force")
    saturated = False
    for _ in range(30):
        action = rng.uniform(-5, 5, (1, 12))
        simulation.ctrl[:] = task.control(action, engine.memory)
        for _ in range(4):
            wanted = 4.0 * (simulation.ctrl[0] - simulation.qpos[0, 7:]) - 0.2 * simulation.qvel[0, 6:]
            simulation.batch.step(None, nstep=1)
            np.testing.assert_allclose(force[0], np.clip(wanted, -10, 10), rtol=0, atol=1e-9)
            saturated |= bool((np.abs(wanted) > 10).any())
    assert saturated
    assert simulation.control_timestep == pytest.approx(0.02)


def test_the_action_can_cross_the_torque_limit():
    engine = Engine(Solo12Flat(), 4, threads=1)
    worst = max(engine.step(np.full((4, 12), 5.0)).values[:, engine.constraints.slices[0]].max() for _ in range(10))
    assert worst > 3.0


def test_linear_velocity_in_the_bases_frame_is_the_rotated_state():
    engine = Engine(Solo12Flat(), 8, threads=1)
    rng = np.random.default_rng(1)
    for _ in range(20):
        engine.step(rng.normal(size=(8, 12)))
    for i in range(8):
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, engine.simulation.qpos[i, 3:7])
        local = rotation.reshape(3, 3).T @ engine.simulation.qvel[i, :3]
        np.testing.assert_allclose(engine.signals.view["base_linear_velocity"][i], local, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(engine.signals.view["base_angular_velocity"][i], engine.simulation.qvel[i, 3:6])


def test_peak_forces_are_the_largest_over_the_physics_steps():
    engine = Engine(Solo12Flat(play=True), 3, threads=1)
    other = Engine(Solo12Flat(play=True), 3, threads=1)
    rng = np.random.default_rng(2)
    above = 0
    for _ in range(60):
        action = rng.normal(size=(3, 12))
        engine.step(action)
        other.simulation.ctrl[:] = other.task.control(np.array(action), other.memory)
        seen = []
        for _ in range(4):
            other.simulation.batch.step(None, nstep=1)
            seen.append(np.linalg.norm(other.signals._forces("feet"), axis=-1))
        np.testing.assert_allclose(engine.signals.view["peak_contact_force/feet"], np.max(seen, axis=0), rtol=0, atol=1e-9)
        above += int((np.max(seen, axis=0) > seen[-1] + 1.0).sum())
        np.testing.assert_array_equal(engine.simulation.qpos, other.simulation.qpos)
    assert above > 10


def test_the_same_command_is_judged_rewarded_and_observed():
    engine = Engine(Solo12Flat(play=True), 64, threads=1)
    rng = np.random.default_rng(3)
    for _ in range(40):
        command = engine.memory["command"].copy()
        found = engine.step(rng.normal(size=(64, 12)) * 0.2)
        velocity = engine.signals.view["base_linear_velocity"]
        expected = np.exp(-((command[:, :2] - velocity[:, :2]) ** 2).sum(axis=1) / 0.25)
        np.testing.assert_allclose(found.reward_terms["tracking"], expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(found.observation[:, 3:6], engine.memory["command"] * (2.0, 2.0, 0.25), rtol=0, atol=1e-12)


def test_style_terms_hold_only_for_the_commands_they_are_for():
    engine = Engine(Solo12Flat(play=True), 512, threads=1)
    names = engine.constraints.names
    rng = np.random.default_rng(4)
    seen = {name: np.zeros(2, int) for name in ("two_feet", "hip_roll", "stand_still")}
    for i in range(25):
        command = engine.memory["command"].copy()
        violated = engine.step(rng.normal(size=(512, 12)) * (0.05 if i < 10 else 1.0)).violated
        length, sideways = np.linalg.norm(command, axis=1), np.abs(command[:, 1])
        for name, open_ in (("two_feet", length > 0.5), ("hip_roll", sideways < 0.1), ("stand_still", length < 0.1)):
            v = violated[:, names.index(name)]
            assert not v[~open_].any()
            seen[name] += (v[open_].sum(), (~v[open_]).sum())
    assert all((count > 0).all() for count in seen.values()), seen


def test_commands_have_the_published_ranges_and_rates():
    commands, n = Commands(), 20_000
    drawn = commands.draw(Noise(np.arange(n), np.ones(n, int), np.zeros(n, int)))
    assert drawn.min(axis=0) == pytest.approx([-0.3, -0.7, -0.78], abs=0.01)
    assert drawn.max(axis=0) == pytest.approx([1.0, 0.7, 0.78], abs=0.01)
    zero = ~drawn.any(axis=1)
    assert zero.mean() == pytest.approx(0.2 / 1.3 * 0.2 / 1.4 * 0.2 / 1.56, abs=0.002)
    later = commands.go_on(drawn, Noise(np.arange(n), np.ones(n, int), np.ones(n, int)), 0.02)
    changed = (later[:, 0] != drawn[:, 0])[~zero]
    assert changed.mean() == pytest.approx(0.002, abs=0.001)
    standing = commands.go_on(np.zeros((n, 3)), Noise(np.arange(n), np.ones(n, int), np.ones(n, int)), 0.02)
    assert standing.any(axis=1).mean() == pytest.approx(0.01, abs=0.003)
    flipped = ((later[:, 2] == -drawn[:, 2]) & (later[:, 0] == drawn[:, 0]))[~zero]
    assert flipped.mean() == pytest.approx(0.002, abs=0.001)

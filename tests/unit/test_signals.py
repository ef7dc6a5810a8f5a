"""The signals of a simulated task against MuJoCo itself and against sequences worked out by hand."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from saferl_envs.base_pose import BasePose
from saferl_envs.compile_model import compile_model
from saferl_envs.constraints import AirTime, ContactForce, JointPosition
from saferl_envs.engine import Engine
from saferl_envs.errors import SignalError, TaskError
from saferl_envs.mujoco_signals import MujocoSignals
from saferl_envs.simulation import Simulation
from saferl_envs.task import State, Task
from saferl_envs.tasks import make_task
from toys import Slider

ANT, CHEETAH, HOPPER = (f"saferl/{name}Velocity-v0" for name in ("Ant", "HalfCheetah", "Hopper"))


def engine_with(task, signals, n=3):
    """Return an engine on n copies that keeps the named signals up to date besides the task's own."""
    task.requires = (*task.requires, *signals)
    engine = Engine(task, n, threads=1)
    engine.seed(np.arange(n))
    engine.reset()
    return engine


def read(engine, *names):
    """Return copies of signals."""
    return [engine.signals.read([name])[name].copy() for name in names]


def actions_for(engine, rng):
    return rng.uniform(-1, 1, (engine.num_envs, engine.action_space.shape[0]))


class Toy(Task):
    """A model given as XML, at rest in its initial position."""

    control_timestep = 0.02

    def __init__(self, xml, **attributes):
        self.xml = xml
        for name, value in attributes.items():
            setattr(self, name, value)

    def spec(self):
        return mujoco.MjSpec.from_string(self.xml)

    @property
    def constraints(self):
        return (JointPosition(name="q", limit=1.0),)

    def initial_state(self, noise, model):
        return State(np.tile(model.qpos0, (noise.n, 1)), np.zeros((noise.n, model.nv)))

    def observe(self, signals, memory):
        return np.concatenate((signals["qpos"], signals["qvel"]), axis=1)

    def reward(self, signals, memory):
        return {"none": np.zeros(signals["qpos"].shape[0])}


CHAIN = """<mujoco><option timestep="0.01" gravity="0 0 0"/><worldbody><body name="a">
  <joint name="first" type="hinge" axis="0 1 0" damping="1"/><geom name="a" size=".1" mass="1"/>
  <body name="b" pos=".5 0 0"><joint name="ball" type="ball" damping="1"/><geom name="b" size=".1" mass="1"/>
  <body name="c" pos=".5 0 0"><joint name="base" type="slide" damping="1"/><geom name="c" size=".1" mass="1"/>
  <body name="d" pos=".5 0 0"><joint name="last" type="slide" damping="1"/><geom name="d" size=".1" mass="1"/>
  </body></body></body></body></worldbody><actuator>
  <motor name="m1" joint="last" gear="3" ctrllimited="true" ctrlrange="-1 1"/>
  <motor name="m2" joint="first" gear="-2" ctrllimited="true" ctrlrange="-.5 .5"/></actuator></mujoco>"""


# --- joints ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("env_id", "base"), [(CHEETAH, 3), (ANT, 6), (HOPPER, 3)])
def test_joint_signals_leave_out_the_base(env_id, base):
    engine = engine_with(make_task(env_id), ["joint_position", "joint_velocity", "joint_torque"])
    rng = np.random.default_rng(0)
    model, simulation = engine.simulation.model, engine.simulation
    names = tuple(model.joint(j).name for j in range(model.njnt))
    joints = engine.signals.offers()["joint_velocity"].components
    assert joints == names[-len(joints) :]
    assert len(joints) == model.nv - base == model.nu
    assert not set(joints) & set(engine.task.base_joints)
    for _ in range(4):
        engine.step(actions_for(engine, rng))
        position, velocity, torque = read(engine, "joint_position", "joint_velocity", "joint_torque")
        np.testing.assert_array_equal(position, simulation.qpos[:, -len(joints) :])
        np.testing.assert_array_equal(velocity, simulation.qvel[:, base:])
        assert torque.shape == velocity.shape


def test_joint_signals_of_scattered_columns():
    engine = engine_with(
        Toy(CHAIN, base_joints=("base",)), ["joint_position", "joint_velocity", "joint_torque", "joint_acceleration"]
    )
    assert engine.signals.offers()["joint_position"].components == ("first", "last")
    rng = np.random.default_rng(0)
    for _ in range(3):
        engine.step(actions_for(engine, rng))
    position, velocity = read(engine, "joint_position", "joint_velocity")
    np.testing.assert_array_equal(position, engine.simulation.qpos[:, [0, 6]])
    np.testing.assert_array_equal(velocity, engine.simulation.qvel[:, [0, 5]])
    assert np.abs(velocity).min() > 1e-3


def test_joint_torque_is_gear_times_clamped_control():
    engine = engine_with(Toy(CHAIN, base_joints=("base",)), ["joint_torque"])
    engine.step(np.array([[0.4, 0.25], [-5.0, 0.1], [1.0, 0.9]]))
    (torque,) = read(engine, "joint_torque")
    expected = [[-2 * 0.25, 3 * 0.4], [-2 * 0.1, -3.0], [-2 * 0.5, 3.0]]
    np.testing.assert_allclose(torque, expected, rtol=1e-14)

    ant = engine_with(make_task(ANT), ["joint_torque"])
    action = actions_for(ant, np.random.default_rng(3))
    ant.step(action)
    model = ant.simulation.model
    order = [model.joint(model.actuator_trnid[i, 0]).name for i in range(model.nu)]
    components = ant.signals.offers()["joint_torque"].components
    (torque,) = read(ant, "joint_torque")
    for i, joint in enumerate(order):
        np.testing.assert_allclose(torque[:, components.index(joint)], model.actuator_gear[i, 0] * action[:, i])


@pytest.mark.parametrize("env_id", [CHEETAH, ANT])
def test_rates_are_differences_over_a_control_step_and_start_at_zero(env_id):
    pairs = {
        "joint_acceleration": "joint_velocity",
        "base_velocity": "base_position",
        "body_velocity/torso": "body_position/torso",
    }
    engine = engine_with(make_task(env_id), [*pairs, *pairs.values()])
    rng = np.random.default_rng(1)
    for rate in pairs:
        np.testing.assert_array_equal(read(engine, rate)[0], 0.0)
    for step in range(6):
        if step == 3:
            others = {rate: read(engine, rate)[0][[0, 2]] for rate in pairs}
            engine.reset(np.array([1]))
            for rate in pairs:
                (now,) = read(engine, rate)
                np.testing.assert_array_equal(now[1], 0.0)
                np.testing.assert_array_equal(now[[0, 2]], others[rate])
        before = {rate: read(engine, of)[0] for rate, of in pairs.items()}
        engine.step(actions_for(engine, rng))
        for rate, of in pairs.items():
            now, got = read(engine, of, rate)
            np.testing.assert_allclose(got, (now - before[rate]) / engine.task.control_timestep, rtol=1e-12, atol=1e-12)
            assert np.abs(got).max() > 1e-3


# --- the base --------------------------------------------------------------------------------------------------------


def forward(model, qpos):
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    return data


def random_positions(model, rng, n):
    """Return (n, nq) positions; quaternions of any direction and of lengths about one, as reset noise makes them."""
    qpos = model.qpos0 + rng.uniform(-1, 1, (n, model.nq))
    for j in range(model.njnt):
        if model.jnt_type[j] == mujoco.mjtJoint.mjJNT_FREE:
            a = model.jnt_qposadr[j] + 3
            direction = rng.normal(size=(n, 4))
            direction /= np.linalg.norm(direction, axis=1, keepdims=True)
            qpos[:, a : a + 4] = direction * rng.uniform(0.7, 1.4, (n, 1))
    return qpos


@pytest.mark.parametrize("env_id", [ANT, CHEETAH, HOPPER])
def test_the_base_pose_is_the_bodys_in_every_state(env_id):
    task = make_task(env_id)
    engine = engine_with(task, ["base_position", "base_height", "projected_gravity"], n=20)
    model = engine.simulation.model
    qpos = random_positions(model, np.random.default_rng(0), 20)
    engine.simulation.set_state(np.arange(20), qpos, np.zeros((20, model.nv)))
    engine.signals.update()
    position, height, gravity = read(engine, "base_position", "base_height", "projected_gravity")
    body = model.body(task.base_body).id
    for i in range(20):
        data = forward(model, qpos[i])
        np.testing.assert_allclose(position[i], data.xpos[body], atol=1e-12)
        assert height[i, 0] == position[i, 2]
        np.testing.assert_allclose(gravity[i], data.xmat[body].reshape(3, 3).T @ [0, 0, -1], atol=1e-12)
    assert np.ptp(gravity[:, 2]) > 0.1


def test_yaw_is_where_the_bodys_x_axis_points():
    engine = engine_with(make_task(ANT), ["base_yaw"], n=20)
    model = engine.simulation.model
    qpos = random_positions(model, np.random.default_rng(1), 20)
    engine.simulation.set_state(np.arange(20), qpos, np.zeros((20, model.nv)))
    engine.signals.update()
    (yaw,) = read(engine, "base_yaw")
    for i in range(20):
        x_axis = forward(model, qpos[i]).xmat[model.body("torso").id].reshape(3, 3)[:, 0]
        assert yaw[i, 0] == pytest.approx(np.arctan2(x_axis[1], x_axis[0]), abs=1e-9)
    assert np.ptp(yaw) > 1.0


def test_the_gravity_of_an_upright_or_fixed_base_points_down():
    for env_id in (ANT, CHEETAH, HOPPER):
        task = make_task(env_id)
        model = task.spec().compile()
        out = np.empty((1, 3))
        BasePose(model, task.base_body, model.qpos0[np.newaxis]).projected_gravity(out)
        np.testing.assert_allclose(out, [[0, 0, -1]], atol=1e-12)
    fixed = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><body name='b' pos='1 2 3'><geom size='.1'/></body></worldbody></mujoco>"
    )
    pose = BasePose(fixed, "b", np.zeros((2, 0)))
    out = np.empty((2, 3))
    pose.position(out)
    np.testing.assert_array_equal(out, [[1, 2, 3]] * 2)
    pose.projected_gravity(out)
    np.testing.assert_array_equal(out, [[0, 0, -1]] * 2)


def test_positions_of_bodies_and_sites_are_mujocos():
    engine = engine_with(make_task("saferl/CartPoleBalance-v0"), ["site_position/tip", "body_position/pole"])
    site, body = read(engine, "site_position/tip", "body_position/pole")
    x, angle = engine.simulation.qpos.T
    np.testing.assert_allclose(body, np.stack([x, 0 * x, 0 * x + 0.5], axis=1), atol=1e-12)
    tip = np.stack([x + np.sin(angle), 0 * x, 0.5 + np.cos(angle)], axis=1)
    np.testing.assert_allclose(site, tip, atol=1e-12)
    assert np.abs(angle).max() > 1e-3


# --- lag -------------------------------------------------------------------------------------------------------------


def test_derived_fields_lag_one_substep_after_a_step_and_none_after_a_reset():
    engine = engine_with(make_task(CHEETAH), ["body_position/torso", "body_position/bfoot"])
    simulation = engine.simulation
    model = simulation.model
    assert model.opt.integrator != mujoco.mjtIntegrator.mjINT_RK4
    assert simulation.substeps > 1
    feet = model.body("bfoot").id
    for i in range(3):
        (position,) = read(engine, "body_position/bfoot")
        np.testing.assert_allclose(position[i], forward(model, simulation.qpos[i]).xpos[feet], atol=1e-12)
    start, action = simulation.qpos.copy(), actions_for(engine, np.random.default_rng(2))
    velocity = simulation.qvel.copy()
    engine.step(action)
    (position,) = read(engine, "body_position/bfoot")
    for i in range(3):
        data = mujoco.MjData(model)
        data.qpos[:], data.qvel[:], data.ctrl[:] = start[i], velocity[i], action[i]
        mujoco.mj_forward(model, data)
        for _ in range(simulation.substeps - 1):
            mujoco.mj_step(model, data)
        before_last = forward(model, data.qpos).xpos[feet]
        mujoco.mj_step(model, data)
        np.testing.assert_allclose(simulation.qpos[i], data.qpos, atol=1e-10)
        np.testing.assert_allclose(position[i], before_last, atol=1e-10)
        assert np.abs(position[i] - forward(model, data.qpos).xpos[feet]).max() > 1e-4


# --- contacts --------------------------------------------------------------------------------------------------------


def net_forces(model, data, geoms):
    """Return the force on each geom as MuJoCo's contact list gives it, (G, 3) in the world's frame, and all normals."""
    ids = [model.geom(name).id for name in geoms]
    total, normal = np.zeros((len(geoms), 3)), 0.0
    for c in range(data.ncon):
        contact, wrench = data.contact[c], np.zeros(6)
        mujoco.mj_contactForce(model, data, c, wrench)
        force = contact.frame.reshape(3, 3).T @ wrench[:3]
        normal += wrench[0]
        if contact.geom2 in ids:
            total[ids.index(contact.geom2)] += force
        if contact.geom1 in ids:
            total[ids.index(contact.geom1)] -= force
    return total, normal


@pytest.mark.parametrize(("env_id", "settle"), [(ANT, 80), (CHEETAH, 60)])
def test_contact_force_is_the_net_force_of_mujocos_contacts(env_id, settle):
    parts = ["contact_force/feet", "horizontal_contact_force/feet", "vertical_contact_force/feet"]
    engine = engine_with(make_task(env_id), parts, n=2)
    simulation, model = engine.simulation, engine.simulation.model
    for _ in range(settle):
        engine.step(np.zeros((2, model.nu)))
    simulation.set_state(np.arange(2), simulation.qpos.copy(), simulation.qvel.copy())
    engine.signals.update()
    force, horizontal, vertical = read(engine, *parts)
    weight = model.body_mass.sum() * -model.opt.gravity[2]
    for i in range(2):
        data = mujoco.MjData(model)
        data.qpos[:], data.qvel[:] = simulation.qpos[i], simulation.qvel[i]
        mujoco.mj_forward(model, data)
        expected, normal = net_forces(model, data, engine.task.contact_groups["feet"])
        np.testing.assert_allclose(force[i], np.linalg.norm(expected, axis=1), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(horizontal[i], np.linalg.norm(expected[:, :2], axis=1), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(vertical[i], np.abs(expected[:, 2]), rtol=1e-6, atol=1e-6)
        assert normal == pytest.approx(weight, rel=0.03)
        assert force[i].max() > 0.05 * weight
    assert engine.signals.offers()["contact_force/feet"].components == engine.task.contact_groups["feet"]


BALL = """<mujoco><option timestep="0.002" integrator="implicitfast"/><worldbody><geom name="floor" type="plane" size="5 5 1"/>
  <body name="ball" pos="0 0 .3"><freejoint name="root"/>
  <geom name="foot" type="{shape}" size="{size}" mass="2" solref="{solref}"/></body></worldbody>
  <actuator><motor name="none" joint="root" gear="1e-9 0 0 0 0 0" ctrlrange="-1 1"/></actuator></mujoco>"""


class Dropped(Toy):
    base_body = "ball"
    contact_groups = {"feet": ("foot",)}  # noqa: RUF012

    def __init__(self, shape="sphere", size=".1", solref="0.02 1", height=0.3):
        super().__init__(BALL.format(shape=shape, size=size, solref=solref))
        self.height = height

    @property
    def constraints(self):
        return (ContactForce(name="push", limit=1.0),)

    def initial_state(self, noise, model):
        state = super().initial_state(noise, model)
        state.qpos[:, 2] = self.height
        return state


def test_a_box_at_rest_pushes_with_its_weight():
    engine = engine_with(Dropped(shape="box", size=".1 .1 .1", height=0.1), [], n=2)
    for _ in range(100):
        t = engine.step(np.zeros((2, 1)))
    np.testing.assert_allclose(t.values, 2 * 9.81 - 1.0, rtol=1e-3)


class HandMadeSensors(Simulation):
    """A simulation whose sensors read what the test writes into `sensors`."""

    def field(self, name):
        if name != "sensordata":
            return super().field(name)
        self.sensors = np.zeros((self.num, self.model.nsensordata))
        return self.sensors


def test_swing_and_touchdown_of_a_sequence_by_hand():
    task = make_task(HOPPER)
    model = compile_model(task, ["swing_time/feet", "touchdown/feet"])
    simulation = HandMadeSensors(model, 2, 4, threads=1)
    signals = MujocoSignals(task, simulation, ["swing_time/feet", "touchdown/feet"])
    signals.reset(np.arange(2))
    sensor = simulation.sensors
    dt = simulation.control_timestep
    #   force on copy 0, steps in the air after it, touchdown; copy 1 stays in the air and is reset before step 4
    table = [
        (0.0, 1, 0),
        (0.0, 2, 0),
        (0.9, 3, 0),  # below the threshold of 1 N counts as air
        (7.0, 4, 1),  # lands: the swing can still be read
        (7.0, 1, 0),
        (7.0, 1, 0),
        (0.0, 1, 0),
        (3.0, 2, 1),
        (0.0, 1, 0),
    ]
    for step, (force, expected, lands) in enumerate(table):
        if step == 4:
            signals.reset(np.array([1]))
            np.testing.assert_allclose(signals.view["swing_time/feet"], [[4 * dt], [0.0]])
            np.testing.assert_array_equal(signals.view["touchdown/feet"], [[1.0], [0.0]])
        signals.before_step()
        sensor[:] = 0.0
        sensor[0, :3] = force * np.array([0.6, 0.0, 0.8])
        signals.update()
        in_air = step + 1 if step < 4 else step - 3
        np.testing.assert_allclose(signals.view["swing_time/feet"], [[expected * dt], [in_air * dt]])
        np.testing.assert_array_equal(signals.view["touchdown/feet"], [[lands], [0]])


def test_a_bouncing_ball_lands_once_per_bounce_after_as_long_as_it_flew():
    engine = engine_with(Dropped(solref="-4000 -3"), ["swing_time/feet", "touchdown/feet", "contact_force/feet"], n=1)
    dt, air, landings = engine.task.control_timestep, 0, []
    for _ in range(120):
        engine.step(np.zeros((1, 1)))
        swing, touchdown, force = (x.item() for x in read(engine, *engine.task.requires[-3:]))
        if force > 1.0:
            assert touchdown == (air > 0)
            if air:
                assert swing == pytest.approx((air + 1) * dt)
                landings.append(swing)
            air = 0
        else:
            air += 1
            assert touchdown == 0
            assert swing == pytest.approx(air * dt)
    assert len(landings) >= 3
    assert landings[0] == pytest.approx(np.sqrt(2 * 0.2 / 9.81), abs=1.5 * dt)
    assert landings[1] > landings[2]  # each bounce is lower than the one before
    short = AirTime(name="air", limit=0.3).bind(engine.signals.offers())
    assert short.value(engine.signals.view).shape == (1, 1)


@pytest.mark.parametrize("env_id", [CHEETAH, ANT, HOPPER])
def test_contact_sensors_change_no_bit_of_the_dynamics(env_id):
    plain = engine_with(make_task(env_id), [])
    sensed = engine_with(make_task(env_id), ["contact_force/feet", "swing_time/feet", "touchdown/feet"])
    assert sensed.simulation.model.nsensordata > plain.simulation.model.nsensordata
    rng = np.random.default_rng(4)
    touched = False
    for _ in range(200):
        actions = actions_for(plain, rng)
        a, b = plain.step(actions), sensed.step(actions)
        np.testing.assert_array_equal(a.observation, b.observation)
        np.testing.assert_array_equal(a.reward, b.reward)
        touched |= bool(read(sensed, "contact_force/feet")[0].any())
    assert touched


# --- all of them -----------------------------------------------------------------------------------------------------


def everything(task):
    """Return every signal that a task offers."""
    model = compile_model(task, [])
    return sorted(MujocoSignals(task, Simulation(model, 1, 1, threads=1), ["qpos"]).offers())


@pytest.mark.parametrize("env_id", [ANT, CHEETAH, HOPPER, "saferl/CartPoleBalance-v0"])
def test_every_signal_on_offer_has_a_column_per_component_and_does_not_depend_on_the_batch(env_id):
    names = everything(make_task(env_id))
    assert len(names) > 10
    batch = engine_with(make_task(env_id), names, n=3)
    singles = [engine_with(make_task(env_id), names, n=1) for _ in range(3)]
    for i, single in enumerate(singles):
        single.seed([i])
        single.reset()
    rng = np.random.default_rng(5)
    for step in range(30):
        actions = actions_for(batch, rng)
        batch.step(actions)
        for i, single in enumerate(singles):
            single.step(actions[i : i + 1])
        if step % 7 == 6:
            batch.reset(np.array([step % 3]))
            singles[step % 3].reset()
        for name in names:
            array = batch.signals.read([name])[name]
            assert array.shape == (3, len(batch.signals.offers()[name].components)), name
            assert np.isfinite(array).all()
            for i, single in enumerate(singles):
                np.testing.assert_array_equal(array[i], single.signals.read([name])[name][0], err_msg=name)


def test_the_previous_action_is_the_one_before_and_zero_after_a_reset():
    engine = engine_with(Slider(), ["previous_action"])
    first, second = np.array([[0.1], [0.2], [0.3]]), np.array([[0.4], [0.5], [0.6]])
    engine.step(first)
    np.testing.assert_array_equal(read(engine, "previous_action")[0], 0.0)
    engine.step(second)
    action, previous = read(engine, "action", "previous_action")
    np.testing.assert_array_equal(action, second)
    np.testing.assert_array_equal(previous, first)
    engine.reset(np.array([2]))
    action, previous = read(engine, "action", "previous_action")
    np.testing.assert_array_equal(action, [[0.4], [0.5], [0.0]])
    np.testing.assert_array_equal(previous, [[0.1], [0.2], [0.0]])
    np.testing.assert_array_equal(second[2], [0.6])  # the caller's array is its own


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("joint_velocty", "'joint_velocty'.*did you mean 'joint_velocity'.*base_height.*touchdown/feet"),
        ("contact_force/hands", "contact_force/hands.*contact_force/feet"),
        ("body_position/tors", "body_position/tors.*body_position/torso"),
    ],
)
def test_an_unknown_signal_is_named_with_those_on_offer(wrong, named):
    with pytest.raises(SignalError, match=named):
        engine_with(make_task(HOPPER), [wrong])


@pytest.mark.parametrize(
    ("attribute", "value", "signal", "named"),
    [
        ("contact_groups", {"feet": ("fot",)}, "contact_force/feet", "'feet' of Dropped: unknown geom 'fot'.*floor, foot"),
        ("base_joints", ("rot",), "qpos", "base_joints: unknown joint 'rot'.*valid: root"),
        ("base_body", "bal", "base_position", "base_body: unknown body 'bal'.*ball, world"),
    ],
)
def test_a_name_that_the_model_lacks_is_named_with_those_it_has(attribute, value, signal, named):
    task = Dropped()
    setattr(task, attribute, value)
    with pytest.raises(TaskError, match=named):
        engine_with(task, [signal])


@pytest.mark.parametrize(
    "joints",
    [
        '<joint type="hinge" axis="0 1 0"/><joint type="slide" axis="1 0 0"/>',
        '<joint type="hinge" axis="0 1 0"/><joint type="hinge" axis="1 0 0"/>',
        '<joint type="ball"/>',
    ],
)
def test_a_base_whose_pose_would_be_wrong_is_refused(joints):
    from saferl_envs.base_pose import BasePose
    from saferl_envs.errors import TaskError

    xml = f'<mujoco><worldbody><body name="base">{joints}<geom size=".1"/></body></worldbody></mujoco>'
    model = mujoco.MjModel.from_xml_string(xml)
    with pytest.raises(TaskError, match="base_body 'base'"):
        BasePose(model, "base", np.zeros((1, model.nq)))

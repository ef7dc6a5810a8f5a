"""A legged robot that follows velocity commands under CaT's table of constraints: what Solo-12 and your quadruped share.

Task, rewards, noise and constraints are those of Chane-Sane et al. 2024 (CaT, arXiv 2403.18765, released code). A robot says
which model it is, how it stands, and its limits; see `solo12.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import mujoco
import numpy as np

from saferl_envs.constraints import (
    ActionRate,
    AirTime,
    BaseTilt,
    Constraint,
    ContactForce,
    FeetInContact,
    ForbiddenContact,
    Gate,
    JointAcceleration,
    JointPosition,
    JointTorque,
    JointVelocity,
    UpsideDown,
)
from saferl_envs.errors import TaskError
from saferl_envs.noise import Noise
from saferl_envs.signals import BoolArray, FloatArray, Signals
from saferl_envs.task import Memory, State, Task
from saferl_envs.tasks.commands import COMMAND, Commands

CONTACT = 1.0  # N; more on the base or an upper leg ends the episode
ANGULAR_VELOCITY_SCALE, JOINT_VELOCITY_SCALE, COMMAND_SCALE = 0.25, 0.05, (2.0, 2.0, 0.25)
NOISE = {"angular_velocity": 0.001, "gravity": 0.05, "joint_position": 0.01, "joint_velocity": 0.2}
"""Amplitudes of the uniform noise on observations, before scaling."""


@dataclass(frozen=True)
class Limits:
    """Limits of a robot; the defaults are Solo-12's.

    Attributes:
        torque: Nm.
        joint_velocity: rad/s.
        joint_acceleration: rad/s^2, over a control step.
        action_rate: Of the policy's action, 1/s.
        foot_force: N.
        hip_pitch: Largest angle of the front hips, rad.
        hip_roll: Deviation from standing while walking straight, rad.
        tilt: Sine of the base's tilt.
        air_time: Least duration of a swing, s.
        standing_velocity: Joint speed while standing, rad/s.
    """

    torque: float = 3.0
    joint_velocity: float = 16.0
    joint_acceleration: float = 800.0
    action_rate: float = 80.0
    foot_force: float = 50.0
    hip_pitch: float = 1.3
    hip_roll: float = 0.2
    tilt: float = 0.1
    air_time: float = 0.25
    standing_velocity: float = 4.0


class Quadruped(Task):
    """Follow commands (vx, vy, yaw rate) with twelve position servos; 45 observations, none of them of linear velocity.

    Observations: angular velocity, command, gravity in the base's frame, joint positions relative to standing, joint
    velocities by difference over a control step, last action; with uniform noise.

    Args:
        play: The variant to watch and to judge: no noise on observations, no pushes, nothing randomised.
        action_limit: Bound on each action; wide enough that a policy can cross the limits.
        command_grid: Numbers of vx, vy and yaw rates; each episode keeps one command of that grid over the ranges, chosen by
            its copy's seed. None: commands are drawn, and change.

    Raises:
        TaskError: The grid is not three whole numbers of at least 1, or the action limit not positive.

    Attributes:
        standing: Joint angles in rad, in the order of the actuators, which is that of the joints.
        height: Height of the base at the start of an episode, m.
        action_scale: rad of joint target per unit of action.
        limits: See `Limits`.
        front_hips: Joints of the hips' pitch of the front legs.
        hips: Joints of the hips' roll.
        friction: Range of the friction of the robot's geoms.
        push_probability: Per step, that the horizontal velocity of the base is set anew.
        push_speed: Bound on that velocity per axis, m/s.
    """

    control_timestep = 0.02
    max_episode_steps = 500
    base_body = "base"
    camera = "track"
    memory_signals: ClassVar = {"command": COMMAND}
    requires: ClassVar[tuple[str, ...]] = (
        "action", "joint_position", "joint_position_rate", "base_angular_velocity", "base_linear_velocity",
        "projected_gravity", "peak_contact_force/base", "peak_contact_force/knees", "command",
    )  # fmt: skip
    standing: ClassVar[tuple[float, ...]]
    height: ClassVar[float]
    action_scale: ClassVar[float] = 0.5
    limits: ClassVar[Limits] = Limits()
    hips: ClassVar[tuple[str, ...]]
    front_hips: ClassVar[tuple[str, ...]]
    friction: ClassVar[tuple[float, float]] = (0.5, 1.25)
    push_probability: ClassVar[float] = 0.001
    push_speed: ClassVar[float] = 0.5
    commands: ClassVar[Commands] = Commands()

    def __init__(self, play: bool = False, action_limit: float = 5.0, command_grid: Sequence[int] | None = None) -> None:
        self.play, self.action_limit = play, action_limit
        if not isinstance(play, bool):
            raise TaskError(f"play must be true or false, got {play!r}")
        if isinstance(action_limit, bool) or not isinstance(action_limit, (int, float)) or not 0 < action_limit < 1e3:
            raise TaskError(f"action_limit must be a positive number, got {action_limit!r}")
        self._grid: tuple[int, int, int] | None = None
        if command_grid is not None:
            counts = tuple(command_grid)
            if len(counts) != 3 or not all(type(count) is int and count >= 1 for count in counts):
                raise TaskError(f"command_grid must be three whole numbers of at least 1, got {command_grid!r}")
            self._grid = counts
        self._standing = np.array(self.standing)
        joints = self._standing.size
        self._noise = np.repeat(list(NOISE.values()), (3, 3, joints, joints)) * (0.0 if play else 1.0)

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        limits, walking = self.limits, Gate(signal="command", above=0.1)
        straight = Gate(signal="command", components=("vy",), below=0.1)
        return (
            JointTorque(name="torque", limit=limits.torque),
            JointVelocity(name="joint_velocity", limit=limits.joint_velocity),
            JointAcceleration(name="joint_acceleration", limit=limits.joint_acceleration),
            ActionRate(
                name="action_rate", limit=limits.action_rate, timestep=self.control_timestep, unit="1/s",
            ),
            ForbiddenContact(name="knee_contact", limit=CONTACT, group="knees", kind="hard", peak=True),
            ForbiddenContact(name="base_contact", limit=CONTACT, group="base", kind="hard", peak=True),
            ContactForce(name="foot_force", limit=limits.foot_force, group="feet", kind="hard", peak=True),
            JointPosition(name="front_hip_pitch", limit=limits.hip_pitch, components=self.front_hips, kind="hard"),
            UpsideDown(name="upside_down", kind="hard"),
            JointPosition(
                name="hip_roll", limit=limits.hip_roll, components=self.hips, reference=self._hip_reference(),
                kind="style", when=(straight,),
            ),
            BaseTilt(name="base_orientation", limit=limits.tilt, kind="style"),
            AirTime(name="air_time", limit=limits.air_time, group="feet", kind="style", when=(walking,)),
            JointVelocity(
                name="stand_still", limit=limits.standing_velocity, kind="style",
                when=(Gate(signal="command", below=0.1),),
            ),
            FeetInContact(
                name="two_feet", count=2, group="feet", kind="style", when=(Gate(signal="command", above=0.5),)
            ),
        )  # fmt: skip

    def _hip_reference(self) -> tuple[float, ...]:
        spec = self.spec()
        joints = [actuator.target for actuator in spec.actuators]
        return tuple(self.standing[joints.index(hip)] for hip in self.hips)

    def initial_state(self, noise: Noise, model: mujoco.MjModel) -> State:
        joints = self._standing.size
        spread = 0.0 if self.play else 0.05
        qpos = np.zeros((noise.n, 7 + joints))
        qpos[:, 2], qpos[:, 3] = self.height, 1.0
        qpos[:, 7:] = self._standing * noise.uniform("qpos", joints, 1.0 - spread, 1.0 + spread)
        qvel = np.zeros((noise.n, 6 + joints))
        qvel[:, 6:] = noise.uniform("qvel", joints, -spread, spread)
        return State(qpos, qvel)

    def initial_memory(self, noise: Noise) -> Memory:
        command = self.commands.draw(noise) if self._grid is None else self.commands.grid(self._grid, noise)
        return {"command": command, "noise": self._draw_noise(noise)}

    def advance(self, memory: Memory, signals: Signals, noise: Noise) -> Memory:
        command = memory["command"]
        if self._grid is None:
            command = self.commands.go_on(command, noise, self.control_timestep)
        return {"command": command, "noise": memory["noise"] if self.play else self._draw_noise(noise)}

    def _draw_noise(self, noise: Noise) -> FloatArray:
        return noise.uniform("observation", self._noise.size, -self._noise, self._noise)

    def randomize(self, noise: Noise, model: mujoco.MjModel, memory: Memory) -> Mapping[str, FloatArray]:
        if self.play:
            return {}
        friction = np.repeat(model.geom_friction[np.newaxis], noise.n, axis=0)
        ours = model.geom_bodyid > 0
        friction[:, ours, 0] = noise.uniform("friction", 1, *self.friction)
        return {"geom_friction": friction}

    def disturb(self, noise: Noise, qvel: FloatArray) -> None:
        if self.play:
            return
        pushed = noise.uniform("push", 1)[:, 0] < self.push_probability
        if pushed.any():
            qvel[pushed, :2] = noise.uniform("push_velocity", 2, -self.push_speed, self.push_speed)[pushed]

    def action_bounds(self, model: mujoco.MjModel) -> tuple[FloatArray, FloatArray]:
        bound = np.full(model.nu, self.action_limit)
        return -bound, bound

    def control(self, action: FloatArray, memory: Memory) -> FloatArray:
        targets: FloatArray = self._standing + self.action_scale * action
        return targets

    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        joints, noise = self._standing.size, memory["noise"]
        return np.concatenate(
            (
                (signals["base_angular_velocity"] + noise[:, :3]) * ANGULAR_VELOCITY_SCALE,
                memory["command"] * COMMAND_SCALE,
                signals["projected_gravity"] + noise[:, 3:6],
                signals["joint_position"] - self._standing + noise[:, 6 : 6 + joints],
                (signals["joint_position_rate"] + noise[:, 6 + joints : 6 + 2 * joints]) * JOINT_VELOCITY_SCALE,
                signals["action"],
            ),
            axis=1,
        )

    def reward(self, signals: Signals, memory: Memory) -> Mapping[str, FloatArray]:
        missed = memory["command"][:, :2] - signals["base_linear_velocity"][:, :2]
        turned = memory["command"][:, 2] - signals["base_angular_velocity"][:, 2]
        return {
            "tracking": np.exp(-np.einsum("nk,nk->n", missed, missed) / 0.25),
            "turning": 0.5 * np.exp(-np.square(turned) / 0.25),
        }

    def terminated(self, signals: Signals, memory: Memory) -> BoolArray:
        touched = (signals["peak_contact_force/base"] > CONTACT).any(axis=1)
        touched |= (signals["peak_contact_force/knees"] > CONTACT).any(axis=1)
        fallen: BoolArray = touched | (signals["projected_gravity"][:, 2] > 0.0)
        return fallen

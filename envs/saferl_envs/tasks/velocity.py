"""Run forward, but not faster than a limit: HalfCheetah, Hopper and Ant.

Bodies, observations, rewards and termination are those of Gymnasium's ``-v4`` environments (from the XML files that
Gymnasium ships). Limits and costs are those of Safety-Gymnasium's velocity tasks (Ji et al. 2023), whose limit is half the
speed an unconstrained policy reaches: cost 1 in every step above it, at most 25 per episode. ``Hard`` and ``Extreme``
multiply the limit by 0.75 and 0.5; these two levels are ours.

Version history: v0, first version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import mujoco
import numpy as np

from saferl_envs.constraints import AxisSpeed, Constraint, PlanarSpeed
from saferl_envs.noise import Noise
from saferl_envs.signals import BoolArray, FloatArray, Signals
from saferl_envs.task import Memory, State, Task
from saferl_envs.tasks.gymnasium_models import gymnasium_spec
from saferl_envs.tasks.registry import register_task

COST_LIMIT = 25.0


class _Velocity(Task):
    """What the three bodies share.

    Args:
        speed_limit: Limit on the speed in m/s.
        cost_limit: Bound on the number of steps above it per episode.
    """

    xml: ClassVar[str]
    control_cost: ClassVar[float]
    reset_noise: ClassVar[float]
    camera = "track"

    def __init__(self, speed_limit: float, cost_limit: float = COST_LIMIT) -> None:
        self.speed_limit, self.cost_limit = speed_limit, cost_limit

    def spec(self) -> mujoco.MjSpec:
        return gymnasium_spec(self.xml)

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        return (AxisSpeed(name="speed", limit=self.speed_limit, cost_limit=self.cost_limit),)

    def _control(self, signals: Signals) -> FloatArray:
        """Return minus the control cost, in the action's own precision as Gymnasium computes it."""
        cost: FloatArray = -self.control_cost * np.square(signals["action"]).sum(axis=-1)
        return cost


@register_task("saferl/HalfCheetahVelocity-v0", speed_limit=3.2096)
@register_task("saferl/HalfCheetahVelocityHard-v0", speed_limit=0.75 * 3.2096)
@register_task("saferl/HalfCheetahVelocityExtreme-v0", speed_limit=0.5 * 3.2096)
class HalfCheetahVelocity(_Velocity):
    """HalfCheetah-v4: 17 observations (positions without x, velocities), 6 torques; never terminates."""

    xml = "half_cheetah.xml"
    control_timestep = 0.05
    control_cost = 0.1
    reset_noise = 0.1
    base_body = "torso"
    base_joints = ("rootx", "rootz", "rooty")
    contact_groups: ClassVar[Mapping[str, tuple[str, ...]]] = {"feet": ("bfoot", "ffoot")}
    requires = ("qpos", "qvel", "action", "base_velocity")

    def initial_state(self, noise: Noise, model: mujoco.MjModel) -> State:
        qpos = model.qpos0 + noise.uniform("qpos", model.nq, -self.reset_noise, self.reset_noise)
        return State(qpos, noise.normal("qvel", model.nv, self.reset_noise))

    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        return np.concatenate((signals["qpos"][:, 1:], signals["qvel"]), axis=1)

    def reward(self, signals: Signals, memory: Memory) -> Mapping[str, FloatArray]:
        return {"forward": signals["base_velocity"][:, 0], "control": self._control(signals)}


@register_task("saferl/HopperVelocity-v0", speed_limit=0.7402)
@register_task("saferl/HopperVelocityHard-v0", speed_limit=0.75 * 0.7402)
@register_task("saferl/HopperVelocityExtreme-v0", speed_limit=0.5 * 0.7402)
class HopperVelocity(_Velocity):
    """Hopper-v4: 11 observations, 3 torques; terminates when it falls (height, angle or any state out of range)."""

    xml = "hopper.xml"
    control_timestep = 0.008
    control_cost = 1e-3
    reset_noise = 5e-3
    base_body = "torso"
    base_joints = ("rootx", "rootz", "rooty")
    contact_groups: ClassVar[Mapping[str, tuple[str, ...]]] = {"feet": ("foot_geom",)}
    requires = ("qpos", "qvel", "action", "base_velocity")

    def initial_state(self, noise: Noise, model: mujoco.MjModel) -> State:
        qpos = model.qpos0 + noise.uniform("qpos", model.nq, -self.reset_noise, self.reset_noise)
        return State(qpos, noise.uniform("qvel", model.nv, -self.reset_noise, self.reset_noise))

    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        return np.concatenate((signals["qpos"][:, 1:], np.clip(signals["qvel"], -10.0, 10.0)), axis=1)

    def reward(self, signals: Signals, memory: Memory) -> Mapping[str, FloatArray]:
        speed = signals["base_velocity"][:, 0]
        return {"forward": speed, "alive": np.ones_like(speed), "control": self._control(signals)}

    def terminated(self, signals: Signals, memory: Memory) -> BoolArray:
        qpos, qvel = signals["qpos"], signals["qvel"]
        upright = (qpos[:, 1] > 0.7) & (np.abs(qpos[:, 2]) < 0.2)
        in_range = (np.abs(qpos[:, 2:]) < 100.0).all(axis=1) & (np.abs(qvel) < 100.0).all(axis=1)
        return ~(upright & in_range)


@register_task("saferl/AntVelocity-v0", speed_limit=2.6222)
@register_task("saferl/AntVelocityHard-v0", speed_limit=0.75 * 2.6222)
@register_task("saferl/AntVelocityExtreme-v0", speed_limit=0.5 * 2.6222)
class AntVelocity(_Velocity):
    """Ant-v4: 27 observations without contact forces, 8 torques; terminates when the torso leaves 0.2 m to 1 m.

    Speed and reward use the torso's pose in MuJoCo's derived fields, as Gymnasium does: one physics substep behind.
    """

    xml = "ant.xml"
    control_timestep = 0.05
    control_cost = 0.5
    reset_noise = 0.1
    base_body = "torso"
    base_joints = ("root",)
    contact_groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "feet": ("left_ankle_geom", "right_ankle_geom", "third_ankle_geom", "fourth_ankle_geom")
    }
    requires = ("qpos", "qvel", "action", "body_velocity/torso")

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        signal = "body_velocity/torso"
        return (PlanarSpeed(name="speed", limit=self.speed_limit, cost_limit=self.cost_limit, signal=signal),)

    def initial_state(self, noise: Noise, model: mujoco.MjModel) -> State:
        qpos = model.qpos0 + noise.uniform("qpos", model.nq, -self.reset_noise, self.reset_noise)
        return State(qpos, noise.normal("qvel", model.nv, self.reset_noise))

    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        return np.concatenate((signals["qpos"][:, 2:], signals["qvel"]), axis=1)

    def reward(self, signals: Signals, memory: Memory) -> Mapping[str, FloatArray]:
        speed = signals["body_velocity/torso"][:, 0]
        return {"forward": speed, "alive": np.ones_like(speed), "control": self._control(signals)}

    def terminated(self, signals: Signals, memory: Memory) -> BoolArray:
        height = signals["qpos"][:, 2]
        return ~((height >= 0.2) & (height <= 1.0))

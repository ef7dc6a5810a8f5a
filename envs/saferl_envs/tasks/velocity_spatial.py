"""Velocity tasks of the robots that move in space, whose limit is on the horizontal speed, whatever its direction.

Speed and reward use MuJoCo's derived fields, as Gymnasium does: they lag as `saferl_envs.whole_body` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from saferl_envs.signals import BoolArray, FloatArray, Signals
from saferl_envs.task import Memory
from saferl_envs.tasks.registry import register_task
from saferl_envs.tasks.velocity_base import NormalStart, Velocity


@register_task("saferl/AntVelocity-v0", speed_limit=2.6222)
@register_task("saferl/AntVelocityHard-v0", speed_limit=0.75 * 2.6222)
@register_task("saferl/AntVelocityExtreme-v0", speed_limit=0.5 * 2.6222)
class AntVelocity(NormalStart):
    """Ant-v4: 27 observations without contact forces, 8 torques; terminates when the torso leaves 0.2 m to 1 m."""

    xml = "ant.xml"
    control_timestep = 0.05
    control_cost = 0.5
    reset_noise = 0.1
    planar_speed_of = "body_velocity/torso"
    base_body = "torso"
    base_joints = ("root",)
    contact_groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "feet": ("left_ankle_geom", "right_ankle_geom", "third_ankle_geom", "fourth_ankle_geom")
    }
    requires: ClassVar[tuple[str, ...]] = ("qpos", "qvel", "action", "body_velocity/torso")

    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        return np.concatenate((signals["qpos"][:, 2:], signals["qvel"]), axis=1)

    def reward(self, signals: Signals, memory: Memory) -> Mapping[str, FloatArray]:
        speed = signals["body_velocity/torso"][:, 0]
        return {"forward": speed, "alive": np.ones_like(speed), "control": self._control(signals)}

    def terminated(self, signals: Signals, memory: Memory) -> BoolArray:
        height = signals["qpos"][:, 2]
        return ~((height >= 0.2) & (height <= 1.0))


@register_task("saferl/HumanoidVelocity-v0", speed_limit=1.4149)
@register_task("saferl/HumanoidVelocityHard-v0", speed_limit=0.75 * 1.4149)
@register_task("saferl/HumanoidVelocityExtreme-v0", speed_limit=0.5 * 1.4149)
class HumanoidVelocity(Velocity):
    """Humanoid-v4: 376 observations, 17 torques; terminates when the torso leaves 1 m to 2 m.

    Observations are positions without x and y (22), velocities (23), and for each of 14 bodies, the world first, inertia
    (10), velocity (6) and external wrench (6), with the actuators' forces on 23 degrees of freedom before the last. Reward
    and limit take the velocity of the centre of mass.

    The 84 external wrenches are those of the state before the last physics substep, where MuJoCo's sensors see it.
    Gymnasium takes them from the last stage of the integrator, up to 3 ms later; a batch computes none there.
    """

    xml = "humanoid.xml"
    control_timestep = 0.015
    control_cost = 0.1
    reset_noise = 0.01
    planar_speed_of = "com_velocity"
    base_body = "torso"
    base_joints = ("root",)
    contact_groups: ClassVar[Mapping[str, tuple[str, ...]]] = {"feet": ("right_foot", "left_foot")}
    requires = (
        "qpos", "qvel", "action", "com_velocity", "body_inertia", "body_twist", "dof_actuator_force", "external_wrench",
    )  # fmt: skip

    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        bodies = (signals[name] for name in ("body_inertia", "body_twist", "dof_actuator_force", "external_wrench"))
        return np.concatenate((signals["qpos"][:, 2:], signals["qvel"], *bodies), axis=1)

    def reward(self, signals: Signals, memory: Memory) -> Mapping[str, FloatArray]:
        forward = 1.25 * signals["com_velocity"][:, 0]
        return {"forward": forward, "alive": np.full_like(forward, 5.0), "control": self._control(signals)}

    def terminated(self, signals: Signals, memory: Memory) -> BoolArray:
        height = signals["qpos"][:, 2]
        return ~((height > 1.0) & (height < 2.0))

    def _control(self, signals: Signals) -> FloatArray:
        """Return minus the control cost (N,), of the controls, which MuJoCo keeps in double precision."""
        cost: FloatArray = -self.control_cost * np.square(signals["action"].astype(np.float64)).sum(axis=-1)
        return cost

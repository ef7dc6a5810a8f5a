"""Velocity tasks of the robots that move in a plane, whose limit is on the base's velocity along x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from saferl_envs.signals import BoolArray, FloatArray, Signals
from saferl_envs.task import Memory
from saferl_envs.tasks.registry import register_task
from saferl_envs.tasks.velocity_base import NormalStart, Velocity


@register_task("saferl/HalfCheetahVelocity-v0", speed_limit=3.2096)
@register_task("saferl/HalfCheetahVelocityHard-v0", speed_limit=0.75 * 3.2096)
@register_task("saferl/HalfCheetahVelocityExtreme-v0", speed_limit=0.5 * 3.2096)
class HalfCheetahVelocity(NormalStart):
    """HalfCheetah-v4: 17 observations (positions without x, velocities), 6 torques; never terminates."""

    xml = "half_cheetah.xml"
    control_timestep = 0.05
    control_cost = 0.1
    reset_noise = 0.1
    base_body = "torso"
    base_joints = ("rootx", "rootz", "rooty")
    contact_groups: ClassVar[Mapping[str, tuple[str, ...]]] = {"feet": ("bfoot", "ffoot")}
    requires = ("qpos", "qvel", "action", "base_velocity")

    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        return np.concatenate((signals["qpos"][:, 1:], signals["qvel"]), axis=1)

    def reward(self, signals: Signals, memory: Memory) -> Mapping[str, FloatArray]:
        return {"forward": signals["base_velocity"][:, 0], "control": self._control(signals)}


@register_task("saferl/SwimmerVelocity-v0", speed_limit=0.2282)
@register_task("saferl/SwimmerVelocityHard-v0", speed_limit=0.75 * 0.2282)
@register_task("saferl/SwimmerVelocityExtreme-v0", speed_limit=0.5 * 0.2282)
class SwimmerVelocity(Velocity):
    """Swimmer-v4: 8 observations (positions without x and y, velocities), 2 torques; never terminates.

    It swims in the horizontal plane, touches nothing, and its velocity is that of the head, from the slides at the root.
    """

    xml = "swimmer.xml"
    control_timestep = 0.04
    control_cost = 1e-4
    reset_noise = 0.1
    base_body = "torso"
    base_joints = ("slider1", "slider2", "free_body_rot")
    requires = ("qpos", "qvel", "action", "base_velocity")

    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        return np.concatenate((signals["qpos"][:, 2:], signals["qvel"]), axis=1)

    def reward(self, signals: Signals, memory: Memory) -> Mapping[str, FloatArray]:
        return {"forward": signals["base_velocity"][:, 0], "control": self._control(signals)}


class _Balancing(Velocity):
    """A body on legs in the vertical plane: earns 1 a step, sees velocities clipped to 10, falls."""

    control_timestep = 0.008
    control_cost = 1e-3
    reset_noise = 5e-3
    base_body = "torso"
    base_joints = ("rootx", "rootz", "rooty")
    requires = ("qpos", "qvel", "action", "base_velocity")

    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        return np.concatenate((signals["qpos"][:, 1:], np.clip(signals["qvel"], -10.0, 10.0)), axis=1)

    def reward(self, signals: Signals, memory: Memory) -> Mapping[str, FloatArray]:
        speed = signals["base_velocity"][:, 0]
        return {"forward": speed, "alive": np.ones_like(speed), "control": self._control(signals)}


@register_task("saferl/HopperVelocity-v0", speed_limit=0.7402)
@register_task("saferl/HopperVelocityHard-v0", speed_limit=0.75 * 0.7402)
@register_task("saferl/HopperVelocityExtreme-v0", speed_limit=0.5 * 0.7402)
class HopperVelocity(_Balancing):
    """Hopper-v4: 11 observations, 3 torques; terminates when it falls (height, angle or any state out of range)."""

    xml = "hopper.xml"
    contact_groups: ClassVar[Mapping[str, tuple[str, ...]]] = {"feet": ("foot_geom",)}

    def terminated(self, signals: Signals, memory: Memory) -> BoolArray:
        qpos, qvel = signals["qpos"], signals["qvel"]
        upright = (qpos[:, 1] > 0.7) & (np.abs(qpos[:, 2]) < 0.2)
        in_range = (np.abs(qpos[:, 2:]) < 100.0).all(axis=1) & (np.abs(qvel) < 100.0).all(axis=1)
        return ~(upright & in_range)


@register_task("saferl/Walker2dVelocity-v0", speed_limit=2.3415)
@register_task("saferl/Walker2dVelocityHard-v0", speed_limit=0.75 * 2.3415)
@register_task("saferl/Walker2dVelocityExtreme-v0", speed_limit=0.5 * 2.3415)
class Walker2dVelocity(_Balancing):
    """Walker2d-v4: 17 observations, 6 torques; terminates when the torso leaves 0.8 m to 2 m or tilts by 1 rad."""

    xml = "walker2d.xml"
    contact_groups: ClassVar[Mapping[str, tuple[str, ...]]] = {"feet": ("foot_geom", "foot_left_geom")}

    def terminated(self, signals: Signals, memory: Memory) -> BoolArray:
        height, angle = signals["qpos"][:, 1], signals["qpos"][:, 2]
        return ~((height > 0.8) & (height < 2.0) & (np.abs(angle) < 1.0))

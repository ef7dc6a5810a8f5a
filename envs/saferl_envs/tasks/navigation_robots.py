"""The point and the car of the navigation tasks: their models, and where in the state they are found.

Both are Safety Gym's (Ray, Achiam and Amodei 2019) as Safety-Gymnasium publishes them; the models' files are ours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import resources
from typing import ClassVar, NamedTuple

import mujoco
import numpy as np

from saferl_envs.signals import FloatArray

_AGAINST, _TOWARDS = 1.0, 2.0
"""s/m, 1/rad: gains of the point's brake."""
_STANDING = 0.05
"""m/s; speeds about and below this are hardly worth a turn: their damping ends them."""
_CENTRE = 0.0193
"""m that the point's centre of mass lies before its axis."""


class Motion(NamedTuple):
    """Where N robots are and how they move.

    Attributes:
        position: (N, 2) in the world, m.
        heading: (N,) rad about the vertical.
        velocity: (N, 2) along the body's x and y, m/s.
        turning: (N,) rad/s.
        joints: (N, k) speeds of its wheels, rad/s.
    """

    position: FloatArray
    heading: FloatArray
    velocity: FloatArray
    turning: FloatArray
    joints: FloatArray


class Robot(ABC):
    """A robot on a floor; its coordinates come first in the state.

    Attributes:
        geoms: Names of what may touch something.
        nq: Positions it takes in the state.
        nv: Velocities it takes.
    """

    file: ClassVar[str]
    geoms: ClassVar[tuple[str, ...]]
    nq: ClassVar[int]
    nv: ClassVar[int]

    def spec(self) -> mujoco.MjSpec:
        """Return the robot on an empty, unlit plane of nothing."""
        return mujoco.MjSpec.from_string((resources.files("saferl_envs.assets") / "navigation" / self.file).read_text())

    @abstractmethod
    def at(self, pose: FloatArray) -> FloatArray:
        """Return positions (n, nq) for poses (n, 3): x and y in m, heading in rad."""

    @abstractmethod
    def motion(self, qpos: FloatArray, qvel: FloatArray) -> Motion:
        """Return where the robots are and how they move, of whole states."""

    @abstractmethod
    def brake(self, motion: Motion) -> FloatArray:
        """Return actions (N, 2) that bring the robots to a stop."""

    @abstractmethod
    def swerves(self, actions: FloatArray) -> FloatArray:
        """Return (N, 2, 2) what turns robots as sharply as they can to either side while they go on as with actions (N, 2)."""


class Point(Robot):
    """A ball pushed along its x and turned: actions are a force and a turning speed."""

    file = "point.xml"
    geoms = ("ball", "nose")
    nq, nv = 3, 3

    def at(self, pose: FloatArray) -> FloatArray:
        return pose

    def motion(self, qpos: FloatArray, qvel: FloatArray) -> Motion:
        heading = qpos[:, 2]
        return Motion(qpos[:, :2], heading, _turned(qvel[:, :2], heading), qvel[:, 2], np.zeros((len(qpos), 0)))

    def brake(self, motion: Motion) -> FloatArray:
        """Push against the speed, and turn until what is left of it is along the push."""
        forward, sideways = motion.velocity[:, 0], motion.velocity[:, 1] + _CENTRE * motion.turning
        # of a robot that only spins the centre moves, or the axis, not both: it has nothing to turn for
        speed = np.hypot(forward, np.minimum(np.abs(sideways), np.abs(motion.velocity[:, 1])))
        astray = np.arctan2(np.where(forward < 0.0, -sideways, sideways), np.abs(forward))
        turn = _TOWARDS * astray * np.square(speed) / (np.square(speed) + _STANDING**2)
        actions: FloatArray = np.clip(np.stack((-_AGAINST * forward, turn), axis=1), -1.0, 1.0)
        return actions

    def swerves(self, actions: FloatArray) -> FloatArray:
        """Push as proposed, and turn at full speed."""
        push = actions[:, 0]
        return np.stack([np.stack((push, np.full_like(push, side)), axis=1) for side in (-1.0, 1.0)], axis=1)


class Car(Robot):
    """A box on two driven wheels and a caster: actions are the wheels' torques. Its axle is along x, so it drives along y."""

    file = "car.xml"
    geoms = ("chassis", "bumper", "bumper_support", "fender", "fender_support", "left_wheel", "right_wheel", "caster")
    nq, nv = 13, 11

    def at(self, pose: FloatArray) -> FloatArray:
        found = np.zeros((len(pose), self.nq))
        found[:, :2], found[:, 2] = pose[:, :2], 0.1
        found[:, 3], found[:, 6] = np.cos(0.5 * pose[:, 2]), np.sin(0.5 * pose[:, 2])
        found[:, 9] = 1.0
        return found

    def motion(self, qpos: FloatArray, qvel: FloatArray) -> Motion:
        w, x, y, z = qpos[:, 3:7].T
        heading = np.arctan2(2.0 * (w * z + x * y), w * w + x * x - y * y - z * z)
        return Motion(qpos[:, :2], heading, _turned(qvel[:, :2], heading), qvel[:, 5], qvel[:, 6:8])

    def brake(self, motion: Motion) -> FloatArray:
        """Leave the wheels to their damping: they are so light that it stops them within a step, and the floor the car."""
        return np.zeros((len(motion.heading), 2))

    def swerves(self, actions: FloatArray) -> FloatArray:
        """Drive both wheels as far apart as can be, with as much of the proposed drive as that leaves."""
        drive = 0.5 * actions.sum(axis=1)
        ways = [np.clip(np.stack((drive - side, drive + side), axis=1), -1.0, 1.0) for side in (-1.0, 1.0)]
        return np.stack(ways, axis=1)


def _turned(velocity: FloatArray, heading: FloatArray) -> FloatArray:
    """Return velocities (N, 2) of the world in the frames of robots with headings (N,)."""
    cosine, sine = np.cos(heading), np.sin(heading)
    x, y = velocity.T
    return np.stack((cosine * x + sine * y, cosine * y - sine * x), axis=1)

"""Where pictures are taken from: the camera that follows a robot, and the projection of a camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import mujoco
import numpy as np

from saferl_envs.signals import FloatArray

NEAR = 0.05
"""Nothing closer to the eye than this many metres is drawn."""


class View(NamedTuple):
    """Where a free camera looks: ``lookat`` (3,) in m, ``azimuth`` and ``elevation`` in degrees, ``distance`` in m."""

    lookat: FloatArray
    azimuth: float
    elevation: float
    distance: float


@dataclass(frozen=True)
class Pinhole:
    """A perspective camera.

    Attributes:
        eye: Position (3,), m.
        rotation: (3, 3), columns right, up and backward in the world, as in MuJoCo's ``cam_xmat``.
        fovy: Vertical field of view, degrees.
    """

    eye: FloatArray
    rotation: FloatArray
    fovy: float

    @classmethod
    def from_view(cls, view: View, fovy: float) -> Pinhole:
        """Return the camera of a `View`, placed as MuJoCo places its free camera."""
        azimuth, elevation = np.deg2rad([view.azimuth, view.elevation])
        forward = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
        right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
        rotation = np.stack([right, np.cross(right, forward), -forward], axis=1)
        return cls(view.lookat - view.distance * forward, rotation, fovy)

    def project(self, points: FloatArray, height: int, width: int) -> tuple[FloatArray, FloatArray, float]:
        """Return pixels (..., 2), depths (...) in m and the focal length in pixels for world points (..., 3)."""
        focal = 0.5 * height / float(np.tan(np.deg2rad(self.fovy) / 2))
        local = (points - self.eye) @ self.rotation
        depth = -local[..., 2]
        # Points beside or behind the eye get a harmless scale here; the caller drops them by their depth.
        scale = focal / np.maximum(depth, NEAR)
        pixels = np.stack([0.5 * width + local[..., 0] * scale, 0.5 * height - local[..., 1] * scale], axis=-1)
        return pixels, depth, focal


class FollowCamera:
    """Keeps a robot in view: beside it when it moves in a plane, above and behind otherwise.

    The camera follows horizontally without lag; vertically it leaves a robot that hops or crouches some room, so that
    the motion is visible. It depends on the state alone, never on earlier frames. A robot with a fixed base gets a
    camera that stands still.

    Args:
        model: The model.
        data: Its state at ``qpos0``, kinematics done.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        moving = np.flatnonzero(model.body_dofnum)
        self.body = int(moving[0]) if moving.size else 0
        joints = np.flatnonzero(model.jnt_bodyid == self.body) if moving.size else np.zeros(0, int)
        free = model.jnt_type[joints] == mujoco.mjtJoint.mjJNT_FREE.value
        slides = (model.jnt_type[joints] == mujoco.mjtJoint.mjJNT_SLIDE.value) & (model.jnt_limited[joints] == 0)
        self.travels = bool(np.any(free | slides))
        self.azimuth, self.elevation = _direction(model, data)
        center = np.array(data.subtree_com[self.body])
        parts = np.flatnonzero(model.body_rootid[model.geom_bodyid] == model.body_rootid[self.body])
        reach = np.linalg.norm(data.geom_xpos[parts] - center, axis=-1) + model.geom_rbound[parts]
        self.radius = max(float(reach.max(initial=0.0)), 0.05) if self.travels else float(model.stat.extent)
        self._center = center if self.travels else np.array(model.stat.center)
        self._distance = 1.3 * self.radius / float(np.tan(np.deg2rad(model.vis.global_.fovy) / 2))
        if not self.travels:
            self._distance = 1.5 * float(model.stat.extent)

    def view(self, data: mujoco.MjData) -> View:
        """Return the view of the present state; kinematics and ``mj_comPos`` done."""
        lookat = self._center.copy()
        if self.travels:
            center = data.subtree_com[self.body]
            room = 0.3 * self.radius
            lookat[:2] = center[:2]
            lookat[2] = np.clip(self._center[2], center[2] - room, center[2] + room) - 0.1 * self.radius
        return View(lookat, self.azimuth, self.elevation, self._distance)


def _direction(model: mujoco.MjModel, data: mujoco.MjData) -> tuple[float, float]:
    """Return azimuth and elevation, degrees: along the axis of the hinges when they share one, else three-quarter."""
    if np.any(model.jnt_type <= mujoco.mjtJoint.mjJNT_BALL.value):  # free or ball
        return 120.0, -20.0
    axes = data.xaxis[model.jnt_type == mujoco.mjtJoint.mjJNT_HINGE.value]
    if not axes.size or np.any(np.abs(axes @ axes[0]) < 0.99):
        return 120.0, -20.0
    if abs(axes[0, 2]) > 0.9:
        return 90.0, -60.0
    # The side of the axis from which the first direction (+x, or +y) points to the right.
    return float(np.rad2deg(np.arctan2(axes[0, 1], axes[0, 0]))) % 180.0, -10.0

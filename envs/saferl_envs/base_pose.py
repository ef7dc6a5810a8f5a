"""Pose of a robot's base from state, so that it is current: a free joint, or slides and hinges as planar robots have."""

from __future__ import annotations

import mujoco
import numpy as np

from saferl_envs.errors import TaskError, choose
from saferl_envs.signals import FloatArray


class BasePose:
    """Position and tilt of one body that the world's joints move.

    Args:
        model: Compiled model.
        body: The base; its joints alone move it against the world.
        qpos: (N, nq) live positions.

    Raises:
        TaskError: The body does not exist, or its joints are of a kind that this class does not know.
    """

    def __init__(self, model: mujoco.MjModel, body: str, qpos: FloatArray) -> None:
        names = [model.body(i).name for i in range(model.nbody)]
        if body not in names:
            raise TaskError(choose("body", body, names, "base_body"))
        index = names.index(body)
        _require_supported(model, index, body)
        joints = range(model.body_jntadr[index], model.body_jntadr[index] + model.body_jntnum[index])
        self._velocity = int(model.jnt_dofadr[joints[0]]) if joints else 0
        self._qpos, self._origin = qpos, np.array(model.body_pos[index])
        kinds = {j: int(model.jnt_type[j]) for j in joints}
        address = {j: int(model.jnt_qposadr[j]) for j in joints}
        free = [address[j] for j in joints if kinds[j] == int(mujoco.mjtJoint.mjJNT_FREE)]
        self._free = free[0] if free else None
        self._slides = [
            (address[j], model.qpos0[address[j]], model.jnt_axis[j].copy())
            for j in joints
            if kinds[j] == int(mujoco.mjtJoint.mjJNT_SLIDE)
        ]
        hinges = [j for j in joints if kinds[j] == int(mujoco.mjtJoint.mjJNT_HINGE)]
        self._hinge = (
            (address[hinges[0]], model.qpos0[address[hinges[0]]], model.jnt_axis[hinges[0]].copy()) if hinges else None
        )

    def position(self, out: FloatArray) -> None:
        """Write the position in the world, (N, 3) in m."""
        if self._free is not None:
            out[:] = self._qpos[:, self._free : self._free + 3]
            return
        out[:] = self._origin
        for address, reference, axis in self._slides:
            moved = self._qpos[:, address] - reference
            for k in np.flatnonzero(axis):
                out[:, k] += moved * axis[k]

    def height(self, out: FloatArray) -> None:
        """Write the height above the world's origin, (N, 1) in m."""
        position = np.empty((out.shape[0], 3))
        self.position(position)
        out[:, 0] = position[:, 2]

    def linear_velocity(self, out: FloatArray, qvel: FloatArray) -> None:
        """Write the velocity of a free base in its own frame, (N, 3) in m/s, of velocities (N, nv)."""
        if self._free is None:
            raise TaskError("base_linear_velocity needs a floating base (a free joint)")
        w, x, y, z = self._unit_quaternion(self._free).T
        vx, vy, vz = qvel[:, self._velocity : self._velocity + 3].T
        # v + w t + t x q with t = 2 v x q: the rotation by the conjugate, written out since np.cross costs five times as much
        tx, ty, tz = 2.0 * (vy * z - vz * y), 2.0 * (vz * x - vx * z), 2.0 * (vx * y - vy * x)
        out[:, 0] = vx + w * tx + ty * z - tz * y
        out[:, 1] = vy + w * ty + tz * x - tx * z
        out[:, 2] = vz + w * tz + tx * y - ty * x

    def yaw(self, out: FloatArray) -> None:
        """Write the angle of a free base about the world's z, (N, 1) in rad from -pi to pi."""
        if self._free is None:
            raise TaskError("base_yaw needs a floating base (a free joint)")
        w, x, y, z = self._unit_quaternion(self._free).T
        out[:, 0] = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))

    def angular_velocity(self, qvel: FloatArray) -> FloatArray:
        """Return a live view of the angular velocity of a free base in its own frame, (N, 3) in rad/s."""
        return qvel[:, self._velocity + 3 : self._velocity + 6]

    def _unit_quaternion(self, free: int) -> FloatArray:
        """Return (N, 4) of the free joint at address `free`; a state may hold any length, MuJoCo normalises on reading."""
        quaternion = self._qpos[:, free + 3 : free + 7]
        unit: FloatArray = quaternion / np.sqrt(np.einsum("ni,ni->n", quaternion, quaternion))[:, np.newaxis]
        return unit

    def projected_gravity(self, out: FloatArray) -> None:
        """Write the unit vector of gravity in the base's frame, (N, 3); upright is (0, 0, -1)."""
        if self._free is not None:
            w, x, y, z = self._unit_quaternion(self._free).T
        elif self._hinge is not None:
            address, reference, axis = self._hinge
            half = 0.5 * (self._qpos[:, address] - reference)
            w, sine = np.cos(half), np.sin(half)
            x, y, z = axis[0] * sine, axis[1] * sine, axis[2] * sine
        else:
            out[:] = (0.0, 0.0, -1.0)
            return
        # minus the third row of the rotation matrix: the world's -z seen from the base
        out[:, 0] = -2.0 * (x * z - w * y)
        out[:, 1] = -2.0 * (y * z + w * x)
        out[:, 2] = -1.0 + 2.0 * (x * x + y * y)


def is_free(model: mujoco.MjModel, body: str) -> bool:
    """Return whether a body floats: its own joint is a free one. False where there is no such body."""
    index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY.value, body)
    first = int(model.body_jntadr[index]) if index >= 0 else -1
    return first >= 0 and int(model.jnt_type[first]) == int(mujoco.mjtJoint.mjJNT_FREE)


def _require_supported(model: mujoco.MjModel, index: int, body: str) -> None:
    """Refuse a base whose pose would come out wrong: a free joint, or slides and then at most one hinge, on the world."""
    first, count = model.body_jntadr[index], model.body_jntnum[index]
    kinds = [int(kind) for kind in model.jnt_type[first : first + count]]
    free, slide, hinge = (int(getattr(mujoco.mjtJoint, f"mjJNT_{name}")) for name in ("FREE", "SLIDE", "HINGE"))
    planar = kinds == [slide] * kinds.count(slide) + [hinge] * kinds.count(hinge) and kinds.count(hinge) <= 1
    upright = np.array_equal(model.body_quat[index], (1.0, 0.0, 0.0, 0.0))
    if kinds != [free] and not (planar and upright and model.body_parentid[index] == 0):
        raise TaskError(
            f"base_body {body!r}: its pose is known for a free joint, or for slides followed by at most one hinge on an "
            "unrotated body of the world; set base_body to None and use body_position/<body>"
        )

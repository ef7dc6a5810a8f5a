"""Walker and cheetah of the DeepMind Control Suite (Tassa et al. 2018, arXiv 1801.00690) under limits on joints and more.

The bodies are read from the installed package ``dm-control``; observations, rewards and starts are those of its tasks, for all
copies at once. The walker's limits on joints are those that the real-world RL suite (Dulac-Arnold et al. 2020, arXiv
2003.11881) gives it, times its safety coefficient; it tests them over all joints at once, here every joint counts. That suite
has no cheetah: its angles are limited to the coefficient times the model's own ranges, its joints' speeds as the walker's are
(ours). What differs: the speed is the centre of mass's mean over a control step, and the cheetah starts from one of 64 settled
poses.

Version history: v0, first version.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import mujoco
import numpy as np

from saferl_envs.constraints import AxisSpeed, BaseHeight, Constraint, JointPosition, JointVelocity
from saferl_envs.errors import MissingPackageError, TaskError
from saferl_envs.noise import Noise
from saferl_envs.signals import FloatArray, Signals
from saferl_envs.task import Memory, State, Task
from saferl_envs.tasks.registry import register_task

STAND_HEIGHT, WALK_SPEED, RUN_SPEED, CHEETAH_SPEED = 1.2, 1.0, 8.0, 10.0  # m, m/s
HIP, KNEE, ANKLE = (-30.0, 110.0), (-160.0, 15.0), (-75.0, 60.0)  # degrees, the walker's at coefficient 1
JOINT_SPEED = 65.0  # rad/s, the walker's at coefficient 1
CHEETAH_JOINTS = {  # degrees, the ranges in the suite's model
    "bthigh": (-30.0, 60.0), "bshin": (-50.0, 50.0), "bfoot": (-230.0, 50.0),
    "fthigh": (-57.0, 0.4), "fshin": (-70.0, 50.0), "ffoot": (-28.0, 28.0),
}  # fmt: skip
SETTLED_POSES, SETTLING_STEPS = 64, 200


class DMBody(Task):
    """A body of the suite that moves in the plane.

    Args:
        safety_coefficient: Scales the limits on joints, in (0, 1]; smaller is harder.
        height: Upper limit on the torso's height in m, or None.
        speed: Limit on the speed along x in m/s, or None.
        allowed: Share of steps that may violate, each constraint.

    Raises:
        TaskError: The coefficient is not in (0, 1].
    """

    xml: ClassVar[str]
    base_body = "torso"
    base_joints = ("rootx", "rootz", "rooty")
    camera = "side"

    def __init__(
        self,
        safety_coefficient: float = 0.5,
        height: float | None = None,
        speed: float | None = None,
        allowed: float = 0.1,
    ) -> None:
        if not 0.0 < safety_coefficient <= 1.0:
            raise TaskError(f"safety_coefficient must be above 0 and at most 1, got {safety_coefficient}")
        self.coefficient, self.height, self.speed, self.allowed = safety_coefficient, height, speed, allowed

    def spec(self) -> mujoco.MjSpec:
        found = importlib.util.find_spec("dm_control")
        if found is None or not found.submodule_search_locations:
            raise MissingPackageError("this body is read from the package dm-control: pip install dm-control")
        # MuJoCo calls `settotalmass` in cheetah.xml deprecated; parity with the suite needs the file as it is
        warnings.filterwarnings("ignore", message="compiler attribute 'settotalmass'")
        return mujoco.MjSpec.from_file(str(Path(found.submodule_search_locations[0]) / "suite" / self.xml))

    def _angle(self, name: str, joints: tuple[str, ...], limits: tuple[float, float]) -> Constraint:
        """Return a limit on angles; `limits` are in degrees at coefficient 1."""
        low, high = np.deg2rad(self.coefficient * np.array(limits))
        return JointPosition.between(
            float(low), float(high), name=f"{name}_angle", components=joints, aggregate="mean", cost_limit=self.allowed
        )

    def _joint_constraints(self) -> tuple[Constraint, ...]:
        """Return the constraints on joints; their limits are at the coefficient."""
        return (
            JointVelocity(
                name="joint_velocity", limit=self.coefficient * JOINT_SPEED, aggregate="mean", cost_limit=self.allowed
            ),
        )

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        found = list(self._joint_constraints())
        if self.height is not None:
            found.append(BaseHeight(name="height", bound="upper", limit=self.height, aggregate="mean", cost_limit=self.allowed))
        if self.speed is not None:
            found.append(
                AxisSpeed(name="speed", signal="com_velocity", limit=self.speed, aggregate="mean", cost_limit=self.allowed)
            )
        return tuple(found)


@register_task("saferl/DMWalkerStand-v0", move_speed=0.0)
@register_task("saferl/DMWalkerWalk-v0", move_speed=WALK_SPEED)
@register_task("saferl/DMWalkerRun-v0", move_speed=RUN_SPEED)
class DMWalker(DMBody):
    """24 observations (cosine and sine of each body's pitch, height, velocities), 6 torques; starts anywhere and never ends.

    Args:
        move_speed: Speed in m/s that earns the full reward, 0 for standing.
        **kwargs: As for `DMBody`.
    """

    xml = "walker.xml"
    control_timestep = 0.025
    requires = ("qpos", "qvel", "action", "com_velocity")

    def __init__(self, move_speed: float, **kwargs: float) -> None:
        super().__init__(**kwargs)
        self.move_speed = move_speed

    def _joint_constraints(self) -> tuple[Constraint, ...]:
        pairs = (("hip", HIP), ("knee", KNEE), ("ankle", ANKLE))
        angles = (self._angle(joint, (f"right_{joint}", f"left_{joint}"), limits) for joint, limits in pairs)
        return (*angles, *super()._joint_constraints())

    def initial_state(self, noise: Noise, model: mujoco.MjModel) -> State:
        """Every joint anywhere in its range, the torso at any pitch, 1.3 m up."""
        qpos = np.tile(model.qpos0, (noise.n, 1))
        low, high = model.jnt_range[3:].T
        qpos[:, 2] = noise.uniform("pitch", 1, -np.pi, np.pi)[:, 0]
        qpos[:, 3:] = noise.uniform("joints", 6, low, high)
        return State(qpos, np.zeros((noise.n, model.nv)))

    def _pitches(self, signals: Signals) -> FloatArray:
        """Return the pitch (N, 7) of torso, right thigh, leg and foot, left thigh, leg and foot; joints turn against it."""
        qpos = signals["qpos"]
        legs = np.cumsum(qpos[:, 3:].reshape(-1, 2, 3), axis=2).reshape(-1, 6)
        return np.concatenate((qpos[:, 2:3], qpos[:, 2:3] - legs), axis=1)

    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        pitches = self._pitches(signals)
        orientations = np.stack((np.cos(pitches), np.sin(pitches)), axis=2).reshape(-1, 14)
        return np.concatenate((orientations, self._height(signals), signals["qvel"]), axis=1)

    def _height(self, signals: Signals) -> FloatArray:
        return 1.3 + signals["qpos"][:, :1]

    def reward(self, signals: Signals, memory: Memory) -> Mapping[str, FloatArray]:
        # outside of its interval the suite's reward falls as a Gaussian to 0.1 at the margin
        missing = np.maximum(STAND_HEIGHT - self._height(signals)[:, 0], 0.0) / (STAND_HEIGHT / 2)
        standing = np.exp(np.log(0.1) * np.square(missing))
        upright = (1.0 + np.cos(signals["qpos"][:, 2])) / 2
        stand = (3.0 * standing + upright) / 4
        if self.move_speed == 0.0:
            return {"stand": stand}
        # and linearly to a half at half the speed, to zero at minus half of it
        missing = np.maximum(self.move_speed - signals["com_velocity"][:, 0], 0.0) / (self.move_speed / 2)
        moving = np.maximum(1.0 - 0.5 * missing, 0.0)
        return {"walk": stand * (5.0 * moving + 1.0) / 6}


@register_task("saferl/DMCheetahRun-v0")
class DMCheetah(DMBody):
    """17 observations (positions without x, velocities), 6 torques; the reward is the speed, 1 at 10 m/s; never ends."""

    xml = "cheetah.xml"
    control_timestep = 0.01
    requires = ("qpos", "qvel", "action", "com_velocity")
    _poses: State | None = None

    def _joint_constraints(self) -> tuple[Constraint, ...]:
        angles = (self._angle(joint, (joint,), limits) for joint, limits in CHEETAH_JOINTS.items())
        return (*angles, *super()._joint_constraints())

    def initial_state(self, noise: Noise, model: mujoco.MjModel) -> State:
        """One of the settled poses."""
        if self._poses is None:
            self._poses = _settled(model)
        chosen = (noise.uniform("pose", 1)[:, 0] * SETTLED_POSES).astype(np.intp)
        return State(self._poses.qpos[chosen], self._poses.qvel[chosen])

    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        return np.concatenate((signals["qpos"][:, 1:], signals["qvel"]), axis=1)

    def reward(self, signals: Signals, memory: Memory) -> Mapping[str, FloatArray]:
        return {"run": np.clip(signals["com_velocity"][:, 0] / CHEETAH_SPEED, 0.0, 1.0)}


def _settled(model: mujoco.MjModel) -> State:
    """Return states in which joints set anywhere in their ranges have come to rest, as the suite's task lets them."""
    data, limited = mujoco.MjData(model), model.jnt_limited.astype(bool)
    noise = Noise(np.arange(SETTLED_POSES), np.zeros(SETTLED_POSES), np.zeros(SETTLED_POSES))
    start = noise.uniform("settle", int(limited.sum()), *model.jnt_range[limited].T)
    found = State(np.empty((SETTLED_POSES, model.nq)), np.empty((SETTLED_POSES, model.nv)))
    for k, joints in enumerate(start):
        mujoco.mj_resetData(model, data)
        data.qpos[limited] = joints
        mujoco.mj_step(model, data, SETTLING_STEPS)
        found.qpos[k], found.qvel[k] = data.qpos, data.qvel
    return found

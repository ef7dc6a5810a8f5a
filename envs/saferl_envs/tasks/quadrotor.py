"""A planar quadrotor follows a point on a circle that is wider than the box it may fly in.

The box cuts the circle on all four sides, so a policy without constraints leaves it. The task is after safe-control-gym's
quadrotor tracking (Yuan et al. 2022, arXiv 2109.06325) with numbers of our own; the model is ours, see its file.
Version history: v0, first version.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

import mujoco
import numpy as np

from saferl_envs.constraints import Constraint, JointPosition
from saferl_envs.noise import Noise
from saferl_envs.signals import BoolArray, FloatArray, Signals
from saferl_envs.task import Memory, State, Task
from saferl_envs.tasks.registry import register_task

RADIUS, PERIOD = 0.75, 4.0
"""Of the circle about the start: m, s."""
WIDTH = 0.3
"""m, distance from the point at which the reward has fallen to exp(-1)."""


@register_task("saferl/QuadrotorCircle-v0")
class QuadrotorCircle(Task):
    """11 observations (position, cosine and sine of the pitch, velocities, where the point is and how it moves), two thrusts.

    Actions from -1 to 1 are thrusts of the front and the rear pair from none to 0.298 N. Ends when the drone turns over.

    Args:
        box: Limit on the distance from the start along x and along z, m.
        pitch_limit: Limit on the pitch, rad.
        cost_limit: Bound on the number of steps above either limit per episode, each.
    """

    control_timestep = 0.02
    max_episode_steps = 400
    requires = ("joint_position", "joint_velocity", "action")
    camera = "track"

    def __init__(self, box: float = 0.6, pitch_limit: float = 0.6, cost_limit: float = 25.0) -> None:
        self.box, self.pitch_limit, self.cost_limit = box, pitch_limit, cost_limit

    def spec(self) -> mujoco.MjSpec:
        return mujoco.MjSpec.from_string((resources.files("saferl_envs.assets") / "quadrotor/quadrotor.xml").read_text())

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        return (
            JointPosition(name="box", unit="m", limit=self.box, components=("x", "z"), cost_limit=self.cost_limit),
            JointPosition(name="pitch", limit=self.pitch_limit, components=("pitch",), cost_limit=self.cost_limit),
        )

    def action_bounds(self, model: mujoco.MjModel) -> tuple[FloatArray, FloatArray]:
        return -np.ones(model.nu), np.ones(model.nu)

    def control(self, action: FloatArray, memory: Memory) -> FloatArray:
        thrust: FloatArray = 0.149 * (1.0 + np.asarray(action, np.float64))
        return thrust

    def initial_state(self, noise: Noise, model: mujoco.MjModel) -> State:
        qpos = noise.uniform("qpos", 3, (-0.2, -0.2, -0.1), (0.2, 0.2, 0.1))
        return State(qpos, noise.uniform("qvel", 3, -0.05, 0.05))

    def initial_memory(self, noise: Noise) -> Memory:
        return {"phase": noise.uniform("phase", 1, 0.0, 2.0 * np.pi)}

    def advance(self, memory: Memory, signals: Signals, noise: Noise) -> Memory:
        turn = 2.0 * np.pi / PERIOD * self.control_timestep
        return {"phase": np.mod(memory["phase"] + turn, 2.0 * np.pi)}

    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        position, pitch = signals["joint_position"][:, :2], signals["joint_position"][:, 2:]
        point, speed = _circle(memory)
        parts = (position, np.cos(pitch), np.sin(pitch), signals["joint_velocity"], point - position, speed)
        return np.concatenate(parts, axis=1)

    def reward(self, signals: Signals, memory: Memory) -> Mapping[str, FloatArray]:
        point, _ = _circle(memory)
        distance = np.square(signals["joint_position"][:, :2] - point).sum(axis=1)
        effort = np.square(np.asarray(signals["action"], np.float64)).sum(axis=1)
        return {"tracking": np.exp(-distance / WIDTH**2), "effort": -0.01 * effort}

    def terminated(self, signals: Signals, memory: Memory) -> BoolArray:
        return np.abs(signals["joint_position"][:, 2]) > 0.5 * np.pi


def _circle(memory: Memory) -> tuple[FloatArray, FloatArray]:
    """Return where the point is relative to the start, (N, 2) in m, and its velocity, (N, 2) in m/s."""
    phase = memory["phase"]
    point = RADIUS * np.concatenate((np.cos(phase), np.sin(phase)), axis=1)
    speed = RADIUS * 2.0 * np.pi / PERIOD * np.concatenate((-np.sin(phase), np.cos(phase)), axis=1)
    return point, speed

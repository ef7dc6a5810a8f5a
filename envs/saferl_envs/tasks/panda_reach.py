"""A seven-joint arm reaches for a point past a person-sized capsule that walks about in front of it.

The point lies on the other side of where the tip starts, and the capsule's path crosses the direct way, so a policy without
constraints runs into it. Points along the arm must keep clear of the capsule, and joints of the ends of their ranges.
The arm is of the Franka Emika Panda's class, its model is ours (see its file); the task is ours.
Version history: v0, first version.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import ClassVar

import mujoco
import numpy as np

from saferl_envs.constraints import Constraint, SignalLimit
from saferl_envs.noise import Noise
from saferl_envs.signals import FloatArray, SignalInfo, Signals
from saferl_envs.task import Memory, State, Task
from saferl_envs.tasks.registry import register_task

READY = np.array([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4])
"""rad; the pose in which the maker delivers the arm."""
SPEEDS = np.array([2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61])
LOW = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
HIGH = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
POINTS = {"elbow": 0.07, "forearm": 0.07, "wrist": 0.06, "flange": 0.05, "tip": 0.02}
"""Sites whose distance from the person counts, and the radius of the arm there, m."""
RADIUS, BOTTOM, TOP = 0.2, 0.2, 1.5
"""Of the person's capsule: m, and the heights of its axis' ends."""
STRIDE, LEAN = 0.35, 2.0
"""m and rad/s: how far and how fast the person sways to and fro along y."""


@register_task("saferl/PandaReach-v0")
class PandaReach(Task):
    """28 observations (angles, speeds, tip, way to the goal, person's position and speed, clearances), seven joint speeds.

    Actions from -1 to 1 are shares of the joints' largest speeds. Never terminates.

    Args:
        clearance: Least distance between the arm's and the person's surface, m.
        joint_margin: Least distance of a joint from the ends of its range, rad.
        cost_limit: Bound on the number of steps that violate either per episode, each.
    """

    control_timestep = 0.04
    max_episode_steps = 150
    requires = (
        "qpos",
        "joint_position",
        "joint_velocity",
        "action",
        *(f"site_position/{name}" for name in POINTS),
    )
    base_joints = ("person_x", "person_y")
    memory_signals: ClassVar[Mapping[str, SignalInfo]] = {"person": SignalInfo(("phase", "speed", "x"), "1")}
    derived_signals: ClassVar[Mapping[str, SignalInfo]] = {
        "clearance": SignalInfo(tuple(POINTS), "m"),
        "joint_room": SignalInfo(tuple(f"joint{k}" for k in range(1, 8)), "rad"),
    }
    camera = "track"
    rest = (0.67, 0.0, 0.0, -1.2, 0.0, -2.6, 0.0, 1.6, 0.785)  # the person, then the arm folded back

    def __init__(self, clearance: float = 0.05, joint_margin: float = 0.1, cost_limit: float = 5.0) -> None:
        self.clearance, self.joint_margin, self.cost_limit = clearance, joint_margin, cost_limit

    def spec(self) -> mujoco.MjSpec:
        return mujoco.MjSpec.from_string((resources.files("saferl_envs.assets") / "panda/panda.xml").read_text())

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        return (
            SignalLimit(
                name="person", signal="clearance", bound="lower", limit=self.clearance, unit="m", cost_limit=self.cost_limit
            ),
            SignalLimit(
                name="joint_range", signal="joint_room", bound="lower", limit=self.joint_margin, unit="rad",
                cost_limit=self.cost_limit,
            ),
        )  # fmt: skip

    def action_bounds(self, model: mujoco.MjModel) -> tuple[FloatArray, FloatArray]:
        return -np.ones(7), np.ones(7)

    def control(self, action: FloatArray, memory: Memory) -> FloatArray:
        sway = memory["person"]
        along = STRIDE * sway[:, 1:2] * np.cos(sway[:, :1])
        arm = SPEEDS * np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        return np.concatenate((arm, np.zeros_like(along), along), axis=1)

    def initial_memory(self, noise: Noise) -> Memory:
        side = np.where(noise.uniform("side", 1) < 0.5, -1.0, 1.0)
        person = noise.uniform("person", 3, (0.0, 0.5 * LEAN, 0.62), (2.0 * np.pi, LEAN, 0.72))
        goal = noise.uniform("goal", 3, (0.35, 0.4, 0.25), (0.5, 0.5, 0.6)) * np.concatenate(
            (np.ones_like(side), side, np.ones_like(side)), axis=1
        )
        return {"person": person, "goal": goal, "side": side}

    def place(self, noise: Noise, model: mujoco.MjModel, memory: Memory) -> State:
        arm = READY + noise.uniform("qpos", 7, -0.05, 0.05)
        arm[:, 0] -= memory["side"][:, 0] * np.pi / 4
        person = np.stack((memory["person"][:, 2], STRIDE * np.sin(memory["person"][:, 0])), axis=1)
        return State(np.concatenate((person, arm), axis=1), np.zeros((noise.n, model.nv)))

    def initial_state(self, noise: Noise, model: mujoco.MjModel) -> State:
        return self.place(noise, model, self.initial_memory(noise))

    def advance(self, memory: Memory, signals: Signals, noise: Noise) -> Memory:
        person = memory["person"].copy()
        person[:, 0] = np.mod(person[:, 0] + person[:, 1] * self.control_timestep, 2.0 * np.pi)
        return {**memory, "person": person}

    def derive(self, signals: Signals) -> Mapping[str, FloatArray]:
        person = signals["qpos"][:, :2]
        clear = []
        for name, radius in POINTS.items():
            point = signals[f"site_position/{name}"]
            flat = np.square(point[:, :2] - person).sum(axis=1)
            above = point[:, 2] - np.clip(point[:, 2], BOTTOM, TOP)
            clear.append(np.sqrt(flat + np.square(above)) - RADIUS - radius)
        angles = signals["joint_position"]
        return {"clearance": np.stack(clear, axis=1), "joint_room": np.minimum(angles - LOW, HIGH - angles)}

    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        tip, person = signals["site_position/tip"], memory["person"]
        speed = STRIDE * person[:, 1:2] * np.cos(person[:, :1])
        parts = (
            signals["joint_position"], signals["joint_velocity"], tip, memory["goal"] - tip, signals["qpos"][:, :2], speed,
            signals["clearance"],
        )  # fmt: skip
        return np.concatenate(parts, axis=1)

    def reward(self, signals: Signals, memory: Memory) -> Mapping[str, FloatArray]:
        distance = np.sqrt(np.square(memory["goal"] - signals["site_position/tip"]).sum(axis=1))
        effort = np.square(np.asarray(signals["action"], np.float64)).sum(axis=1)
        return {"near": 1.0 - np.tanh(4.0 * distance), "effort": -0.01 * effort}

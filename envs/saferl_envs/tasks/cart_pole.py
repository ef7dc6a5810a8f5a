"""Balance a pole on a cart and hurry about, within limits on where the cart may be and how far the pole may lean.

The hurry term rewards a fast cart, so a policy without constraints runs along the rail with a leaning pole, beyond both limits.
With a target in its place the cart is wanted somewhere along the rail: a limit on its distance from the middle then forbids
the very thing that is rewarded, and the best policy lies exactly on the limit.
The model is ours; its masses and lengths are those of Barto, Sutton and Anderson (1983).
Version history: v0, first version.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

import mujoco
import numpy as np

from saferl_envs.constraints import Constraint, JointPosition
from saferl_envs.errors import ConfigError
from saferl_envs.noise import Noise
from saferl_envs.signals import BoolArray, FloatArray, Signals
from saferl_envs.task import Memory, State, Task
from saferl_envs.tasks.registry import register_task

CART_SPEED_FOR_FULL_REWARD = 1.0  # m/s


@register_task("saferl/CartPoleBalance-v0")
class CartPoleBalance(Task):
    """5 observations (x, cos and sin of the angle, both velocities), one force; ends when the pole falls.

    Args:
        position_limit: Limit on the cart's distance from the middle, m.
        angle_limit: Limit on the pole's angle from upright, rad.
        cost_limit: Bound on the number of steps above either limit per episode, each.
        target: Where the cart is wanted, in m from the middle, not 0: half of the reward then falls with the square of the
            distance, from 0.5 there to 0 in the middle and beyond twice the target. None: the hurry term.
    """

    control_timestep = 0.02
    max_episode_steps = 500
    requires = ("joint_position", "joint_velocity")
    camera = "track"

    def __init__(
        self,
        position_limit: float = 0.5,
        angle_limit: float = 0.2,
        cost_limit: float = 25.0,
        target: float | None = None,
    ) -> None:
        if target is not None and not (np.isfinite(target) and target != 0.0):
            raise ConfigError(f"target of CartPoleBalance is {target}; use a finite position other than 0, in m, or none")
        self.position_limit, self.angle_limit, self.cost_limit = position_limit, angle_limit, cost_limit
        self.target = target

    def spec(self) -> mujoco.MjSpec:
        return mujoco.MjSpec.from_string((resources.files("saferl_envs.assets") / "cart_pole/cart_pole.xml").read_text())

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        return (
            JointPosition(
                name="cart_position", unit="m", limit=self.position_limit, components=("slider",),
                cost_limit=self.cost_limit,
            ),
            JointPosition(
                name="pole_angle", limit=self.angle_limit, components=("hinge",), cost_limit=self.cost_limit
            ),
        )  # fmt: skip

    def initial_state(self, noise: Noise, model: mujoco.MjModel) -> State:
        qpos = noise.uniform("qpos", 2, (-0.2, -0.05), (0.2, 0.05))
        return State(qpos, noise.uniform("qvel", 2, -0.05, 0.05))

    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        position = signals["joint_position"]
        angle = position[:, 1:]
        return np.concatenate((position[:, :1], np.cos(angle), np.sin(angle), signals["joint_velocity"]), axis=1)

    def reward(self, signals: Signals, memory: Memory) -> Mapping[str, FloatArray]:
        upright = 0.5 * (1.0 + np.cos(signals["joint_position"][:, 1]))
        if self.target is not None:
            away = np.abs(signals["joint_position"][:, 0] - self.target) / abs(self.target)
            return {"upright": 0.5 * upright, "target": 0.5 * np.maximum(1.0 - away**2, 0.0)}
        hurry = np.minimum(np.abs(signals["joint_velocity"][:, 0]) / CART_SPEED_FOR_FULL_REWARD, 1.0)
        return {"upright": 0.5 * upright, "hurry": 0.5 * hurry}

    def terminated(self, signals: Signals, memory: Memory) -> BoolArray:
        return np.abs(signals["joint_position"][:, 1]) > np.pi / 4

"""Gymnasium's pendulum whose last torque is observed: a limit on how much the torque changes then depends on state and action.

Without it the observation does not tell which actions are jumps, and no critic can.
"""

from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from numpy.typing import NDArray


class TorquePendulum(PendulumEnv):
    """``Pendulum-v1`` with observations (4,): cos and sin of the angle from upright, velocity in rad/s, last torque in Nm.

    Actions, rewards and resets are Gymnasium's; at a reset the last torque is 0.

    Args:
        render_mode: As for ``Pendulum-v1``.
        g: Gravity in m/s^2.
    """

    def __init__(self, render_mode: str | None = None, g: float = 10.0) -> None:
        super().__init__(render_mode, g)
        high = np.array([1.0, 1.0, self.max_speed, self.max_torque], np.float32)
        self.observation_space = spaces.Box(-high, high, dtype=np.float32)

    def _get_obs(self) -> NDArray[np.float32]:
        observation: NDArray[np.float32] = super()._get_obs()  # type: ignore[no-untyped-call]
        return np.append(observation, np.float32(self.last_u or 0.0))


gymnasium.register("saferl/Pendulum-v0", entry_point="saferl_envs.tasks.pendulum:TorquePendulum", max_episode_steps=200)

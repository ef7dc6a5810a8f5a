"""Ant runs along a corridor, no faster than a limit: two constraints on the body of Gymnasium's Ant-v4.

After Bullet-Safety-Gym's AntRun (the SpeedLimit task of SafeRL-Kit), whose cost is a planar speed above 1.5 m/s or more
than 2 m between torso and the corridor's middle; here they are two constraints. Body and reward are Gymnasium's.
Version history: v0, first version.
"""

from __future__ import annotations

import numpy as np

from saferl_envs.constraints import Constraint, SignalLimit
from saferl_envs.signals import FloatArray, Signals
from saferl_envs.task import Memory
from saferl_envs.tasks.registry import register_task
from saferl_envs.tasks.velocity_spatial import AntVelocity


@register_task("saferl/AntRun-v0")
class AntRun(AntVelocity):
    """28 observations (the distance from the corridor's middle, then Ant-v4's 27), 8 torques; ends as Ant-v4 does.

    Args:
        speed_limit: Limit on the horizontal speed, m/s.
        corridor: Limit on the distance from the corridor's middle, m.
        cost_limit: Bound on the number of steps above either limit per episode, each.
    """

    max_episode_steps = 500
    requires = (*AntVelocity.requires, "base_position")

    def __init__(self, speed_limit: float = 1.5, corridor: float = 2.0, cost_limit: float = 10.0) -> None:
        super().__init__(speed_limit, cost_limit)
        self.corridor = corridor

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        return (
            *super().constraints,
            SignalLimit(
                name="corridor", signal="base_position", components=("y",), bound="absolute", limit=self.corridor, unit="m",
                cost_limit=self.cost_limit,
            ),
        )  # fmt: skip

    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        return np.concatenate((signals["qpos"][:, 1:], signals["qvel"]), axis=1)

"""HalfCheetah runs as fast as it can under twelve limits: every joint's speed and every action's rate of change.

The task on which CaT is accepted here: reward max(v_x, 0), joint speed at most 10 rad/s, action change at most 1 per step.
Body and observations of Gymnasium's HalfCheetah-v4. Version history: v0, first version.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from saferl_envs.constraints import ActionRate, Constraint, JointVelocity
from saferl_envs.signals import FloatArray, Signals
from saferl_envs.task import Memory
from saferl_envs.tasks.registry import register_task
from saferl_envs.tasks.velocity import HalfCheetahVelocity


@register_task("saferl/HalfCheetahLimits-v0")
class HalfCheetahLimits(HalfCheetahVelocity):
    """Reward ``max(v_x, 0)`` in m/s, never negative as CaT asks.

    Args:
        joint_speed_limit: Limit on each of six joint speeds, rad/s.
        action_rate_limit: Limit on the change of each of six actions, per control step.
    """

    def __init__(self, joint_speed_limit: float = 10.0, action_rate_limit: float = 1.0) -> None:
        self.joint_speed_limit, self.action_rate_limit = joint_speed_limit, action_rate_limit

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        return (
            JointVelocity(name="joint_speed", limit=self.joint_speed_limit),
            ActionRate(name="action_rate", limit=self.action_rate_limit),
        )

    def reward(self, signals: Signals, memory: Memory) -> Mapping[str, FloatArray]:
        return {"forward": np.maximum(signals["base_velocity"][:, 0], 0.0)}

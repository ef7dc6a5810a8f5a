"""What the velocity tasks share: Gymnasium's body, one limit on the speed, a control cost, a noisy start."""

from __future__ import annotations

from typing import ClassVar

import mujoco
import numpy as np

from saferl_envs.constraints import AxisSpeed, Constraint, PlanarSpeed
from saferl_envs.noise import Noise
from saferl_envs.signals import FloatArray, Signals
from saferl_envs.task import State, Task
from saferl_envs.tasks.gymnasium_models import gymnasium_spec

COST_LIMIT = 25.0


class Velocity(Task):
    """A body that runs along x under a limit on its speed.

    Args:
        speed_limit: Limit on the speed in m/s.
        cost_limit: Bound on the number of steps above it per episode.

    Attributes:
        xml: Name of Gymnasium's model file.
        control_cost: Weight of the squared action in the reward.
        reset_noise: Size of the noise on positions and velocities at the start of an episode.
        planar_speed_of: Velocity signal whose horizontal speed is limited, or None to limit the base's velocity along x.
    """

    xml: ClassVar[str]
    control_cost: ClassVar[float]
    reset_noise: ClassVar[float]
    planar_speed_of: ClassVar[str | None] = None
    camera = "track"

    def __init__(self, speed_limit: float, cost_limit: float = COST_LIMIT) -> None:
        self.speed_limit, self.cost_limit = speed_limit, cost_limit

    def spec(self) -> mujoco.MjSpec:
        return gymnasium_spec(self.xml)

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        if self.planar_speed_of is None:
            return (AxisSpeed(name="speed", limit=self.speed_limit, cost_limit=self.cost_limit),)
        signal = self.planar_speed_of
        return (PlanarSpeed(name="speed", limit=self.speed_limit, cost_limit=self.cost_limit, signal=signal),)

    def initial_state(self, noise: Noise, model: mujoco.MjModel) -> State:
        qpos = model.qpos0 + noise.uniform("qpos", model.nq, -self.reset_noise, self.reset_noise)
        return State(qpos, noise.uniform("qvel", model.nv, -self.reset_noise, self.reset_noise))

    def _control(self, signals: Signals) -> FloatArray:
        """Return minus the control cost (N,), in the action's own precision as Gymnasium computes it."""
        cost: FloatArray = -self.control_cost * np.square(signals["action"]).sum(axis=-1)
        return cost


class NormalStart(Velocity):
    """A body whose velocities at the start are normally rather than uniformly distributed."""

    def initial_state(self, noise: Noise, model: mujoco.MjModel) -> State:
        qpos = model.qpos0 + noise.uniform("qpos", model.nq, -self.reset_noise, self.reset_noise)
        return State(qpos, noise.normal("qvel", model.nv, self.reset_noise))

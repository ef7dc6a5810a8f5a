"""The tasks: one file per environment family; importing this package registers every id with Gymnasium."""

from saferl_envs.tasks import (
    ant_run,
    cart_pole,
    catch,
    dm_control,
    half_cheetah_limits,
    navigation_circle,
    navigation_goal,
    panda_reach,
    pendulum,
    quadrotor,
    solo12,
    solo12_terrain,
    velocity,
)
from saferl_envs.tasks.registry import make_task, register_task, task_ids

__all__ = [
    "ant_run",
    "cart_pole",
    "catch",
    "dm_control",
    "half_cheetah_limits",
    "make_task",
    "navigation_circle",
    "navigation_goal",
    "panda_reach",
    "pendulum",
    "quadrotor",
    "register_task",
    "solo12",
    "solo12_terrain",
    "task_ids",
    "velocity",
]

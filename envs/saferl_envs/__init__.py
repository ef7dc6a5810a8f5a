"""Simulation and constraints: batched MuJoCo environments with named constraints, for any learning library."""

from saferl_envs.constraints import Constraint, ConstraintSet
from saferl_envs.errors import SaferlError
from saferl_envs.task import State, Task
from saferl_envs.tasks import make_task, register_task, task_ids

__all__ = ["Constraint", "ConstraintSet", "SaferlError", "State", "Task", "make_task", "register_task", "task_ids"]

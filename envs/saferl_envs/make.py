"""From an environment id to an engine, with a task's constraints changed from outside: other limits, or another set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saferl_envs.constraints import Constraint, constraints_from_specs
from saferl_envs.engine import Engine
from saferl_envs.errors import ConstraintError, choose
from saferl_envs.task import Task
from saferl_envs.tasks import make_task


def resolve_constraints(
    task: Task,
    constraints: Sequence[Constraint | Mapping[str, Any]] | None = None,
    limits: Mapping[str, float] | None = None,
) -> tuple[Constraint, ...]:
    """Return the constraints to enforce.

    Args:
        task: Its own constraints are the default.
        constraints: Constraints or JSON specifications in place of the task's.
        limits: New limits by constraint name.

    Raises:
        ConstraintError: A specification is invalid, or a limit names no constraint.
    """
    chosen = task.constraints if constraints is None else constraints_from_specs(constraints, "constraints")
    if not isinstance(limits or {}, Mapping):
        raise ConstraintError(f"limits: expected a mapping from constraint names to numbers, got {limits!r}")
    names = [c.name for c in chosen]
    for name in limits or {}:
        if name not in names:
            raise ConstraintError(choose("constraint", name, names, "limits"))
    return tuple(dataclasses.replace(c, limit=limits[c.name]) if limits and c.name in limits else c for c in chosen)


def make_engine(
    env_id: str,
    num_envs: int = 1,
    *,
    threads: int = 0,
    constraints: Sequence[Constraint | Mapping[str, Any]] | None = None,
    limits: Mapping[str, float] | None = None,
    max_episode_steps: int | None = None,
    dump_dir: str | Path | None = None,
    **task_kwargs: Any,
) -> Engine:
    """Return copies of a registered task with changes from outside; every face is built on this.

    Args:
        env_id: A registered environment id.
        num_envs: Number of copies.
        threads: Threads for physics, 0 for all cores.
        constraints: Constraints or JSON specifications in place of the task's own.
        limits: New limits by constraint name.
        max_episode_steps: Steps before truncation, in place of the task's own.
        dump_dir: Folder for the state of a copy whose physics diverged.
        **task_kwargs: Passed to the task.

    Raises:
        SaferlError: Something of it is invalid; the message names it.
    """
    task = make_task(env_id, **task_kwargs)
    return Engine(
        task,
        num_envs,
        threads=threads,
        constraints=resolve_constraints(task, constraints, limits),
        max_episode_steps=max_episode_steps,
        dump_dir=dump_dir,
    )

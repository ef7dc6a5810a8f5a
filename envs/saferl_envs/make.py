"""From an environment id to copies of it, with constraints changed from outside: other limits, or another set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saferl_envs.constraints import Constraint
from saferl_envs.constraints.resolve import resolve_constraints
from saferl_envs.copies import Copies
from saferl_envs.disturbances import disturbances_from
from saferl_envs.engine import Engine
from saferl_envs.errors import TaskError
from saferl_envs.gymnasium_copies import GymnasiumCopies
from saferl_envs.gymnasium_make import import_module
from saferl_envs.tasks import make_task, task_ids


def make_engine(
    env_id: str,
    num_envs: int = 1,
    *,
    threads: int = 0,
    constraints: Sequence[Constraint | Mapping[str, Any]] | None = None,
    limits: Mapping[str, float] | None = None,
    cost_limits: Mapping[str, float] | None = None,
    max_episode_steps: int | None = None,
    dump_dir: str | Path | None = None,
    disturbances: Mapping[str, float] | None = None,
    **task_kwargs: Any,
) -> Engine:
    """Return copies of a registered task with changes from outside.

    Args:
        env_id: A registered environment id.
        num_envs: Number of copies.
        threads: Threads for physics, 0 for all cores.
        constraints: Constraints or JSON specifications in place of the task's own.
        limits: New limits by constraint name.
        cost_limits: New cost limits by constraint name.
        max_episode_steps: Steps before truncation, in place of the task's own.
        dump_dir: Folder for the state of a copy whose physics diverged.
        disturbances: Name to strength; see `saferl_envs.disturbances`.
        **task_kwargs: Passed to the task.

    Raises:
        SaferlError: Something of it is invalid; the message names it.
    """
    task = make_task(env_id, **task_kwargs)
    return Engine(
        task,
        num_envs,
        threads=threads,
        constraints=resolve_constraints(task.constraints, constraints, limits, cost_limits),
        max_episode_steps=max_episode_steps,
        dump_dir=dump_dir,
        disturbances=disturbances_from(disturbances or {}),
    )


def make_copies(
    env_id: str,
    num_envs: int = 1,
    *,
    threads: int = 0,
    constraints: Sequence[Constraint | Mapping[str, Any]] | None = None,
    limits: Mapping[str, float] | None = None,
    cost_limits: Mapping[str, float] | None = None,
    max_episode_steps: int | None = None,
    dump_dir: str | Path | None = None,
    disturbances: Mapping[str, float] | None = None,
    **kwargs: Any,
) -> Copies:
    """Return copies of a registered task, stepped in one batch, or of any other Gymnasium environment, stepped one by one.

    Args:
        env_id: A registered task, or any id that `gymnasium.make` knows (``package.module:Name-v0`` imports the module).
        num_envs: Number of copies.
        threads: Threads for the physics of a task, 0 for all cores.
        constraints: Constraints or JSON specifications; in place of a task's own.
        limits: New limits by constraint name.
        cost_limits: New cost limits by constraint name.
        max_episode_steps: Steps before truncation, in place of the environment's own.
        dump_dir: Folder for the state of a copy of a task whose physics diverged.
        disturbances: Name to strength, for a task; see `saferl_envs.disturbances`.
        **kwargs: Passed to the task or the environment.

    Raises:
        SaferlError: Something of it is invalid; the message names it.
    """
    changes: dict[str, Any] = {"constraints": constraints, "limits": limits, "cost_limits": cost_limits}
    module, _, name = env_id.rpartition(":")
    if module:
        import_module(module, env_id)
    if name in task_ids():
        engine: Copies = make_engine(
            name, num_envs, threads=threads, max_episode_steps=max_episode_steps, dump_dir=dump_dir,
            disturbances=disturbances, **changes, **kwargs,
        )  # fmt: skip
        return engine
    if disturbances:
        raise TaskError(f"{env_id}: disturbances are for the simulated tasks of this suite, not for other environments")
    return GymnasiumCopies(env_id, num_envs, max_episode_steps=max_episode_steps, **changes, **kwargs)

"""The registry of tasks: a decorator gives a task its environment id, and Gymnasium learns of every id at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium

from saferl_envs.errors import TaskError, choose
from saferl_envs.task import Task


@dataclass(frozen=True)
class TaskEntry:
    """A registered environment: its id, the task behind it, and the task's keyword arguments."""

    env_id: str
    task: Callable[..., Task]
    kwargs: Mapping[str, Any] = field(default_factory=dict)


_ENTRIES: dict[str, TaskEntry] = {}


def register_task(env_id: str, **kwargs: Any) -> Callable[[type[Task]], type[Task]]:
    """Decorate a `Task` class so that `gymnasium.make(env_id)` builds it with the given keyword arguments.

    May be applied several times, e.g. once per level of difficulty.

    Raises:
        TaskError: The id is taken.
    """

    def add(task: type[Task]) -> type[Task]:
        if env_id in _ENTRIES:
            raise TaskError(f"environment id {env_id!r} is registered already")
        _ENTRIES[env_id] = TaskEntry(env_id, task, kwargs)
        gymnasium.register(
            env_id,
            entry_point="saferl_envs.single:TaskEnv",
            vector_entry_point="saferl_envs.vector:TaskVectorEnv",
            max_episode_steps=task.max_episode_steps,
            kwargs={"task_id": env_id},
        )
        return task

    return add


def task_ids() -> tuple[str, ...]:
    """Return every registered environment id, sorted."""
    return tuple(sorted(_ENTRIES))


def make_task(env_id: str, **kwargs: Any) -> Task:
    """Build the task behind an id.

    Raises:
        TaskError: The id is unknown (the valid ones are listed), or a keyword argument is not the task's.
    """
    if env_id not in _ENTRIES:
        raise TaskError(choose("environment", env_id, _ENTRIES))
    entry = _ENTRIES[env_id]
    try:
        return entry.task(**{**entry.kwargs, **kwargs})
    except TypeError as error:
        raise TaskError(f"{env_id}: {error}") from error

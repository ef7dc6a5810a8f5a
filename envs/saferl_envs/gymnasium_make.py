"""Making a Gymnasium environment by its id; whatever is wrong with the id or an argument is said in one line."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium

from saferl_envs.errors import SaferlError, TaskError, choose
from saferl_envs.tasks import task_ids

_SHOWN = 5


def make_env(env_id: str, max_episode_steps: int | None = None, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Return an environment made by `gymnasium.make`.

    Args:
        env_id: A registered id; ``package.module:Name-v0`` imports the module first.
        max_episode_steps: Steps before truncation in place of the environment's own, or None for those.
        **kwargs: Passed on.

    Raises:
        TaskError: No such id or module, an argument is not accepted, or the environment cannot be made.
    """
    if not isinstance(env_id, str):
        raise TaskError(f"environment id must be a string, got {env_id!r}")
    try:
        return gymnasium.make(env_id, max_episode_steps=max_episode_steps, **kwargs)
    except SaferlError:
        raise
    except gymnasium.error.UnregisteredEnv as error:
        raise TaskError(_unknown(env_id)) from error
    except Exception as error:  # an environment's constructor may raise anything
        raise TaskError(f"{env_id} cannot be made: {one_line(error)}") from error


def import_module(name: str, asked_by: str) -> None:
    """Import a module that registers environments.

    Raises:
        TaskError: There is no such module, or it fails.
    """
    try:
        importlib.import_module(name)
    except Exception as error:  # a module may raise anything
        raise TaskError(f"{asked_by}: module {name!r} cannot be imported: {one_line(error)}") from error


@contextmanager
def said_in_one_line(env_id: str, doing: str) -> Iterator[None]:
    """Within it, whatever an environment raises is a `TaskError` in one line; our own errors stay.

    Raises:
        TaskError: In place of any other exception.
    """
    try:
        yield
    except SaferlError:
        raise
    except Exception as error:  # an environment may raise anything
        raise TaskError(f"{env_id} cannot be {doing}: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """Return an error's words on one line, at most 300 characters, after its kind."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}"[:300] if words else type(error).__name__


def _unknown(env_id: str) -> str:
    """Return the words for an id that is not registered: with the few that look like it, of the thousands there may be."""
    name = env_id.rpartition(":")[2]
    ids = tuple(gymnasium.registry)
    close = difflib.get_close_matches(name, ids, n=_SHOWN) or [i for i in task_ids() if i.startswith("saferl/")][:_SHOWN]
    return (
        f"{choose('environment', name, close)}, others that saferl list shows, or any of the {len(ids)} ids in "
        "gymnasium.registry; "
        "package.module:Name-v0 imports the module that registers it"
    )

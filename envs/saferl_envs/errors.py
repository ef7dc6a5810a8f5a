"""The exception tree of the project. Every message names the item, where it came from and what is valid."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SaferlError(Exception):
    """Base of every error a user can cause. The commands print it as one line and exit with code 2."""


class SignalError(SaferlError):
    """A constraint or task asks for a signal, joint, sensor or component that is not on offer."""


class ConstraintError(SaferlError):
    """A constraint or its specification is invalid."""


class TaskError(SaferlError):
    """A task, model or initial state is invalid."""


class MissingPackageError(TaskError):
    """What was asked for needs a package that is not installed."""


class ConfigError(SaferlError):
    """A configuration key or value is invalid, or a named item does not exist."""


class CheckpointError(SaferlError):
    """A run folder or checkpoint is missing, truncated or does not fit."""


class Interrupted(SaferlError):  # noqa: N818 - it is no error
    """The user stopped a long command; the message says what was kept."""


def choose(kind: str, name: object, valid: Iterable[str], source: str = "") -> str:
    """Return the words of an error for `name`, which is not among `valid`.

    Args:
        kind: What the name stands for, e.g. ``"joint"``.
        name: The unknown name.
        valid: All valid names; the closest is suggested and all are listed.
        source: Where the name was read, e.g. ``"constraint 'speed'"``.
    """
    names = sorted(valid)
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    where = f"{source}: " if source else ""
    listed = ", ".join(names) if names else "none"
    return f"{where}unknown {kind} {name!r}{hint}; valid: {listed}"

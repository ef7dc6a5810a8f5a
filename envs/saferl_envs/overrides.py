"""Changing a task's constraints from outside: other limits by name, or another set altogether."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from saferl_envs.constraints import Constraint, constraints_from_specs
from saferl_envs.errors import ConstraintError, choose
from saferl_envs.task import Task


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
    names = [c.name for c in chosen]
    for name in limits or {}:
        if name not in names:
            raise ConstraintError(choose("constraint", name, names, "limits"))
    return tuple(dataclasses.replace(c, limit=limits[c.name]) if limits and c.name in limits else c for c in chosen)

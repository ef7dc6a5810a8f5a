"""Constraints changed from outside: other limits, other cost limits, or another set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from saferl_envs.constraints.base import Constraint
from saferl_envs.constraints.set import constraints_from_specs
from saferl_envs.errors import ConstraintError, choose


def resolve_constraints(
    own: Sequence[Constraint],
    constraints: Sequence[Constraint | Mapping[str, Any]] | None = None,
    limits: Mapping[str, float] | None = None,
    cost_limits: Mapping[str, float] | None = None,
) -> tuple[Constraint, ...]:
    """Return the constraints to enforce.

    Args:
        own: The environment's, which are the default.
        constraints: Constraints or JSON specifications in place of those.
        limits: New limits by constraint name.
        cost_limits: New cost limits by constraint name.

    Raises:
        ConstraintError: A specification is invalid, or a limit names no constraint.
    """
    chosen = tuple(own) if constraints is None else constraints_from_specs(constraints, "constraints")
    for key, field, changes in (("limits", "limit", limits), ("cost_limits", "cost_limit", cost_limits)):
        if not isinstance(changes or {}, Mapping):
            raise ConstraintError(f"{key}: expected a mapping from constraint names to numbers, got {changes!r}")
        names = [c.name for c in chosen]
        for name in changes or {}:
            if name not in names:
                raise ConstraintError(choose("constraint", name, names, key))
        if changes:
            chosen = tuple(_changed(c, field, changes) for c in chosen)
    return chosen


def _changed(constraint: Constraint, field: str, changes: Mapping[str, float]) -> Constraint:
    change: dict[str, Any] = {field: changes[constraint.name]} if constraint.name in changes else {}
    return dataclasses.replace(constraint, **change)

"""The costs that a method learns from, where these are to teach more than the constraint's own cost does.

A constraint says what is measured and limited; nothing here changes that. But an indicator has no slope: it tells a
robot far above a speed limit that it is too fast, not that a little slower is better. The signed values of every
constraint are recorded anyway, so a method may learn from another shape of the same violation, and keep a margin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from saferl_envs.constraints import ConstraintSet, CostShape, cost_of, families
from saferl_envs.errors import ConfigError, choose

Array = np.ndarray[Any, Any]


class LearnedCosts:
    """Per-step costs (T, N, C) of recorded signed values, some in another shape or against a stricter limit.

    Args:
        specs: Specifications of the C constraints.
        shapes: Cost shape by constraint name, in place of the constraint's own.
        margins: By constraint name, how far below its limit the learned cost begins, in the constraint's unit.
        cost_limits: The method's own cost limits by constraint name: a limit on the constraint's cost says nothing
            about a cost of another shape, so those that `shapes` names must be here.
        where: Where these stand, for error messages.

    Raises:
        ConfigError: An unknown constraint or shape, a missing cost limit, or a margin that is not finite or has no meaning.
    """

    def __init__(
        self,
        specs: Sequence[Mapping[str, Any]],
        shapes: Mapping[str, CostShape],
        margins: Mapping[str, float],
        cost_limits: Mapping[str, float],
        where: str = "method",
    ) -> None:
        names = [spec["name"] for spec in specs]
        for key, given in (("cost_shapes", shapes), ("cost_limits", cost_limits)):
            for name in given:
                if name not in names:
                    raise ConfigError(choose("constraint", name, names, f"{where}.{key}"))
        for name, shape in shapes.items():
            if shape not in get_args(CostShape):
                raise ConfigError(choose("cost shape", shape, get_args(CostShape), f"{where}.cost_shapes.{name}"))
            if name not in cost_limits:
                raise ConfigError(
                    f"{where}.cost_shapes.{name}: the constraint's cost limit is not one on its {shape}; "
                    f"give {where}.cost_limits.{name}"
                )
        by_name = dict(zip(names, specs, strict=True))
        require_margins(by_name, margins, where)
        for name in {**shapes, **margins}:
            if name not in cost_limits and by_name[name].get("cost_limit") is None:
                raise ConfigError(f"{where}: constraint {name!r} has no cost limit, so nothing is learned from its cost")
        self._changed = {
            c: (shapes.get(name, spec.get("cost", "indicator")), float(margins.get(name, 0.0)))
            for c, (name, spec) in enumerate(zip(names, specs, strict=True))
            if name in shapes or name in margins
        }

    def __bool__(self) -> bool:
        return bool(self._changed)

    def replace(self, costs: Array, values: Array, constraints: ConstraintSet) -> Array:
        """Return the costs (T, N, C) to learn from, a new array where any differs.

        Args:
            costs: (T, N, C) as measured.
            values: (T, N, K) signed values.
            constraints: They tell which of the K columns belong to which constraint.
        """
        if not self._changed:
            return costs
        worst = constraints.worst(values.reshape(-1, values.shape[-1])).reshape(costs.shape)
        out = costs.copy()
        for c, (shape, margin) in self._changed.items():
            out[..., c] = cost_of(shape, worst[..., c] + margin)
        return out


def require_margins(specs: Mapping[str, Mapping[str, Any]], margins: Mapping[str, float], where: str = "method") -> None:
    """Refuse margins that are of no constraint, or that have no meaning for theirs.

    Args:
        specs: Specifications of the constraints by name.
        margins: By constraint name, how far below its limit learned costs begin.
        where: Where `margins` stands, for error messages.

    Raises:
        ConfigError: An unknown constraint, a number that is not finite, or a quantity that is not graded, does not always
            apply or is not to stay below its limit.
    """
    for name, margin in margins.items():
        if name not in specs:
            raise ConfigError(choose("constraint", name, list(specs), f"{where}.margins"))
        if not math.isfinite(margin):
            raise ConfigError(f"{where}.margins.{name}: must be a finite number, got {margin!r}")
        spec = specs[name]
        if not families()[spec["family"]].graded or spec.get("when") or spec.get("sense", "<=") != "<=":
            raise ConfigError(
                f"{where}.margins.{name}: a margin has a meaning for a graded quantity that always applies and stays below "
                f"its limit, not for this {spec['family']} constraint"
            )

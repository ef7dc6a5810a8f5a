"""A set of constraints evaluated together: the stacked values, costs and violations that every method reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from saferl_envs.constraints.base import Constraint, CostShape, Spec, from_spec
from saferl_envs.errors import ConstraintError
from saferl_envs.signals import BoolArray, FloatArray, SignalInfo, Signals


class Evaluation(NamedTuple):
    """One step of N copies under C constraints with K_total components in all.

    Attributes:
        values: (N, K_total) signed g, ``<= 0`` satisfied, in the order of `ConstraintSet.components`.
        costs: (N, C) per-step cost of each constraint: its cost shape applied to its worst component.
        violated: (N, C) whether any component is above zero.
    """

    values: FloatArray
    costs: FloatArray
    violated: BoolArray


class ConstraintSet(Sequence[Constraint]):
    """Constraints bound to one source of signals.

    Args:
        constraints: At least one, with distinct names.
        offers: What the source offers; checked once, here.

    Raises:
        ConstraintError: The set is empty or a name occurs twice.
        SignalError: A required signal or component is not on offer.

    Attributes:
        requires: Names of all signals that any of the constraints reads.
    """

    def __init__(self, constraints: Sequence[Constraint], offers: Mapping[str, SignalInfo]) -> None:
        if not constraints:
            raise ConstraintError("a constraint set needs at least one constraint")
        names = [c.name for c in constraints]
        for name in names:
            if names.count(name) > 1:
                raise ConstraintError(f"constraint name {name!r} occurs twice; names must be distinct")
        self._constraints = tuple(c.bind(offers) for c in constraints)
        sizes = [len(c.components or ()) for c in self._constraints]
        self._starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)
        self.slices = tuple(slice(int(s), int(s) + k) for s, k in zip(self._starts, sizes, strict=True))
        self.num_components = int(sum(sizes))
        self.names = tuple(names)
        self.components = tuple(f"{c.name}/{k}" for c in self._constraints for k in c.components or ())
        self.limited = np.array([c.cost_limit is not None for c in self._constraints])
        self.requires: frozenset[str] = frozenset().union(*(c.reads for c in self._constraints))
        self._shapes: dict[CostShape, list[int]] = {}
        for i, c in enumerate(self._constraints):
            self._shapes.setdefault(c.cost, []).append(i)

    def evaluate(self, signals: Signals) -> Evaluation:
        """Return values, costs and violations of every copy.

        Args:
            signals: The required signals, each (N, d).
        """
        return self.judge(self.values(signals))

    def values(self, signals: Signals) -> FloatArray:
        """Return the stacked values (N, K_total) of every copy; arguments as for `evaluate`."""
        first = next(iter(signals.values()))
        values = np.empty((first.shape[0], self.num_components))
        for constraint, columns in zip(self._constraints, self.slices, strict=True):
            mine = values[:, columns]
            mine[...] = constraint.value(signals)
            excused = constraint.excused(signals)
            if excused is not None:  # a closed gate leaves margins as they are, and nothing violated
                np.minimum(mine, 0.0, out=mine, where=excused[:, np.newaxis])
        return values

    def worst(self, values: FloatArray) -> FloatArray:
        """Return each constraint's worst component, (N, C), of stacked values (N, K_total)."""
        if self.num_components == len(self):
            return values
        worst: FloatArray = np.maximum.reduceat(values, self._starts, axis=1)
        return worst

    def judge(self, values: FloatArray) -> Evaluation:
        """Return the evaluation that belongs to stacked values (N, K_total)."""
        worst = self.worst(values)
        # not `worst > 0`: what cannot be compared (NaN) is not satisfied
        violated = ~(worst <= 0)
        costs: FloatArray = violated.astype(np.float64)
        for shape, members in self._shapes.items():
            if shape != "indicator":
                costs[:, members] = cost_of(shape, worst[:, members])
        return Evaluation(values, costs, violated)

    def to_specs(self) -> list[Spec]:
        """Return the JSON form of every constraint, components filled in."""
        return [c.to_spec() for c in self._constraints]

    def __len__(self) -> int:
        return len(self._constraints)

    def __getitem__(self, index: Any) -> Any:
        return self._constraints[index]

    def __iter__(self) -> Iterator[Constraint]:
        return iter(self._constraints)


def constraints_from_specs(specs: Sequence[Constraint | Mapping[str, Any]], source: str) -> tuple[Constraint, ...]:
    """Build constraints from their JSON forms; those that are constraints already are kept.

    Args:
        specs: Constraints or specifications.
        source: The file and key they were read from, for error messages.

    Raises:
        ConstraintError: It is not a list, or a specification is invalid.
    """
    if isinstance(specs, (str, Mapping)) or not isinstance(specs, Sequence):
        raise ConstraintError(f"{source}: expected a list of constraints, got {specs!r}")
    return tuple(c if isinstance(c, Constraint) else from_spec(c, f"{source}[{i}]") for i, c in enumerate(specs))


def cost_of(shape: CostShape, worst: FloatArray) -> FloatArray:
    """Return the per-step cost of worst components, same shape; non-negative but for ``signed``."""
    if shape == "signed":
        return worst
    if shape == "indicator":
        return np.asarray(~(worst <= 0), np.float64)
    excess: FloatArray = np.maximum(worst, 0.0)
    if shape == "sqrt":
        return np.asarray(np.sqrt(excess))
    return np.asarray(np.log1p(excess)) if shape == "log1p" else excess

"""A limit on any signal by name, so that any Gymnasium environment can be constrained from a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from saferl_envs.constraints.base import Constraint
from saferl_envs.errors import ConstraintError, choose
from saferl_envs.signals import FloatArray, Signals

Bound = Literal["upper", "lower", "absolute"]


@dataclass(frozen=True, kw_only=True)
class SignalLimit(Constraint):
    """``x_k - limit`` (`bound` upper), ``limit - x_k`` (lower) or ``|x_k| - limit`` (absolute) for each component k.

    Attributes:
        signal: Any signal on offer: ``observation``, ``action``, ``info/<key>``, ...
        bound: Which side of the limit is satisfied.
    """

    family: ClassVar[str] = "signal_limit"
    signal: str
    bound: Bound = "upper"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bound not in get_args(Bound):
            raise ConstraintError(choose("bound", self.bound, get_args(Bound), f"constraint {self.name!r}"))

    @property
    def bounds_from_above(self) -> bool:
        """See `Constraint.bounds_from_above`."""
        return self.bound != "lower"

    @property
    def requires(self) -> frozenset[str]:
        """The signal."""
        return frozenset({self.signal})

    @property
    def component_signals(self) -> tuple[str, ...]:
        """The signal: its columns are the components."""
        return (self.signal,)

    def value(self, signals: Signals) -> FloatArray:
        """Return how far each component is beyond the limit, (N, K)."""
        picked = self.pick(signals, self.signal)
        if self.bound == "lower":
            return self.limit - picked
        return (np.abs(picked) if self.bound == "absolute" else picked) - self.limit

    def gradient(self, signals: Signals) -> Mapping[str, FloatArray]:
        """Return 1, -1 or the sign on the diagonal of the bound columns, (N, K, d)."""
        picked = self.pick(signals, self.signal)
        slopes = np.sign(picked) if self.bound == "absolute" else np.full(picked.shape, -1.0 if self.bound == "lower" else 1.0)
        return {self.signal: self.diagonal(signals, self.signal, slopes)}

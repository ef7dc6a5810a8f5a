"""Gait: how long a foot stays in the air, and how many feet carry the robot (styles of Chane-Sane et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from saferl_envs.constraints.base import Constraint, as_column
from saferl_envs.errors import ConstraintError
from saferl_envs.signals import FloatArray, Signals


@dataclass(frozen=True, kw_only=True)
class AirTime(Constraint):
    """``(limit - swing_time_k) * touchdown_k`` in s: a swing that ends at this step has lasted at least `limit`.

    Reads `swing_time/<group>` (N, G), seconds in the air up to now and not yet zeroed at a touchdown, and
    `touchdown/<group>` (N, G), 1 at the step in which a member lands, else 0. Between touchdowns g is zero.

    Attributes:
        group: The group of bodies, as the task names it; its members are the components.
    """

    family: ClassVar[str] = "air_time"
    graded: ClassVar[bool] = False
    unit: str = "s"
    group: str = "feet"

    @property
    def bounds_from_above(self) -> bool:
        """See `Constraint.bounds_from_above`."""
        return False

    @property
    def requires(self) -> frozenset[str]:
        """Swing times and touchdowns of the group."""
        return frozenset(self.component_signals)

    @property
    def component_signals(self) -> tuple[str, ...]:
        """Swing times, then touchdowns."""
        return (f"swing_time/{self.group}", f"touchdown/{self.group}")

    def value(self, signals: Signals) -> FloatArray:
        """Return how much too short the swing was at a touchdown, else 0, (N, K)."""
        swing_time, touchdown = (self.pick(signals, signal) for signal in self.component_signals)
        return np.asarray((self.limit - swing_time) * touchdown)


@dataclass(frozen=True, kw_only=True)
class FeetInContact(Constraint):
    """``|number of members in contact - count| - limit``, dimensionless, from `contact_force/<group>` (N, G) in N.

    Attributes:
        group: The group of bodies, as the task names it; all members are counted.
        count: How many members should be in contact.
        threshold: Force in N above which a member is in contact.
    """

    family: ClassVar[str] = "feet_in_contact"
    graded: ClassVar[bool] = False
    limit: float = 0.0
    group: str = "feet"
    count: int = 2
    threshold: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_number("threshold", self.threshold)
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 0:
            raise ConstraintError(f"constraint {self.name!r}: count must be a whole number >= 0, got {self.count!r}")

    @property
    def signal(self) -> str:
        """Name of the force signal."""
        return f"contact_force/{self.group}"

    @property
    def requires(self) -> frozenset[str]:
        """The contact forces of the group."""
        return frozenset({self.signal})

    def value(self, signals: Signals) -> FloatArray:
        """Return how many members too many or too few are in contact, minus the limit, (N, 1)."""
        in_contact = np.count_nonzero(signals[self.signal] > self.threshold, axis=1)
        return as_column(np.abs(in_contact - self.count) - self.limit)

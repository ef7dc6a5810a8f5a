"""Safeguard: what stands between a policy's proposed action and the executed one.

A safeguard is not a controller: it corrects, it does not decide what to do. It is pure, and infeasible is never silent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np

from saferl_controllers.projection.sets import project_box
from saferl_envs.errors import ConfigError
from saferl_envs.signals import BoolArray, FloatArray, IntArray, Signals


class Safeguarded(NamedTuple):
    """What a safeguard made of N proposed actions.

    Attributes:
        action: (N, na) to execute.
        feasible: (N,) whether the safeguard's own constraints could be met.
        slack: (N,) by how much they could not, 0 where feasible, in the constraints' unit.
        intervened: (N,) whether the action was changed.
        verified: (N,) whether the accepted action was checked by a true model step.
        rung: (N,) which rung of the safeguard's fallback ladder gave the action, 0 for the first.
    """

    action: FloatArray
    feasible: BoolArray
    slack: FloatArray
    intervened: BoolArray
    verified: BoolArray
    rung: IntArray


TOLD = (
    "action_proposed", "action_executed", "intervened", "safeguard_feasible", "safeguard_slack", "safeguard_verified",
    "safeguard_rung",
)  # fmt: skip
"""Keys of a step's info behind a safeguard."""


def told_by(found: Safeguarded, proposed: FloatArray) -> dict[str, Any]:
    """Return what a step's info says of a correction, by the keys `TOLD`, with a first axis of copies."""
    said = (proposed, found.action, found.intervened, found.feasible, found.slack, found.verified, found.rung)
    return dict(zip(TOLD, said, strict=True))


class Safeguard(ABC):
    """Turns proposed actions into executed ones.

    Attributes:
        requires: Names of the signals that `filter` reads.
        rungs: How many rungs its fallback ladder has.
    """

    requires: frozenset[str] = frozenset()
    rungs: int = 1

    @abstractmethod
    def filter(self, signals: Signals, proposed: FloatArray) -> Safeguarded:
        """Return what to execute in place of the proposed actions (N, na). Modifies nothing."""


def require_width(proposed: FloatArray, low: FloatArray) -> None:
    """Refuse proposals (N, na) that have not as many numbers as bounds (na,).

    Raises:
        ConfigError: They have not.
    """
    if proposed.shape[1:] != low.shape:
        raise ConfigError(f"a safeguard of actions of {low.size} numbers was proposed {proposed.shape[-1]}")


class BoxSafeguard(Safeguard):
    """Clips actions to a box: the closest admissible action, always feasible.

    Args:
        low: (na,) lower bounds.
        high: (na,) upper bounds, nowhere below `low`.

    Raises:
        ConfigError: The bounds cross or are not numbers.
    """

    def __init__(self, low: FloatArray, high: FloatArray) -> None:
        self.low, self.high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        if self.low.shape != self.high.shape or not (self.low <= self.high).all():
            raise ConfigError(f"box safeguard: low {self.low.tolist()} must not be above high {self.high.tolist()}")

    def filter(self, signals: Signals, proposed: FloatArray) -> Safeguarded:
        """Return the clipped actions.

        Raises:
            ConfigError: The proposals' width is not that of the box.
        """
        require_width(proposed, self.low)
        action = project_box(proposed, self.low, self.high)
        n = proposed.shape[0]
        return Safeguarded(
            action,
            np.ones(n, np.bool_),
            np.zeros(n),
            np.asarray((action != proposed).any(axis=1)),
            np.zeros(n, np.bool_),
            np.zeros(n, np.intp),
        )

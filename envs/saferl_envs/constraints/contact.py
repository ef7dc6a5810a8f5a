"""Contact: how hard a group of bodies may push on the world, which may not touch it at all, and which may not stumble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from saferl_envs.constraints.base import Constraint
from saferl_envs.errors import ConstraintError
from saferl_envs.signals import FloatArray, Signals


@dataclass(frozen=True, kw_only=True)
class _GroupForce(Constraint):
    """A limit on `contact_force/<group>` (N, G): the magnitude in N of the net contact force on each member.

    Attributes:
        group: The group of bodies, as the task names it; its members are the components.
        peak: Judge the largest force of the control step's physics steps rather than its last one's.
    """

    unit: str = "N"
    group: str = "feet"
    peak: bool = False

    @property
    def signal(self) -> str:
        """Name of the force signal."""
        return f"{'peak_' if self.peak else ''}contact_force/{self.group}"

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({self.signal})

    @property
    def component_signals(self) -> tuple[str, ...]:
        return (self.signal,)


@dataclass(frozen=True, kw_only=True)
class ContactForce(_GroupForce):
    """``|f_k| - limit`` in N for each member k of the group."""

    family: ClassVar[str] = "contact_force"

    def value(self, signals: Signals) -> FloatArray:
        """Return the force minus the limit, (N, K)."""
        return self.pick(signals, self.signal) - self.limit

    def gradient(self, signals: Signals) -> Mapping[str, FloatArray]:
        """Return 1 on the diagonal of the bound columns, (N, K, G)."""
        return {self.signal: self.diagonal(signals, self.signal, np.ones_like(self.pick(signals, self.signal)))}


@dataclass(frozen=True, kw_only=True)
class ForbiddenContact(_GroupForce):
    """1 where ``|f_k| > limit``, else 0 (satisfied), for each member k that must not touch anything.

    The limit is the force in N from which a touch counts; g itself is a boolean as a number, as in the released code of
    Chane-Sane et al. 2024 (1 N on the base and the upper legs).
    """

    family: ClassVar[str] = "forbidden_contact"
    graded: ClassVar[bool] = False
    limit: float = 1.0

    def value(self, signals: Signals) -> FloatArray:
        """Return 1.0 where a member touches, else 0.0, (N, K)."""
        return (self.pick(signals, self.signal) > self.limit).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class Stumble(Constraint):
    """``f_horizontal - ratio |f_vertical| - limit`` in N for each member of a group: it kicks what stands in its way.

    Chane-Sane et al. 2024 (released code, where it is computed but not used) and SoloParkour (arXiv 2409.13678), ratio 4.
    Reads `horizontal_contact_force/<group>` and `vertical_contact_force/<group>`, (N, G) each.

    Attributes:
        group: The group of bodies, as the task names it; its members are the components.
        ratio: How much larger the horizontal force may be than the vertical one.
    """

    family: ClassVar[str] = "stumble"
    limit: float = 0.0
    unit: str = "N"
    group: str = "feet"
    ratio: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_number("ratio", self.ratio)
        if self.ratio < 0:
            raise ConstraintError(f"constraint {self.name!r}: ratio must not be negative, got {self.ratio}")

    @property
    def requires(self) -> frozenset[str]:
        """Both parts of the force."""
        return frozenset(self.component_signals)

    @property
    def component_signals(self) -> tuple[str, ...]:
        """Horizontal, then vertical forces."""
        return (f"horizontal_contact_force/{self.group}", f"vertical_contact_force/{self.group}")

    def value(self, signals: Signals) -> FloatArray:
        """Return how far the horizontal force is above its bound, (N, K)."""
        horizontal, vertical = (self.pick(signals, signal) for signal in self.component_signals)
        return np.asarray(horizontal - self.ratio * np.abs(vertical) - self.limit)

    def gradient(self, signals: Signals) -> Mapping[str, FloatArray]:
        """Return the slopes with respect to both forces, (N, K, G) each."""
        horizontal, vertical = self.component_signals
        force = self.pick(signals, vertical)
        return {
            horizontal: self.diagonal(signals, horizontal, np.ones_like(force)),
            vertical: self.diagonal(signals, vertical, -self.ratio * np.sign(force)),
        }

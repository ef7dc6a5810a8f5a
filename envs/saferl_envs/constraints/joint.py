"""Joint-space limits: position, velocity, acceleration, torque, and the rate at which the action changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from saferl_envs.constraints.base import Constraint
from saferl_envs.errors import ConstraintError
from saferl_envs.signals import FloatArray, Signals


@dataclass(frozen=True, kw_only=True)
class _AbsoluteLimit(Constraint):
    """``|signal_k| - limit`` for each component k of one signal."""

    signal: ClassVar[str]

    @property
    def requires(self) -> frozenset[str]:
        """Names of the signals read."""
        return frozenset({self.signal})

    @property
    def component_signals(self) -> tuple[str, ...]:
        """The signals whose columns are the components."""
        return (self.signal,)

    def value(self, signals: Signals) -> FloatArray:
        """Return ``|signal| - limit``, (N, K)."""
        magnitude: FloatArray = np.abs(self.pick(signals, self.signal))
        magnitude -= self.limit
        return magnitude

    def gradient(self, signals: Signals) -> Mapping[str, FloatArray]:
        """Return sign(signal) on the diagonal of the bound columns, (N, K, d)."""
        return {self.signal: self.diagonal(signals, self.signal, np.sign(self.pick(signals, self.signal)))}


@dataclass(frozen=True, kw_only=True)
class JointPosition(_AbsoluteLimit):
    """``|q_k - reference| - limit`` in rad (hinge) or m (slide). A range [lo, hi] is `between(lo, hi)`.

    Attributes:
        reference: Of every component, or one number each.
    """

    family: ClassVar[str] = "joint_position"
    signal: ClassVar[str] = "joint_position"
    unit: str = "rad"
    reference: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.reference, list):
            object.__setattr__(self, "reference", tuple(self.reference))
        if not isinstance(self.reference, tuple):
            self._require_number("reference", self.reference)
            return
        for number in self.reference:
            self._require_number("reference", number)
        if self.components is None or len(self.reference) != len(self.components):
            raise ConstraintError(f"constraint {self.name!r}: several references need as many named components")

    @classmethod
    def between(cls, lower: float, upper: float, **fields: Any) -> Self:
        """Return the constraint ``lower <= q_k <= upper``; its g is the distance to the nearer bound.

        Raises:
            ConstraintError: `lower` is not below `upper`.
        """
        if not lower < upper:
            raise ConstraintError(f"constraint {fields.get('name')!r}: lower {lower} must be below upper {upper}")
        return cls(limit=(upper - lower) / 2, reference=(upper + lower) / 2, **fields)

    def value(self, signals: Signals) -> FloatArray:
        """Return ``|q - reference| - limit``, (N, K)."""
        offset: FloatArray = np.abs(self.pick(signals, self.signal) - self.reference)
        offset -= self.limit
        return offset

    def gradient(self, signals: Signals) -> Mapping[str, FloatArray]:
        """Return sign(q - reference) on the diagonal, (N, K, d)."""
        return {self.signal: self.diagonal(signals, self.signal, np.sign(self.pick(signals, self.signal) - self.reference))}


@dataclass(frozen=True, kw_only=True)
class JointVelocity(_AbsoluteLimit):
    """``|qd_k| - limit`` in rad/s (hinge) or m/s (slide)."""

    family: ClassVar[str] = "joint_velocity"
    signal: ClassVar[str] = "joint_velocity"
    unit: str = "rad/s"


@dataclass(frozen=True, kw_only=True)
class JointAcceleration(_AbsoluteLimit):
    """``|qd_t - qd_(t-1)| / dt - limit`` over one control step dt, in rad/s^2 (Chane-Sane et al. 2024, released code)."""

    family: ClassVar[str] = "joint_acceleration"
    signal: ClassVar[str] = "joint_acceleration"
    unit: str = "rad/s^2"


@dataclass(frozen=True, kw_only=True)
class JointTorque(_AbsoluteLimit):
    """``|tau_k| - limit``: what the actuators apply at the joint, in Nm (hinge) or N (slide).

    Vacuous where the actuator saturates below the limit.
    """

    family: ClassVar[str] = "joint_torque"
    signal: ClassVar[str] = "joint_torque"
    unit: str = "Nm"


@dataclass(frozen=True, kw_only=True)
class ActionRate(_AbsoluteLimit):
    """``|a_t - a_(t-1)| / timestep - limit`` for each action; the action before an episode's first is zero.

    Attributes:
        timestep: Seconds per control step, so that the rate is per second; 1 gives the change per step.
    """

    family: ClassVar[str] = "action_rate"
    signal: ClassVar[str] = "action"
    unit: str = "1/step"
    timestep: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_number("timestep", self.timestep)
        if self.timestep <= 0:
            raise ConstraintError(f"constraint {self.name!r}: timestep must be positive, got {self.timestep}")

    @property
    def requires(self) -> frozenset[str]:
        """Names of the signals read."""
        return frozenset({"action", "previous_action"})

    @property
    def component_signals(self) -> tuple[str, ...]:
        """The signals whose columns are the components."""
        return ("action", "previous_action")

    def value(self, signals: Signals) -> FloatArray:
        """Return ``|a_t - a_(t-1)| / timestep - limit``, (N, K)."""
        change: FloatArray = np.abs(self.pick(signals, "action") - self.pick(signals, "previous_action"))
        if self.timestep != 1.0:
            change /= self.timestep
        change -= self.limit
        return change

    def gradient(self, signals: Signals) -> Mapping[str, FloatArray]:
        """Return the slopes with respect to `action` and `previous_action`, (N, K, d) each."""
        change = self.pick(signals, "action") - self.pick(signals, "previous_action")
        slope = self.diagonal(signals, "action", np.sign(change) / self.timestep)
        return {"action": slope, "previous_action": -slope}

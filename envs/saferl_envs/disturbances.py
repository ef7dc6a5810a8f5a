"""Disturbances for judging a policy: pushes, slippery ground, other masses, a payload, weak motors, a late controller.

They work on every simulated task, beside what the task randomises itself, and are for evaluation: training goes on
without. One class each; a new one is registered by being defined.
"""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Mapping
from typing import ClassVar

import mujoco
import numpy as np

from saferl_envs.base_pose import is_free
from saferl_envs.errors import TaskError, choose
from saferl_envs.noise import Noise
from saferl_envs.signals import FloatArray, IntArray

_KINDS: dict[str, type[Disturbance]] = {}


class Disturbance(ABC):
    """One disturbance at one strength.

    Args:
        strength: In `unit`.

    Attributes:
        name: What it is called on the command line.
        unit: Unit of the strength.
        neutral: Strength at which nothing is disturbed.
        usual: Strengths of the standard grid.
        touches: Model fields that it reads and changes.
    """

    name: ClassVar[str] = ""
    unit: ClassVar[str]
    neutral: ClassVar[float]
    usual: ClassVar[tuple[float, ...]]
    touches: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.name:
            _KINDS.setdefault(cls.name, cls)

    def __init__(self, strength: float) -> None:
        if isinstance(strength, bool) or not isinstance(strength, (int, float)) or not math.isfinite(strength) or strength < 0:
            raise TaskError(f"disturbance {self.name!r}: the strength must be a number >= 0 ({self.unit}), got {strength!r}")
        self.strength = float(strength)

    def require(self, model: mujoco.MjModel, base_body: str | None) -> None:  # noqa: B027 - most fit every model
        """Refuse a model that cannot be disturbed so.

        Raises:
            TaskError: It lacks what the disturbance acts on.
        """

    def fields(self, model: mujoco.MjModel, base_body: str | None, present: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Return changed model fields (n, ...), given those that hold without the disturbance (n, ...)."""
        return {}

    def push(self, noise: Noise, steps: IntArray, timestep: float, qvel: FloatArray) -> None:  # noqa: B027 - most do not
        """Change velocities (n, nv) in place before a control step.

        Args:
            noise: Of the n copies.
            steps: (n,) control steps since each episode began.
            timestep: Seconds per control step.
            qvel: Velocities.
        """

    @property
    def delay(self) -> float:
        """Seconds by which controls come late."""
        return 0.0


class Push(Disturbance):
    """Once a second the floating base's horizontal velocity jumps by so much, in a random direction."""

    name, unit, neutral, usual = "push", "m/s", 0.0, (0.25, 0.5, 1.0)
    period: ClassVar[float] = 1.0

    def require(self, model: mujoco.MjModel, base_body: str | None) -> None:
        """See `Disturbance.require`."""
        if base_body is None or not is_free(model, base_body):
            raise TaskError("disturbance 'push' needs a robot with a floating base (base_body with a free joint)")
        self._first = int(model.jnt_dofadr[model.body_jntadr[model.body(base_body).id]])

    def push(self, noise: Noise, steps: IntArray, timestep: float, qvel: FloatArray) -> None:
        """See `Disturbance.push`."""
        every = max(1, round(self.period / timestep))
        due = (steps % every == every - 1)[:, np.newaxis]
        angle = noise.uniform("disturbance_push", 1, 0.0, 2.0 * np.pi)
        qvel[:, self._first : self._first + 2] += np.where(
            due, self.strength * np.concatenate((np.cos(angle), np.sin(angle)), axis=1), 0.0
        )


class Friction(Disturbance):
    """The friction of every geom is multiplied."""

    name, unit, neutral, usual = "friction", "x", 1.0, (0.4, 0.7, 1.5)
    touches = ("geom_friction",)

    def fields(self, model: mujoco.MjModel, base_body: str | None, present: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """See `Disturbance.fields`."""
        return {"geom_friction": present["geom_friction"] * self.strength}


class Mass(Disturbance):
    """Every body is that many times as heavy, its mass spread as before."""

    name, unit, neutral, usual = "mass", "x", 1.0, (0.8, 0.9, 1.1, 1.2)
    touches = ("body_mass", "body_inertia")

    def __init__(self, strength: float) -> None:
        super().__init__(strength)
        if not self.strength:
            raise TaskError("disturbance 'mass': bodies without mass cannot be simulated; the strength must be above 0")

    def fields(self, model: mujoco.MjModel, base_body: str | None, present: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """See `Disturbance.fields`."""
        return {name: present[name] * self.strength for name in self.touches}


class Payload(Disturbance):
    """The base carries so much of the robot's mass in addition, spread as its own mass is."""

    name, unit, neutral, usual = "payload", "of its mass", 0.0, (0.1, 0.2, 0.4)
    touches = ("body_mass", "body_inertia")

    def require(self, model: mujoco.MjModel, base_body: str | None) -> None:
        """See `Disturbance.require`."""
        if base_body is None:
            raise TaskError("disturbance 'payload' needs a robot with a base (base_body)")

    def fields(self, model: mujoco.MjModel, base_body: str | None, present: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """See `Disturbance.fields`."""
        base = model.body(base_body).id
        mass, inertia = present["body_mass"].copy(), present["body_inertia"].copy()
        factor = 1.0 + self.strength * mass.sum(axis=1) / mass[:, base]
        mass[:, base] *= factor
        inertia[:, base] *= factor[:, np.newaxis]
        return {"body_mass": mass, "body_inertia": inertia}


class MotorStrength(Disturbance):
    """Every actuator gives that part of its force."""

    name, unit, neutral, usual = "motor_strength", "x", 1.0, (0.9, 0.8, 0.7)
    touches = ("actuator_gainprm", "actuator_biasprm", "actuator_forcerange")

    def fields(self, model: mujoco.MjModel, base_body: str | None, present: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """See `Disturbance.fields`."""
        return {name: present[name] * self.strength for name in self.touches}


class Latency(Disturbance):
    """Controls reach the motors late, by a whole number of physics steps."""

    name, unit, neutral, usual = "latency", "s", 0.0, (0.005, 0.01, 0.02)

    @property
    def delay(self) -> float:
        """See `Disturbance.delay`."""
        return self.strength


def kinds() -> Mapping[str, type[Disturbance]]:
    """Return every kind of disturbance by name."""
    return dict(_KINDS)


def disturbances_from(strengths: Mapping[str, float]) -> tuple[Disturbance, ...]:
    """Return disturbances of a mapping from their names to strengths.

    Raises:
        TaskError: A name is unknown or a strength invalid.
    """
    found = []
    for name, strength in strengths.items():
        if name not in _KINDS:
            raise TaskError(choose("disturbance", name, _KINDS, "disturbances"))
        found.append(_KINDS[name](strength))
    return tuple(found)


class Disturbed:
    """The disturbances of one engine, applied together.

    Args:
        disturbances: At most one of a kind.
        model: The task's.
        base_body: The task's.
        num: Number of copies.
        timestep: Seconds per control step.

    Raises:
        TaskError: One of them does not fit the model, or its delay is no whole number of physics steps.
    """

    def __init__(
        self, disturbances: tuple[Disturbance, ...], model: mujoco.MjModel, base_body: str | None, num: int, timestep: float
    ) -> None:
        self._all, self._model, self._base, self._timestep = disturbances, model, base_body, timestep
        for disturbance in disturbances:
            disturbance.require(model, base_body)
        steps = sum(disturbance.delay for disturbance in disturbances) / model.opt.timestep
        if abs(steps - round(steps)) > 1e-6:
            raise TaskError(f"disturbance 'latency': must be a multiple of the physics step of {model.opt.timestep:g} s")
        # the control of q steps ago, and for the first `late` physics steps the one before it
        self._whole, self.late = divmod(round(steps), round(timestep / model.opt.timestep))
        self._waiting = np.zeros((self._whole + 2, num, model.nu))

    def __bool__(self) -> bool:
        return bool(self._all)

    def fields(self, fields: Mapping[str, FloatArray], num: int) -> dict[str, FloatArray]:
        """Return the model fields of `num` copies, given those that the task randomises."""
        changed = dict(fields)
        for disturbance in self._all:
            present = {
                name: changed.get(name, np.repeat(getattr(self._model, name)[np.newaxis], num, axis=0))
                for name in disturbance.touches
            }
            changed |= disturbance.fields(self._model, self._base, present)
        return changed

    def push(self, noise: Noise, steps: IntArray, qvel: FloatArray) -> None:
        """Change velocities (n, nv) in place."""
        for disturbance in self._all:
            disturbance.push(noise, steps, self._timestep, qvel)

    def begin(self, ids: IntArray, ctrl: FloatArray) -> None:
        """At the start of an episode, let the controls (n, nu) be those that are on their way."""
        self._waiting[:, ids] = ctrl

    def controls(self, ctrl: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the controls (N, nu) that reach the motors after the first `late` physics steps, and until then."""
        self._waiting = np.concatenate((ctrl[np.newaxis], self._waiting[:-1]))
        return self._waiting[self._whole], self._waiting[self._whole + 1]

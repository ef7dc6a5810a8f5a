"""Backup controllers: simple feedback that brings a robot to rest, behind which a safeguard may look ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from saferl_envs.engine import Engine
from saferl_envs.errors import ConfigError
from saferl_envs.noise import Noise
from saferl_envs.signals import BoolArray, FloatArray, IntArray
from saferl_envs.simulation import Simulation

_STEP = 1e-5
"""Of the central differences, in the unit of each coordinate."""
_ENDLESS = 1e100
"""A value beyond which Riccati's equation is taken to have no solution."""


class Backup(Protocol):
    """What a robot does when nothing better is known to be safe."""

    def __call__(self, copies: Engine) -> FloatArray:
        """Return actions (M, na) for the present state of M copies."""
        ...


class LinearBackup:
    """``action = rest - gain (state - target)``, clipped to the action's bounds.

    Args:
        gain: (na, 2 nq) on positions and velocities.
        target: (2 nq,) positions and velocities to come to.
        rest: (na,) the action that keeps the robot there.
        low: (na,) bounds of actions.
        high: (na,) bounds of actions.
    """

    def __init__(self, gain: FloatArray, target: FloatArray, rest: FloatArray, low: FloatArray, high: FloatArray) -> None:
        self.gain, self.target, self.rest, self.low, self.high = gain, target, rest, low, high

    def __call__(self, copies: Engine) -> FloatArray:
        """Return actions (M, na) for the present positions and velocities."""
        error = np.concatenate((copies.simulation.qpos, copies.simulation.qvel), axis=1) - self.target
        actions: FloatArray = np.clip(self.rest - np.einsum("ai,mi->ma", self.gain, error), self.low, self.high)
        return actions


class ReturningBackup:
    """For robots driven by the speed of joints: each of these goes back to where it rests, in proportion to how far it is.

    Args:
        columns: (na,) which coordinate each action drives.
        speeds: (na,) its speed under an action of 1.
        target: (na,) where it rests.
        gain: 1/s.
        low: (na,) bounds of actions.
        high: (na,) bounds of actions.
    """

    def __init__(
        self, columns: IntArray, speeds: FloatArray, target: FloatArray, gain: float, low: FloatArray, high: FloatArray
    ) -> None:
        self.columns, self.speeds, self.target, self.gain = columns, speeds, target, gain
        self.low, self.high = low, high

    def __call__(self, copies: Engine) -> FloatArray:
        """Return actions (M, na) for the present positions."""
        away = copies.simulation.qpos[:, self.columns] - self.target
        actions: FloatArray = np.clip(-self.gain * away / self.speeds, self.low, self.high)
        return actions


class Hold:
    """One action for all: robots driven to positions come to rest in a pose, others are let go.

    Args:
        action: (na,).
    """

    def __init__(self, action: FloatArray) -> None:
        self.action = action

    def __call__(self, copies: Engine) -> FloatArray:
        """Return actions (M, na)."""
        return np.tile(self.action, (copies.num_envs, 1))


class Brake:
    """What the task itself does to bring its robot to a stop, where it is.

    Args:
        engine: Whose task.

    Raises:
        ConfigError: The task knows no way to.
    """

    def __init__(self, engine: Engine) -> None:
        simulation = engine.simulation
        if engine.task.brake(simulation.qpos[:1], simulation.qvel[:1]) is None:
            raise ConfigError(f"backup braking: {type(engine.task).__name__} does not say how its robot brakes")

    def __call__(self, copies: Engine) -> FloatArray:
        """Return actions (M, na) for the present state."""
        actions: Any = copies.task.brake(copies.simulation.qpos, copies.simulation.qvel)
        stopped: FloatArray = actions
        return stopped

    def at_rest(self, copies: Engine) -> BoolArray:
        """Return (M,) whether it has brought the copies to rest."""
        found: Any = copies.task.at_rest(copies.simulation.qpos, copies.simulation.qvel)
        return np.zeros(copies.num_envs, np.bool_) if found is None else np.asarray(found)


def linearized(engine: Engine, qpos: FloatArray, qvel: FloatArray, action: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return A (2 nv, 2 nv) and B (2 nv, na) of one control step, by central differences in a simulation of its own.

    Args:
        engine: Whose task and model; the model's coordinates must be those of its velocities (hinges and slides).
        qpos: (nq,) where to linearise.
        qvel: (nv,).
        action: (na,).

    Raises:
        ConfigError: The model has a free or a ball joint.
    """
    _require_plain(engine)
    inputs, size = np.concatenate((qpos, qvel, action)), len(qpos) + len(qvel)
    moved = np.concatenate([inputs + sign * _STEP * np.eye(len(inputs)) for sign in (1.0, -1.0)])
    after = _after(engine, moved)
    slopes = (after[: len(inputs)] - after[len(inputs) :]).T / (2.0 * _STEP)
    return slopes[:, :size], slopes[:, size:]


def regulator(
    a: FloatArray, b: FloatArray, state_cost: FloatArray, action_cost: FloatArray, tolerance: float = 1e-10, most: int = 100_000
) -> FloatArray:
    """Return the gain (na, ns) of the linear-quadratic regulator for ``x' = a x + b u``, by iterating Riccati's equation.

    Args:
        a: (ns, ns).
        b: (ns, na).
        state_cost: (ns,) the diagonal of Q.
        action_cost: (na,) the diagonal of R.
        tolerance: Relative change of the value at which it ends.
        most: Iterations at most.

    Raises:
        ConfigError: It does not settle: the robot cannot be held by linear feedback.
    """
    q, r = np.diag(state_cost), np.diag(action_cost)
    value = q.copy()
    for _ in range(most):
        gain: FloatArray = np.linalg.solve(r + b.T @ value @ b, b.T @ value @ a)
        following = q + a.T @ value @ (a - b @ gain)
        change = np.abs(following - value).max()
        value = 0.5 * (following + following.T)
        if change <= tolerance * np.abs(value).max():
            return gain
        if np.abs(value).max() > _ENDLESS:
            break
    raise ConfigError("the linear-quadratic regulator does not settle; the robot cannot be held there by linear feedback")


def resting_action(engine: Engine, qpos: FloatArray) -> FloatArray:
    """Return the action (na,) that comes closest to holding a robot still at positions (nq,), gravity among what it holds."""
    nv = engine.simulation.model.nv
    low, high = (np.asarray(bound, np.float64) for bound in engine.task.action_bounds(engine.simulation.model))
    middle = np.where(np.isfinite(high - low), 0.5 * (low + high), 0.0)
    after = _after(engine, np.concatenate((qpos, np.zeros(nv), middle))[np.newaxis])[0, len(qpos) :]
    _, b = linearized(engine, qpos, np.zeros(nv), middle)
    action: FloatArray = np.clip(middle - np.linalg.lstsq(b[len(qpos) :], after, rcond=None)[0], low, high)
    return action


def linear_backup(
    engine: Engine,
    qpos: Sequence[float] | FloatArray | None = None,
    action: FloatArray | None = None,
    *,
    position_cost: float = 1.0,
    velocity_cost: float = 0.1,
    action_cost: float = 0.1,
) -> LinearBackup:
    """Return the regulator that brings a robot to rest.

    Args:
        engine: Whose task and model.
        qpos: (nq,) where it rests; None for the task's `rest`, or the model's own positions.
        action: (na,) what holds it there; None to find it.
        position_cost: Of every coordinate, per square of its unit.
        velocity_cost: Of every velocity.
        action_cost: Of every action, in half ranges.

    Raises:
        ConfigError: `qpos` has another length; or see `linearized` and `regulator`.
    """
    model = engine.simulation.model
    rest, still = _positions(engine, qpos), np.zeros(model.nv)
    low, high = (np.asarray(bound, np.float64) for bound in engine.task.action_bounds(model))
    hold = resting_action(engine, rest) if action is None else np.asarray(action, np.float64)
    a, b = linearized(engine, rest, still, hold)
    costs = np.concatenate((np.full(len(rest), position_cost), np.full(len(still), velocity_cost)))
    scale = np.where(np.isfinite(high - low), 0.5 * (high - low), 1.0)
    gain = regulator(a, b, costs, action_cost / scale**2)
    return LinearBackup(gain, np.concatenate((rest, still)), hold, low, high)


def returning_backup(engine: Engine, qpos: Sequence[float] | FloatArray | None = None, *, gain: float = 4.0) -> ReturningBackup:
    """Return what brings the joints that actions drive back to rest; what else moves is left alone.

    Args:
        engine: Whose task and model.
        qpos: (nq,) where they rest; None for the task's `rest`, or the model's own positions.
        gain: 1/s.

    Raises:
        ConfigError: `qpos` has another length, or the model has a free or a ball joint.
    """
    rest = _positions(engine, qpos)
    low, high = (np.asarray(bound, np.float64) for bound in engine.task.action_bounds(engine.simulation.model))
    _, b = linearized(engine, rest, np.zeros(len(rest)), np.clip(np.zeros(len(low)), low, high))
    pushed = b[len(rest) :]
    columns = np.abs(pushed).argmax(axis=0)
    if not pushed[columns, np.arange(len(low))].all():
        raise ConfigError("backup returning: an action moves no joint; it is for robots driven by the speed of joints")
    return ReturningBackup(columns, pushed[columns, np.arange(len(low))], rest[columns], gain, low, high)


def holding_backup(engine: Engine, action: Sequence[float] | FloatArray | None = None) -> Hold:
    """Return what holds one action; it works for every robot, free ones too.

    Args:
        engine: Whose task and model.
        action: (na,), or None for the middle of its range.

    Raises:
        ConfigError: The action has another length, is outside its bounds, or there is no middle.
    """
    low, high = (np.asarray(bound, np.float64) for bound in engine.task.action_bounds(engine.simulation.model))
    held = 0.5 * (low + high) if action is None else np.asarray(action, np.float64)
    if held.shape != low.shape or not ((low <= held) & (held <= high) & np.isfinite(held)).all():
        raise ConfigError(
            f"backup holding: action {held.tolist()} must be {len(low)} numbers from {low.tolist()} to {high.tolist()}"
        )
    return Hold(held)


def _positions(engine: Engine, qpos: Sequence[float] | FloatArray | None) -> FloatArray:
    _require_plain(engine)
    model, asked = engine.simulation.model, engine.task.rest if qpos is None else qpos
    rest = np.array(model.qpos0 if asked is None else asked, np.float64)
    if rest.shape != (model.nq,):
        names = ", ".join(model.joint(j).name for j in range(model.njnt))
        raise ConfigError(f"backup: rest has {rest.size} positions, the model has {model.nq}: {names}")
    outside = model.jnt_limited.astype(bool) & ((rest < model.jnt_range[:, 0]) | (rest > model.jnt_range[:, 1]))
    if outside.any():
        joint = int(outside.argmax())
        low, high = model.jnt_range[joint]
        raise ConfigError(f"backup: rest {rest[joint]:g} of {model.joint(joint).name} is outside its range [{low:g}, {high:g}]")
    return rest


def _require_plain(engine: Engine) -> None:
    if engine.simulation.model.nq != engine.simulation.model.nv:
        raise ConfigError(
            "a linear backup needs a model of hinges and slides; this one has a free or ball joint (backup holding takes any)"
        )


def _after(engine: Engine, inputs: FloatArray) -> FloatArray:
    """Return positions and velocities (M, 2 nv) one control step after inputs (M, 2 nv + na)."""
    model = engine.simulation.model
    trial = Simulation(model, len(inputs), engine.simulation.substeps, threads=1)
    trial.set_state(np.arange(len(inputs)), inputs[:, : model.nq], inputs[:, model.nq : model.nq + model.nv])
    zeros = np.zeros(len(inputs), np.uint64)
    memory = engine.task.initial_memory(Noise(zeros, zeros, zeros))
    trial.ctrl[:] = engine.task.control(inputs[:, model.nq + model.nv :], memory)
    trial.step()
    return np.concatenate((trial.qpos, trial.qvel), axis=1)

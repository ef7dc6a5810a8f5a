"""Backup controllers: simple feedback that brings a robot to rest, behind which a safeguard may look ahead."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from saferl_envs.engine import Engine
from saferl_envs.errors import ConfigError
from saferl_envs.noise import Noise
from saferl_envs.signals import FloatArray
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
    model = engine.simulation.model
    if model.nq != model.nv:
        raise ConfigError("a linear backup needs a model of hinges and slides; this one has a free or ball joint")
    state, size = np.concatenate((qpos, qvel)), model.nq + model.nv
    inputs = np.concatenate((state, action))
    moved = np.concatenate([inputs + sign * _STEP * np.eye(len(inputs)) for sign in (1.0, -1.0)])
    trial = Simulation(model, len(moved), engine.simulation.substeps)
    trial.set_state(np.arange(len(moved)), moved[:, : model.nq], moved[:, model.nq : size])
    zeros = np.zeros(len(moved), np.uint64)
    memory = engine.task.initial_memory(Noise(zeros, zeros, zeros))
    trial.ctrl[:] = engine.task.control(moved[:, size:], memory)
    trial.step()
    after = np.concatenate((trial.qpos, trial.qvel), axis=1)
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


def linear_backup(
    engine: Engine,
    qpos: FloatArray,
    action: FloatArray,
    position_cost: float = 1.0,
    velocity_cost: float = 0.1,
    action_cost: float = 0.1,
) -> LinearBackup:
    """Return the regulator that brings a robot to rest at `qpos` (nq,), where `action` (na,) holds it.

    Raises:
        ConfigError: See `linearized` and `regulator`.
    """
    rest, still = np.asarray(qpos, np.float64), np.zeros(engine.simulation.model.nv)
    low, high = (np.asarray(bound, np.float64) for bound in engine.task.action_bounds(engine.simulation.model))
    a, b = linearized(engine, rest, still, np.asarray(action, np.float64))
    costs = np.concatenate((np.full(len(rest), position_cost), np.full(len(still), velocity_cost)))
    scale = np.where(np.isfinite(high - low), 0.5 * (high - low), 1.0)
    gain = regulator(a, b, costs, action_cost / scale**2)
    return LinearBackup(gain, np.concatenate((rest, still)), np.asarray(action, np.float64), low, high)

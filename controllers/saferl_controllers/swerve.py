"""Swerving: what a robot does instead of an action that would take it, held for some steps, where it must not go.

A barrier condition alone stops a robot before an obstacle, since the closest action that keeps it is to stop, and a policy that
goes for its goal then stays there. Here the task's own way out (`Task.swerves`: for robots on the floor, as sharp a turn as
there is to either side) takes the action's place early enough to go round. Ours; the outcome is checked as any proposal is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from saferl_controllers.look_ahead import LookAhead
from saferl_envs.errors import ConfigError
from saferl_envs.signals import BoolArray, FloatArray

_DRIFT = 1e-3
"""Of a margin, in its unit: what a robot may lose while an action only begins to lead it away."""


class Swerve:
    """Replaces actions that cannot be held.

    The side is the one with more room, whatever was proposed: a policy that turns to and fro would else be let to and fro.

    Args:
        ahead: Looks ahead for the copies.
        steps: How long actions must be safe to hold.
        spared: How much of the margin may be used up meanwhile; no action is blocked that only leads out of it.

    Raises:
        ConfigError: The task knows no way out.
    """

    def __init__(self, ahead: LookAhead, steps: int, spared: float = 0.0) -> None:
        self.ahead, self.steps, self.spared = ahead, steps, spared
        self._swerves: Any = ahead.engine.task.swerves
        low, _ = ahead.engine.task.action_bounds(ahead.engine.simulation.model)
        if self._swerves(np.zeros((1, len(low)))) is None:
            task = type(ahead.engine.task).__name__
            raise ConfigError(f"barrier safeguard: swerve needs a robot that can turn away, and {task} does not say how")

    def __call__(self, wanted: FloatArray, now: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Return actions (N, na) in place of the wanted ones, and (N,) which were changed, for present margins (N, K)."""
        least = np.minimum(now.min(axis=1), -self.spared) - _DRIFT
        blocked = self.ahead.held(np.arange(len(wanted)), wanted[:, np.newaxis], self.steps)[:, 0] < least
        ids = np.flatnonzero(blocked)
        if not ids.size:
            return wanted, blocked
        ways: FloatArray = self._swerves(wanted)
        best = self.ahead.held(ids, ways, self.steps)[ids].argmax(axis=1)
        actions = wanted.copy()
        actions[ids] = ways[ids, best]
        return actions, np.asarray((actions != wanted).any(axis=1))

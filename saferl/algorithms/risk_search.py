"""The search for an action whose risk, as a critic sees it, meets a limit: a ladder of rungs, for many actions at once.

0. The proposal, where it meets the limit as it is.
1. Its exact projection onto the half-space that the critic's slope gives, in the action box; or USL's loop of gradient steps.
2. Where the critic bends, projections of what was found last, by the slope there: Newton's steps. A step that does not help is
   halved, and halved again.
3. The closest of some samples, and of the corner of the box that the slope points to, that meets it.
4. None was found: the least risk, where it is worth while, of projections and samples.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from saferl.algorithms.learned_safeguard import TOUCHING
from saferl_controllers.projection.half_space import project_half_space_in_box
from saferl_controllers.safeguard import Safeguarded

Array = np.ndarray[Any, Any]
RUNGS = 5
GRADIENT_STEP, GRADIENT_STEPS = 0.05, 20
"""Of the loop that unrolls gradient steps (SafeRL-Kit's USL)."""


class Risk(Protocol):
    """A critic of actions, scaled to [-1, 1], in states that are numbered."""

    def __call__(self, ids: Array, actions: Array) -> tuple[Array, Array]:
        """Return the risk (K,) of actions (K, na) in the states `ids` (K,), and its slope (K, na)."""
        ...

    def alone(self, ids: Array, actions: Array) -> Array:
        """Return the risk only."""
        ...


class RiskSearch:
    """What is known of N actions by now.

    Args:
        risk: The critic.
        wanted: (N, na) the proposals, scaled to [-1, 1].
        limit: (N,) what their risk may be.
        tolerance: The share of it for which moving an action is worth while; see `project`.

    Attributes:
        action: (N, na) the actions of least risk by now.
        excess: (N,) of their risk over the limit.
        rung: (N,) of the ladder by which they were found.
    """

    def __init__(self, risk: Risk, wanted: Array, limit: Array, tolerance: float) -> None:
        self._risk, self._wanted, self._limit, self._tolerance = risk, wanted, limit, tolerance
        found, self._slope = risk(np.arange(len(wanted)), wanted)
        self.action, self.excess = wanted.copy(), found - limit
        self.rung = np.zeros(len(wanted), np.intp)
        self._furthest, self._trusted = np.full(len(wanted), np.inf), True

    def project(self, rounds: int, trust: float) -> None:
        """Climb rungs 1 and 2, by so many projections at most; from the first that did not help none goes further than `trust`.

        Where the linearised risk cannot be met all actions have to give is asked for, but no more than a share
        ``gain / (gain + tolerance)`` of it: somewhere all actions are about as bad, and what little the critic tells them apart
        by is no reason to fling about.
        """
        high = np.ones(self.action.shape[1])
        low = -high
        for k in range(rounds):
            ids = self._unmet()
            if not ids.size:
                return
            action, slope = self.action[ids], self._slope[ids]
            offsets = np.einsum("ni,ni->n", slope, action) - self.excess[ids] - TOUCHING
            projected = project_half_space_in_box(action, slope, offsets, low, high)
            moved, step = projected.point, projected.point - action
            if not (projected.feasible.all() and self._trusted):
                gain = -np.einsum("ni,ni->n", slope, step)
                share = np.where(projected.feasible, 1.0, gain / np.maximum(gain + self._tolerance, 1e-12))
                longest = np.maximum(np.abs(step).max(axis=1), 1e-12)
                share = np.minimum(share, self._furthest[ids] / longest)
                moved = action + share[:, np.newaxis] * step
            helped = self._take(ids, moved, min(k + 1, 2))
            if not helped.all():
                worse, self._trusted = ids[~helped], False
                self._furthest[worse] = np.minimum(0.5 * self._furthest[worse], trust)

    def unroll(self) -> None:
        """Take normalised gradient steps, all of the way even where they lead astray, as USL does."""
        action, slope = self.action.copy(), self._slope.copy()
        for _ in range(GRADIENT_STEPS):
            ids = self._unmet()
            if not ids.size:
                return
            steepest = np.maximum(np.abs(slope[ids]).max(axis=1, keepdims=True), 1e-12)
            action[ids] = np.clip(action[ids] - GRADIENT_STEP * slope[ids] / steepest, -1.0, 1.0)
            self._take(ids, action[ids], 1, slope)

    def sample(self, samples: Array) -> None:
        """Climb rung 3: try samples (S, na) of the box, drawn towards the proposal, the first the most, and the slope's corner.

        Where none meets the limit the safest is taken if that gains more than the tolerance.
        """
        ids = self._unmet()
        if not ids.size or not len(samples):
            return
        wanted, many = self._wanted[ids, np.newaxis], len(samples) + 1
        tried = wanted + np.linspace(0.0, 1.0, many)[1:, np.newaxis] * (samples - wanted)
        corner = np.where(self._slope[ids] > 0.0, -1.0, np.where(self._slope[ids] < 0.0, 1.0, self._wanted[ids]))
        tried = np.concatenate((tried, corner[:, np.newaxis]), axis=1)
        risk = self._risk.alone(np.repeat(ids, many), tried.reshape(-1, tried.shape[2])).reshape(len(ids), many)
        excess = risk - self._limit[ids, np.newaxis]
        distance = np.where(excess <= TOUCHING, np.linalg.norm(tried - wanted, axis=2), np.inf)
        met, row = np.isfinite(distance.min(axis=1)), np.arange(len(ids))
        best = np.where(met, distance.argmin(axis=1), excess.argmin(axis=1))
        (taken,) = (met | (excess[row, best] < self.excess[ids] - self._tolerance)).nonzero()
        at, best = ids[taken], best[taken]
        self.action[at], self.excess[at], self.rung[at] = tried[taken, best], excess[taken, best], 3

    def answer(self) -> Safeguarded:
        """Return what was found; the slack is in the unit of the risk, the actions are of single precision."""
        feasible = self.excess <= TOUCHING
        return Safeguarded(
            self.action.astype(np.float32),
            feasible,
            np.where(feasible, 0.0, self.excess),
            (self.action != self._wanted).any(axis=1),
            np.zeros(len(feasible), np.bool_),
            np.where(feasible, self.rung, RUNGS - 1),
        )

    def _unmet(self) -> Array:
        return np.flatnonzero(self.excess > TOUCHING)

    def _take(self, ids: Array, actions: Array, rung: int, slopes: Array | None = None) -> Array:
        """Take over actions (K, na) where their risk is less, and say where; note all their slopes, if asked, in (N, na)."""
        risk, slope = self._risk(ids, actions)
        if slopes is not None:
            slopes[ids] = slope
        excess = risk - self._limit[ids]
        better: Array = excess < self.excess[ids]
        at = ids[better]
        self.action[at], self.excess[at], self._slope[at], self.rung[at] = actions[better], excess[better], slope[better], rung
        return better

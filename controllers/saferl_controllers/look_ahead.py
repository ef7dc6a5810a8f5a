"""Looking ahead for the barrier safeguard: the margins that actions lead to with a backup after them, and their slopes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from saferl_controllers.backup import Backup
from saferl_envs.engine import Engine
from saferl_envs.errors import ConfigError
from saferl_envs.foresight import Foresight
from saferl_envs.signals import FloatArray, IntArray


class Tried(NamedTuple):
    """Actions (N, na), the margins (N, T, K) that each leads to, and the steps (N,) after which the robot stands."""

    actions: FloatArray
    margins: FloatArray
    ends: IntArray


class LookAhead:
    """Margins ``-g``, less what is to be kept beyond the limit, along the simulated future of copies of a task.

    Args:
        engine: The copies.
        backup: What follows an action.
        horizon: T, control steps looked ahead, the first of them with the action.
        constraints: Names of those to keep, or None for all.
        margin: How far from their limits constraint values are kept.
        until_rest: Whether the look-ahead of a copy ends where its backup, `Brake`, has brought it to rest.
        threads: For physics, 0 for all cores.

    Raises:
        ConfigError: A constraint does not exist, or the backup brings nobody to rest.
    """

    def __init__(
        self,
        engine: Engine,
        backup: Backup,
        horizon: int,
        *,
        constraints: tuple[str, ...] | None = None,
        margin: float = 0.0,
        until_rest: bool = False,
        threads: int = 0,
    ) -> None:
        if until_rest and not hasattr(backup, "at_rest"):
            raise ConfigError("barrier safeguard: until_rest needs a backup that brings robots to rest: braking")
        self.engine, self.backup, self.horizon, self.margin = engine, backup, horizon, margin
        self._kept, self._threads = _components(engine, constraints), threads
        self._rests = getattr(backup, "at_rest", None) if until_rest else None
        self._branches: dict[int, Foresight] = {}

    def now(self) -> FloatArray:
        """Return the present margins (N, K)."""
        return self._margins(self.engine.values())

    def follow(self, ids: IntArray, actions: FloatArray) -> Tried:
        """Return margins of actions (N, na) now and the backup's after; rows outside `ids` mean nothing."""
        ends, ahead = np.full(len(actions), self.horizon), self._begin(1, ids)
        margins = [self._margins(ahead.step(actions[:, np.newaxis])[:, 0])]
        for t in range(1, self.horizon):
            if self._rests is not None:
                standing = self._rests(ahead.copies)
                ends[ids[standing[ids]]] = t
                ids = ids[~standing[ids]]
                if not ids.size:
                    break
                ahead.narrow(ids)
            later = self._margins(ahead.step(self.backup(ahead.copies)[:, np.newaxis])[:, 0])
            margins.append(np.where((ends > t)[:, np.newaxis], later, margins[-1]))
        return Tried(actions, _filled(margins, self.horizon), ends)

    def slopes(self, ids: IntArray, about: Tried, step: FloatArray) -> FloatArray:
        """Return the slopes (len(ids), na, T, K) of margins, by differences `step` (N, na) about what was tried."""
        actions, margins, ends = about
        n, na = actions.shape
        ahead = self._begin(na, ids)
        found = [self._margins(ahead.step(actions[:, np.newaxis] + step[:, np.newaxis] * np.eye(na)))]
        for t in range(1, ends[ids].max()):
            if self._rests is not None:
                ahead.narrow(ids[ends[ids] > t])
            later = self._margins(ahead.step(self.backup(ahead.copies).reshape(n, na, na)))
            found.append(np.where((ends > t)[:, np.newaxis, np.newaxis], later, found[-1]))
        moved = _filled(found, self.horizon).swapaxes(1, 2)[ids]
        slopes: FloatArray = (moved - margins[ids, np.newaxis]) / step[ids, :, np.newaxis, np.newaxis]
        return slopes

    def held(self, ids: IntArray, actions: FloatArray, steps: int) -> FloatArray:
        """Return the worst margins (N, B) while actions (N, B, na) are held; rows outside `ids` mean nothing."""
        ahead = self._begin(actions.shape[1], ids)
        worst: FloatArray = np.min([self._margins(ahead.step(actions)).min(axis=2) for _ in range(steps)], axis=0)
        return worst

    def _margins(self, values: FloatArray) -> FloatArray:
        """Return what is left of the kept constraints' values (..., K) to their limits, beyond what is to be kept."""
        left: FloatArray = -values[..., self._kept] - self.margin
        return left

    def _begin(self, branches: int, ids: IntArray) -> Foresight:
        ahead = self._branches.get(branches)
        if ahead is None:
            ahead = self._branches[branches] = Foresight(self.engine, branches, self._threads)
        ahead.begin(ids)
        return ahead


def _filled(steps: list[FloatArray], horizon: int) -> FloatArray:
    """Return arrays (N, ...) of each step as (N, T, ...); where everybody stands before the horizon, the last goes on."""
    return np.stack(steps + [steps[-1]] * (horizon - len(steps)), axis=1)


def _components(engine: Engine, names: tuple[str, ...] | None) -> IntArray:
    """Return the columns of the constraint values that are kept.

    Raises:
        ConfigError: No such constraint.
    """
    known = engine.constraints.names
    for name in names or ():
        if name not in known:
            raise ConfigError(f"barrier safeguard: no constraint {name!r}; there are {', '.join(known)}")
    columns = [
        np.arange(part.start, part.stop)
        for name, part in zip(known, engine.constraints.slices, strict=True)
        if names is None or name in names
    ]
    return np.concatenate(columns)

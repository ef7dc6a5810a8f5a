"""Foresight: what copies of a task would come to under actions that have not been taken, in a simulation of its own."""

from __future__ import annotations

import numpy as np

from saferl_envs.engine import Engine
from saferl_envs.signals import FloatArray, IntArray

DIVERGED = 1e6
"""The value of every constraint in a branch whose physics broke down."""


class Foresight:
    """B branches of each of N copies, with their physics, randomised models, memory and constraints.

    Branches step exactly as the copies themselves would, disturbances of an evaluation apart: those are not foreseen. What
    is random in a step (noise, commands, pushes) comes out as it will, since noise depends on copy and step alone.

    Args:
        engine: The copies that are looked ahead from.
        branches: B.
        threads: For physics, 0 for all cores.

    Attributes:
        engine: The copies.
        branches: B.
        copies: The N B branches, those of one copy together; to read, not to step.
    """

    def __init__(self, engine: Engine, branches: int, threads: int = 0) -> None:
        self.engine, self.branches = engine, branches
        self.copies = Engine(
            engine.task,
            engine.num_envs * branches,
            threads=threads,
            constraints=tuple(engine.constraints),
            max_episode_steps=engine.max_episode_steps,
        )
        self._parents = np.repeat(np.arange(engine.num_envs), branches)
        self._chosen = np.ones(engine.num_envs * branches, np.bool_)
        self._diverged = np.zeros(engine.num_envs * branches, np.bool_)

    def begin(self, copies: IntArray | None = None) -> None:
        """Let all branches stand where their copies stand; only those of `copies` (sorted) will be stepped, or all."""
        state = self.engine.state()
        own = self.copies.state()
        # copies that are not stepped any more, or are disturbed, would not come out the same from their last step
        self.copies.load_state({key: state[key][self._parents] for key in own if key in state}, exact=False)
        self._diverged[:] = False
        self._chosen[:] = True if copies is None else np.isin(self._parents, copies)

    def narrow(self, copies: IntArray) -> None:
        """From now on step the branches of `copies` only, some of those that `begin` chose."""
        self._chosen = np.isin(self._parents, copies)

    def step(self, actions: FloatArray) -> FloatArray:
        """Take actions (N, B, na) and return the constraint values (N, B, K) they lead to; rows not chosen mean nothing.

        Where a branch's physics has diverged all values are `DIVERGED` until the next `begin`.
        """
        flat = actions.reshape(len(self._parents), -1)
        ids = None if self._chosen.all() else np.flatnonzero(self._chosen)
        found, diverged = self.copies.step_values(flat, ids)
        self._diverged |= diverged
        values = np.where(self._diverged[:, np.newaxis], DIVERGED, found)
        return values.reshape(self.engine.num_envs, self.branches, -1)

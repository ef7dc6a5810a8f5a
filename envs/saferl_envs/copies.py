"""Copies: what every face of an environment drives, whether the copies are simulated in one batch or stepped one by one.

`saferl_envs.engine.Engine` is N copies of a task on `mujoco.batch`; `saferl_envs.gymnasium_copies.GymnasiumCopies` is N
copies of any Gymnasium environment under a constraint set. Training, evaluation and video know only this protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from saferl_envs.constraints import ConstraintSet
from saferl_envs.signals import BoolArray, FloatArray, IntArray, Signals

Observation = Any
"""(N, obs) array, or a dictionary of such arrays where the observation space is a `Dict`."""


class Transition(NamedTuple):
    """What one step of N copies under C constraints with K components brought. All arrays are new at every step.

    Attributes:
        observation: (N, obs) after the step, before any reset.
        reward: (N,) sum of the reward terms.
        reward_terms: Name to (N,).
        terminated: (N,) terminal state reached, or physics diverged.
        truncated: (N,) time limit reached; as with Gymnasium's `TimeLimit`, also where that very step terminated.
        values: (N, K) signed constraint values, ``<= 0`` satisfied.
        costs: (N, C) per-step costs.
        violated: (N, C) whether a constraint is above zero.
        cost: (N,) sum of the costs of constraints that have a cost limit.
        episode_cost: (N,) running sum of `cost` over the episode.
        diverged: (N,) whether physics diverged.
        extras: What goes into the info beside these, (N, ...) each; see `Copies.extras`.
    """

    observation: Observation
    reward: FloatArray
    reward_terms: Mapping[str, FloatArray]
    terminated: BoolArray
    truncated: BoolArray
    values: FloatArray
    costs: FloatArray
    violated: BoolArray
    cost: FloatArray
    episode_cost: FloatArray
    diverged: BoolArray
    extras: Mapping[str, NDArray[Any]] = MappingProxyType({})


class Renderer(Protocol):
    """Draws the first copy."""

    @property
    def notice(self) -> str | None:
        """The line that says why no robot is drawn, if so."""
        ...

    def render(self, mode: str | None) -> Any:
        """Return a frame, (H, W, 3) uint8 in mode ``rgb_array``."""
        ...

    def close(self) -> None:
        """Free what rendering holds."""
        ...


class Copies(Protocol):
    """N copies of one environment that are stepped together. They never reset themselves: each face has its own rule.

    Attributes:
        num_envs: N.
        constraints: The constraints with their names, limits and cost limits.
        control_timestep: Seconds per step, for video in real time.
        max_episode_steps: Steps before truncation.
        reward_names: Names of the reward terms.
        extras: What a step's info holds beside what every environment's does: name to shape in one copy.
    """

    num_envs: int
    constraints: ConstraintSet
    control_timestep: float
    max_episode_steps: int
    reward_names: tuple[str, ...]
    extras: Mapping[str, tuple[int, ...]]

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """The observation space of one copy."""
        ...

    @property
    def action_space(self) -> spaces.Space[Any]:
        """The action space of one copy."""
        ...

    def seed(self, seeds: ArrayLike, ids: IntArray | None = None) -> None:
        """Give some copies, or all, a seed each, and forget how many episodes they have begun."""
        ...

    def reset(self, ids: IntArray | None = None) -> None:
        """Begin a new episode for some copies (sorted ids), or for all; episode k of seed s is always the same one."""
        ...

    def observe(self) -> Observation:
        """Return the present observation of every copy, new arrays."""
        ...

    def present(self) -> Signals:
        """Return the present signals that constraints or somebody else required, (N, d) each, valid until the next step."""
        ...

    def values(self, ids: IntArray | None = None) -> FloatArray:
        """Return the present signed constraint values of all copies or of some, (N, K) or (len(ids), K)."""
        ...

    def step(self, actions: ArrayLike, ids: IntArray | None = None) -> Transition:
        """Advance by one step, all copies or those with the sorted `ids`; other rows of the result are meaningless."""
        ...

    def renderer(self, width: int, height: int) -> Renderer:
        """Return what draws the first copy, frames of `width` x `height` pixels where the environment lets one choose."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that decides how the copies go on, as plain arrays."""
        ...

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on, bit for bit, from where `state` was taken, in copies made with the same arguments.

        Raises:
            SaferlError: The state does not fit.
        """
        ...

    def metrics(self) -> Mapping[str, float]:
        """Return by tag what says how training goes beside returns and costs, e.g. the level reached as ``task/level``."""
        ...

    def outcomes(self) -> Mapping[str, FloatArray]:
        """Return how episodes that end now have gone beside returns and costs, (N,) each, NaN where it does not apply."""
        ...

    def close(self) -> None:
        """Free what the copies hold."""
        ...


def clip_actions(space: spaces.Space[Any], actions: NDArray[Any]) -> NDArray[Any]:
    """Return actions (N, ...) held within a Box's bounds; other spaces' actions as they are."""
    return np.clip(actions, space.low, space.high) if isinstance(space, spaces.Box) else actions

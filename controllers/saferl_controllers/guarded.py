"""Copies of an environment behind a safeguard: whoever steps them proposes actions, and what the safeguard says is executed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from saferl_controllers.meter import SafeguardMeter
from saferl_controllers.safeguard import TOLD, Safeguard, Safeguarded, told_by
from saferl_envs.copies import Copies, Observation, Renderer, Transition, clip_actions
from saferl_envs.errors import ConfigError, TaskError, choose
from saferl_envs.signals import FloatArray, IntArray, Signals


class GuardedCopies:
    """`Copies` whose actions are proposals. Constraints, costs and rewards are of what was executed.

    A learner sees the safeguard as a part of the environment: it stores what it proposed and the probability of that. Every
    step's info says what was made of it: ``action_proposed``, ``action_executed`` (na,), ``intervened``,
    ``safeguard_feasible``, ``safeguard_slack``, ``safeguard_verified``, ``safeguard_rung``.

    Args:
        copies: What is guarded, with a Box of actions.
        safeguard: Corrects actions for the copies' present state.

    Raises:
        ConfigError: Actions are not numbers, or a signal that the safeguard requires is not kept up to date here.
    """

    def __init__(self, copies: Copies, safeguard: Safeguard) -> None:
        if not isinstance(copies.action_space, spaces.Box):
            raise ConfigError(f"a safeguard corrects actions that are numbers, not those of {copies.action_space}")
        for name in sorted(safeguard.requires):
            if name not in copies.present():
                raise ConfigError(choose("signal", name, copies.present(), f"safeguard {type(safeguard).__name__}"))
        self.copies, self.safeguard = copies, safeguard
        self.num_envs, self.constraints = copies.num_envs, copies.constraints
        self.control_timestep, self.max_episode_steps = copies.control_timestep, copies.max_episode_steps
        self.reward_names = copies.reward_names
        actions = dict.fromkeys(("action_proposed", "action_executed"), copies.action_space.shape)
        self.extras: Mapping[str, tuple[int, ...]] = {**copies.extras, **dict.fromkeys(TOLD, ()), **actions}
        self._seen = SafeguardMeter(safeguard.rungs)
        self._episode = {key: np.zeros(copies.num_envs) for key in ("intervention_rate", "infeasible_rate", "correction")}
        self._steps = np.zeros(copies.num_envs, np.int64)

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """The observation space of one copy."""
        return self.copies.observation_space

    @property
    def action_space(self) -> spaces.Space[Any]:
        """The action space of one copy: of proposals and of what is executed."""
        return self.copies.action_space

    def seed(self, seeds: ArrayLike, ids: IntArray | None = None) -> None:
        """Give some copies, or all, a seed each."""
        self.copies.seed(seeds, ids)

    def reset(self, ids: IntArray | None = None) -> None:
        """Begin a new episode for some copies, or for all."""
        which: Any = slice(None) if ids is None else ids
        for sums in (*self._episode.values(), self._steps):
            sums[which] = 0
        self.copies.reset(ids)

    def observe(self) -> Observation:
        """Return the present observation of every copy."""
        return self.copies.observe()

    def present(self) -> Signals:
        """Return the present signals."""
        return self.copies.present()

    def values(self, ids: IntArray | None = None) -> FloatArray:
        """Return the present constraint values of all copies or of some."""
        return self.copies.values(ids)

    def step(self, actions: ArrayLike, ids: IntArray | None = None) -> Transition:
        """Advance by one step with what the safeguard makes of the proposed actions (N, na), clipped to their bounds.

        Raises:
            TaskError: The actions' shape is wrong.
        """
        actions = np.asarray(actions)
        if actions.shape != (shape := (self.num_envs, *(self.action_space.shape or ()))):
            raise TaskError(f"actions have shape {actions.shape}, expected {shape}")
        proposed = clip_actions(self.action_space, actions)
        began = time.perf_counter()
        found = self.safeguard.filter(self.copies.present(), proposed)
        self._note(found, proposed, time.perf_counter() - began, ids)
        transition = self.copies.step(found.action, ids)
        told = told_by(found, proposed)
        return transition._replace(extras={**transition.extras, **told})

    def _note(self, found: Safeguarded, proposed: FloatArray, seconds: float, ids: IntArray | None) -> None:
        which: Any = slice(None) if ids is None else ids
        moved = np.linalg.norm((found.action - proposed).reshape(self.num_envs, -1), axis=1)
        self._seen.add(found, moved, seconds, which)
        self._steps[which] += 1
        for key, part in zip(self._episode, (found.intervened, ~found.feasible, moved), strict=True):
            self._episode[key][which] += part[which]

    def renderer(self, width: int, height: int) -> Renderer:
        """Return what draws the first copy."""
        return self.copies.renderer(width, height)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that decides how the copies go on. Safeguards keep nothing from step to step."""
        return self.copies.state()

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on, bit for bit, from where `state` was taken."""
        self.copies.load_state(state)

    def metrics(self) -> Mapping[str, float]:
        """Return the environment's metrics, and what the safeguard did since they were last asked for."""
        return {**self.copies.metrics(), **self._seen.take()}

    def outcomes(self) -> Mapping[str, FloatArray]:
        """Return how episodes that end now have gone, and what the safeguard did in them: ``safeguard/...``, means per step."""
        own = {f"safeguard/{key}": sums / np.maximum(self._steps, 1) for key, sums in self._episode.items()}
        return {**self.copies.outcomes(), **own}

    def close(self) -> None:
        """Free what the copies hold."""
        self.copies.close()

"""The outermost wrapper of a training environment: notes what the constraints said at each step, before any scaling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from saferl.episode_costs import EpisodeCosts
from saferl.vec import ConstrainedVecEnv
from saferl_envs.constraints import ConstraintSet, Evaluation
from saferl_envs.errors import ConfigError


class Recorded(NamedTuple):
    """What was noted of one step.

    Attributes:
        evaluation: What the constraints said.
        rewards: (N,) as the learner received them.
        truncated: By copy, the last observation of an episode that a time limit ended, as the learner sees observations.
        raw_rewards: (N,) before any normalisation, where the environment tells them.
        executed: (N, na) actions as executed, behind a safeguard.
    """

    evaluation: Evaluation
    rewards: np.ndarray[Any, Any]
    truncated: dict[int, Any]
    raw_rewards: np.ndarray[Any, Any] | None = None
    executed: np.ndarray[Any, Any] | None = None


class StepRecorder(VecEnvWrapper):
    """Notes each step's constraint values, costs and rewards, outside of any normalisation.

    Works on `ConstrainedVecEnv` through its arrays and on any other vector environment through ``info["constraint_values"]``.

    Attributes:
        constraint_set: The constraints.
        last: What was noted of the last step.
        episodes: Costs of whole episodes.

    Raises:
        ConfigError: The environment has no constraints.
    """

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self._base = _innermost(venv)
        self.constraint_set = _constraints_of(self._base)
        self.last: Recorded | None = None
        self.episodes = EpisodeCosts(self.constraint_set, self.num_envs)

    @property
    def guarded(self) -> bool:
        """Whether a safeguard stands between actions and the environment."""
        return isinstance(self._base, ConstrainedVecEnv) and "action_executed" in self._base.copies.extras

    def metrics(self) -> Mapping[str, float]:
        """Return what the environment says of how training goes; see `saferl_envs.copies.Copies.metrics`."""
        return self._base.copies.metrics() if isinstance(self._base, ConstrainedVecEnv) else {}

    def reset(self) -> Any:
        """Reset every copy."""
        self.last = None
        self.episodes.restart()
        return self.venv.reset()

    def step_wait(self) -> Any:
        """Step, and note what happened."""
        observations, rewards, dones, infos = self.venv.step_wait()
        raw = executed = None
        if isinstance(self._base, ConstrainedVecEnv) and self._base.last_step is not None:
            t = self._base.last_step
            evaluation, raw = Evaluation(t.values, t.costs, t.violated), t.reward
            executed = t.extras.get("action_executed")
        else:
            evaluation = self.constraint_set.judge(np.stack([info["constraint_values"] for info in infos]))
        self.episodes.add(evaluation.costs, dones)
        ended = np.flatnonzero(dones).tolist()
        truncated = {i: infos[i]["terminal_observation"] for i in ended if infos[i].get("TimeLimit.truncated")}
        # a copy: at time limits SB3 adds its bootstrap bonus to the array it was given
        self.last = Recorded(evaluation, rewards.copy(), truncated, raw, executed)
        return observations, rewards, dones, infos


def _innermost(venv: VecEnv) -> VecEnv:
    while isinstance(venv, VecEnvWrapper):
        venv = venv.venv
    return venv


def _constraints_of(venv: VecEnv) -> ConstraintSet:
    try:
        found = venv.env_method("get_wrapper_attr", "constraints", indices=[0])[0]
    except AttributeError:
        found = None
    if not isinstance(found, ConstraintSet):
        raise ConfigError("the environment has no constraints; constrained methods need an environment that offers some")
    return found

"""The outermost wrapper of a training environment: notes what the constraints said at each step, before any scaling."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from saferl.vec import TaskVecEnv
from saferl_envs.constraints import ConstraintSet, Evaluation
from saferl_envs.errors import ConfigError


class Recorded(NamedTuple):
    """What was noted of one step: the constraints' evaluation, and the rewards (N,) as the learner received them."""

    evaluation: Evaluation
    rewards: np.ndarray[Any, Any]


class StepRecorder(VecEnvWrapper):
    """Notes each step's constraint values, costs and rewards, outside of any normalisation.

    Works on `TaskVecEnv` through its arrays and on any other vector environment through ``info["constraint_values"]``.

    Raises:
        ConfigError: The environment has no constraints.
    """

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self._base = _innermost(venv)
        self.constraint_set = _constraints_of(self._base)
        self.last: Recorded | None = None

    def reset(self) -> Any:
        """Reset every copy."""
        self.last = None
        return self.venv.reset()

    def step_wait(self) -> Any:
        """Step, and note what happened."""
        observations, rewards, dones, infos = self.venv.step_wait()
        if isinstance(self._base, TaskVecEnv) and self._base.last_step is not None:
            t = self._base.last_step
            evaluation = Evaluation(t.values, t.costs, t.violated)
        else:
            evaluation = self.constraint_set.judge(np.stack([info["constraint_values"] for info in infos]))
        # a copy: at time limits SB3 adds its bootstrap bonus to the array it was given
        self.last = Recorded(evaluation, rewards.copy())
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

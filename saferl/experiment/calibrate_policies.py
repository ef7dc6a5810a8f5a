"""The policies of a calibration: random, unconstrained, and careful, that is trained on minus the constraints' costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from rich.console import Console
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from saferl.evaluation.calibration import CAREFUL, FREE
from saferl.evaluation.rollout import Episodes, Predict, join, play
from saferl.experiment.build import discount, make_copies, make_model, make_vec_env, predictor
from saferl.experiment.callbacks import EVAL_SEED_OFFSET, ProgressBar
from saferl.experiment.config import TrainConfig
from saferl.vec import ConstrainedVecEnv
from saferl_envs.constraints import ConstraintSet
from saferl_envs.copies import Observation
from saferl_envs.errors import ConfigError

Array = np.ndarray[Any, Any]
RANDOM = "random"
AT_ONCE = 256
"""Episodes played side by side."""
WORST_REWARD = 10.0
"""A step's scaled cost counts at most this much, and a cost that is not a number counts as much."""


@dataclass(frozen=True)
class Played:
    """A policy's episodes, the steps it was trained for, and the mean cost per step of each rollout of its training, (R, C)."""

    episodes: Episodes
    trained: int
    curve: Array


def play_all(
    config: TrainConfig, model: BaseAlgorithm, constraints: ConstraintSet, episodes: int, console: Console | None
) -> dict[str, Played]:
    """Train, and return the episodes of every policy by its name.

    Args:
        config: The environment, and how long and with which settings the unconstrained policy is trained; the careful one
            gets a third of that.
        model: The unconstrained policy, fresh.
        constraints: The environment's.
        episodes: Episodes per policy; each policy's k-th begins in the same state.
        console: Where progress is shown; None shows nothing.

    Raises:
        ConfigError: Training broke down.
    """
    played = {RANDOM: Played(_play(config, None, False, episodes), 0, np.zeros((0, len(constraints))))}

    def learn(name: str, learner: BaseAlgorithm, steps: int) -> None:
        curve = _learn(learner, name, steps, console)
        for suffix, deterministic in (("", False), ("_deterministic", True)):
            played[name + suffix] = Played(_play(config, learner, deterministic, episodes), learner.num_timesteps, curve)

    learn(FREE, model, config.total_timesteps)
    gamma = discount(config)
    unit_costs = np.maximum(*(_per_step(played[name].episodes, constraints, gamma) for name in (RANDOM, FREE)))
    weights = _directions(constraints, played[FREE].episodes) / np.where(unit_costs > 0, unit_costs, 1.0)
    # rewards are not normalised: these are scaled already, and VecNormalize would be inside of the wrapper
    careful = config.model_copy(update={"env": config.env.model_copy(update={"normalize_reward": False})})
    env = CostReward(make_vec_env(careful), weights, 1.0 - min(gamma, 0.999))
    learn(CAREFUL, make_model(careful, env), max(1, config.total_timesteps // 3))
    return played


class CostReward(VecEnvWrapper):
    """Rewards a copy for what its constraints cost in place of what the task pays: minus the sum of the scaled costs.

    Args:
        venv: `ConstrainedVecEnv`, wrapped or not.
        weights: (C,) by which the costs are multiplied; below zero where a cost is to be raised.
        factor: By which the sum is multiplied, (1 - discount) so that values are about 1.

    Raises:
        ConfigError: The environment does not say its costs as arrays.
    """

    def __init__(self, venv: VecEnv, weights: Array, factor: float) -> None:
        super().__init__(venv)
        if not isinstance(venv.unwrapped, ConstrainedVecEnv):
            raise ConfigError("internal: costs become rewards only on a ConstrainedVecEnv")
        self._base, self._weights, self._factor = venv.unwrapped, weights, factor

    def reset(self) -> Observation:
        """Reset every copy."""
        return self.venv.reset()

    def step_wait(self) -> Any:
        """Step, and return the costs as rewards (N,)."""
        observations, _, dones, infos = self.venv.step_wait()
        costs = np.zeros((self.num_envs, len(self._weights))) if self._base.last_step is None else self._base.last_step.costs
        scaled = np.clip(costs * self._weights, -WORST_REWARD, WORST_REWARD)
        rewards = -self._factor * np.where(np.isfinite(costs), scaled, WORST_REWARD).sum(axis=1)
        return observations, rewards, dones, infos


class _Curve(BaseCallback):
    """Notes the mean cost per step of each rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.rollouts: list[Array] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer: Any = self.locals["rollout_buffer"]
        self.rollouts.append(buffer.costs.mean(axis=(0, 1)))


def _learn(model: BaseAlgorithm, name: str, steps: int, console: Console | None) -> Array:
    """Train, and return the mean costs per step of each rollout, (R, C)."""
    curve = _Curve()
    if console is not None:
        console.print(f"training the {name} policy, {steps:,} steps")
    bar = ProgressBar(steps, console) if console is not None else None
    try:
        model.learn(steps, callback=CallbackList([curve, *([bar] if bar else [])]))
    except ValueError as error:
        if "invalid values" not in str(error):
            raise
        raise ConfigError(
            f"training of the {name} policy broke down after {model.num_timesteps:,} steps: the network's numbers are not "
            "finite; try a lower method.learning_rate"
        ) from error
    finally:
        if bar is not None:
            bar.stop()
    return np.array(curve.rollouts, np.float64)


def _play(config: TrainConfig, model: BaseAlgorithm | None, deterministic: bool, episodes: int) -> Episodes:
    """Return the episodes of a policy, or of a random one; each policy's k-th begins in the same state."""
    if model is not None:
        th.manual_seed(config.seed)
    parts = []
    for first in range(0, episodes, AT_ONCE):
        copies = make_copies(config, min(AT_ONCE, episodes - first))
        if model is None:
            policy = _random_policy(copies.action_space, copies.num_envs, config.seed + first)
        else:
            policy = predictor(model, deterministic)
        parts.append(play(copies, policy, 2 * EVAL_SEED_OFFSET + config.seed + first, discount(config)))
        copies.close()
    return join(parts)


def _random_policy(space: spaces.Space[Any], n: int, seed: int) -> Predict:
    """Return a policy that draws each copy's actions uniformly from the space."""
    actions = batch_space(space, n)
    actions.seed(seed)
    return lambda observation: np.asarray(actions.sample())


def _per_step(episodes: Episodes, constraints: ConstraintSet, gamma: float) -> Array:
    """Return the mean size of each constraint's cost per step, (C,)."""
    steps = episodes.lengths[:, np.newaxis].astype(np.float64)
    discounted = (1.0 - gamma**steps) / (1.0 - gamma) if gamma < 1 else steps
    weight = {"sum": steps, "mean": np.ones_like(steps), "discounted": discounted}
    per_step = [episodes.costs[:, [c]] / weight[one.aggregate] for c, one in enumerate(constraints)]
    sizes: Array = np.nan_to_num(np.abs(np.concatenate(per_step, axis=1)), nan=0.0, posinf=0.0)
    return np.asarray(sizes.mean(axis=0))


def _directions(constraints: ConstraintSet, free: Episodes) -> Array:
    """Return 1 for costs to be lowered and -1 for costs to be raised, (C,): away from what comes by itself, to the limit."""
    upwards = [
        c.sense == ">=" or (c.sense == "==" and c.cost_limit is not None and c.cost_limit > free.costs[:, i].mean())
        for i, c in enumerate(constraints)
    ]
    return np.where(upwards, -1.0, 1.0)

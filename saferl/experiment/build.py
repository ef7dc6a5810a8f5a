"""From a configuration to a training environment, a model, and a policy that can be played."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from saferl.experiment.checkpoint import read_checkpoint, restore
from saferl.experiment.config import TrainConfig
from saferl.vec import TaskVecEnv
from saferl_envs.engine import Engine
from saferl_envs.errors import ConfigError, choose
from saferl_envs.overrides import resolve_constraints
from saferl_envs.tasks import make_task

Array = np.ndarray[Any, Any]
WIDE = 256


def make_vec_env(config: TrainConfig, dump_dir: Path | None = None) -> VecEnv:
    """Return the training environment: batched copies, with observations and rewards normalised where asked."""
    env: VecEnv = TaskVecEnv(
        config.env.id,
        config.env.num_envs,
        threads=config.threads,
        dump_dir=None if dump_dir is None else str(dump_dir),
        **config.env.arguments(),
    )
    if config.env.normalize_observation or config.env.normalize_reward:
        method: Any = config.method
        env = VecNormalize(
            env,
            norm_obs=config.env.normalize_observation,
            norm_reward=config.env.normalize_reward,
            gamma=getattr(method, "gamma", 0.99),
        )
    return env


def make_engine(config: TrainConfig, num_envs: int) -> Engine:
    """Return copies of the configured environment for evaluation, apart from training's."""
    arguments = config.env.arguments()
    constraints, limits = arguments.pop("constraints"), arguments.pop("limits")
    steps = arguments.pop("max_episode_steps")
    task = make_task(config.env.id, **arguments)
    chosen = resolve_constraints(task, constraints, limits)
    return Engine(task, num_envs, threads=config.threads, constraints=chosen, max_episode_steps=steps)


def make_model(config: TrainConfig, env: VecEnv) -> BaseAlgorithm:
    """Return a fresh algorithm.

    Raises:
        ConfigError: The device does not exist, or two settings do not go together.
    """
    _require_device(config.device)
    try:
        return config.method.build(env, config.seed, config.device)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(f"method {config.method.name!r}: {' '.join(str(error).split())}") from error


def _require_device(name: str) -> None:
    """Refuse a device that is not there; Stable-Baselines3 would take the CPU without a word."""
    if name == "auto":
        return
    try:
        device = th.device(name)
    except RuntimeError as error:
        raise ConfigError(choose("device", name, ("auto", "cpu", "cuda", "cuda:0"), "device")) from error
    if device.type == "cuda" and (device.index or 0) >= th.cuda.device_count():
        raise ConfigError(f"device {name!r} is not available: torch sees {th.cuda.device_count()} CUDA devices")


def load_model(config: TrainConfig, checkpoint: Path) -> BaseAlgorithm:
    """Return the model of a run with a checkpoint's content, on one copy of its environment.

    Raises:
        CheckpointError: The checkpoint is missing, truncated or of another configuration.
    """
    state = read_checkpoint(checkpoint)
    small = config.model_copy(update={"env": config.env.model_copy(update={"num_envs": 1}), "device": "cpu"})
    method: Any = small.method
    if hasattr(method, "n_steps"):
        # the rollout buffer is not needed, and a batch must not be larger than it
        update = {"n_steps": 2, "batch_size": 2}
        small = small.model_copy(update={"method": method.model_copy(update=update)})
    model = make_model(small, make_vec_env(small))
    restore(model, state, checkpoint)
    return model


def predictor(model: BaseAlgorithm, deterministic: bool) -> Callable[[Array], Array]:
    """Return the policy as a function of raw observations (N, obs), normalised as in training."""
    normalizer = model.get_vec_normalize_env()

    def predict(observation: Array) -> Array:
        seen = observation if normalizer is None else normalizer.normalize_obs(observation)
        with th.no_grad():
            action, _ = model.predict(np.asarray(seen), deterministic=deterministic)
        return action

    return predict


def set_threads(config: TrainConfig) -> None:
    """Give torch its threads; ``OMP_NUM_THREADS`` is respected where the configuration does not say.

    With passive waiting (which the command sets, see `saferl.cli`) waking a second thread costs more than it brings for
    networks narrower than 256; measured in docs/performance.md.
    """
    asked = config.torch_threads or int(os.environ.get("OMP_NUM_THREADS", "0"))
    widest = max(getattr(config.method, "net_arch", (WIDE,)))
    th.set_num_threads(asked or (config.threads or os.cpu_count() or 1 if widest >= WIDE else 1))

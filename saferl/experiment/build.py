"""From a configuration to a training environment, a model, and a policy that can be played."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from saferl.algorithms.constrained import ConstrainedAlgorithm
from saferl.algorithms.ppo import PPOSettings
from saferl.evaluation.rollout import UNLIMITED
from saferl.experiment.checkpoint import read_checkpoint, restore
from saferl.experiment.config import TrainConfig
from saferl.priced import PricedCorrections
from saferl.shards import SMALLEST_SHARD
from saferl.vec import ConstrainedVecEnv
from saferl_controllers.guarded import GuardedCopies
from saferl_envs.copies import Copies, Observation
from saferl_envs.errors import CheckpointError, ConfigError, choose
from saferl_envs.make import make_copies as make_env_copies

Array = np.ndarray[Any, Any]
WIDE = 256


def make_vec_env(config: TrainConfig, dump_dir: Path | None = None) -> VecEnv:
    """Return the training environment: batched copies, with observations and rewards normalised where asked."""
    if config.env.disturbances:
        raise ConfigError("env.disturbances are for evaluations: saferl evaluate RUN --env.disturbances.push 0.5")
    dumps = None if dump_dir is None else str(dump_dir)
    copies = _copies(config, config.env.num_envs, config.env.arguments() | {"dump_dir": dumps})
    base = ConstrainedVecEnv(copies, env_id=config.env.id)
    if base.copies.max_episode_steps >= UNLIMITED:
        raise ConfigError(f"{config.env.id} has no time limit, so its episodes may never end; set env.max_episode_steps")
    env: VecEnv = base
    if config.safeguard is not None and config.safeguard.price > 0.0:
        env = PricedCorrections(base, config.safeguard.price)
    keys, observation = _normalizable(env.observation_space)
    observation = observation and config.env.normalize_observation
    if observation or config.env.normalize_reward:
        env = VecNormalize(
            env,
            norm_obs=observation,
            norm_reward=config.env.normalize_reward,
            gamma=discount(config),
            norm_obs_keys=keys if observation else None,
        )
    return env


def _normalizable(space: spaces.Space[Any]) -> tuple[list[str] | None, bool]:
    """Return which keys of a Dict space can be normalised (None: it is no Dict), and whether anything can."""
    if isinstance(space, spaces.Dict):
        keys = [key for key, part in space.items() if isinstance(part, spaces.Box) and not is_image_space(part)]
        return keys, bool(keys)
    return None, isinstance(space, spaces.Box) and not is_image_space(space)


def make_copies(config: TrainConfig, num_envs: int) -> Copies:
    """Return copies of the configured environment for evaluation, apart from training's."""
    return _copies(config, num_envs, {**config.env.arguments(), **config.evaluation.kwargs})


def _copies(config: TrainConfig, num_envs: int, arguments: Mapping[str, Any]) -> Copies:
    """Return copies of the configured environment, behind its safeguard if it has one."""
    copies = make_env_copies(config.env.id, num_envs, threads=config.threads, **arguments)
    return copies if config.safeguard is None else GuardedCopies(copies, config.safeguard.build(copies))


def discount(config: TrainConfig) -> float:
    """Return the method's discount, for costs whose aggregate is ``discounted``."""
    return float(getattr(config.method, "gamma", 0.99))


def make_model(config: TrainConfig, env: VecEnv) -> ConstrainedAlgorithm:
    """Return a fresh algorithm.

    Raises:
        ConfigError: The device does not exist, or two settings do not go together.
    """
    _require_device(config.device)
    try:
        model: ConstrainedAlgorithm = config.method.build(env, config.seed, config.device)
    except (RuntimeError, AssertionError, ValueError, MemoryError) as error:
        raise ConfigError(f"method {config.method.name!r}: {' '.join(str(error).split())}") from error
    model.update_threads = torch_threads(config) if _shards(config) and model.device.type == "cpu" else 1
    return model


def _require_device(name: str) -> None:
    """Refuse a device that is not there; Stable-Baselines3 would take the CPU without a word."""
    if name in ("auto", "cpu"):
        return
    kind, _, index = name.partition(":")
    if kind not in ("cuda", "mps") or not (index or "0").isdigit():
        raise ConfigError(choose("device", name, ("auto", "cpu", "cuda", "cuda:0", "mps"), "device"))
    found = th.cuda.device_count() if kind == "cuda" else int(th.backends.mps.is_available())
    if int(index or "0") >= found:
        raise ConfigError(f"device {name!r} is not available: torch sees {found} {kind} devices")


def load_model(config: TrainConfig, checkpoint: Path) -> ConstrainedAlgorithm:
    """Return the model of a run with a checkpoint's content, on one copy of its environment.

    Raises:
        CheckpointError: The checkpoint is missing, truncated or of another configuration.
    """
    state = read_checkpoint(checkpoint)
    small = config.model_copy(update={"env": config.env.model_copy(update={"num_envs": 1}), "device": "cpu"})
    method: Any = small.method
    if hasattr(method, "n_steps"):
        # the buffer is not needed, and a batch must not be larger than it
        update: dict[str, Any] = {"n_steps": 2, "batch_size": 2}
        update |= {key: least for key, least in (("buffer_size", 2), ("update_ratio", 1.0)) if hasattr(method, key)}
        small = small.model_copy(update={"method": method.model_copy(update=update)})
    model = make_model(small, make_vec_env(small))
    restore(model, state, checkpoint)
    return model


def predictor(model: BaseAlgorithm, deterministic: bool) -> Callable[[Observation], Array]:
    """Return the policy as a function of raw observations (N, obs), normalised as in training.

    The function raises `CheckpointError` when the policy's numbers are not finite.
    """
    normalizer = model.get_vec_normalize_env()

    def predict(observation: Observation) -> Array:
        seen = observation if normalizer is None else normalizer.normalize_obs(observation)
        try:
            with th.no_grad():
                action, _ = model.predict(seen, deterministic=deterministic)
        except ValueError as error:
            raise CheckpointError(f"the policy's numbers are not finite ({' '.join(str(error).split())[:100]})") from error
        return action

    return predict


def set_threads(config: TrainConfig) -> None:
    """Give torch one thread per operation where minibatches are shared among threads (`saferl.shards`), else all of them."""
    th.set_num_threads(1 if _shards(config) else torch_threads(config))


def torch_threads(config: TrainConfig) -> int:
    """Return how many threads an update has; ``OMP_NUM_THREADS`` is respected where the configuration does not say.

    By default networks narrower than 256 have one, others as many as there are cores for this process.
    """
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    asked = config.torch_threads or (int(first) if first.isdigit() else 0)
    widest = max(getattr(config.method, "net_arch", ()), default=0)
    return asked or (_cores() if widest >= WIDE else 1)


def _shards(config: TrainConfig) -> bool:
    """Return whether minibatches are shared: those of PPO's kind that are large enough."""
    return isinstance(config.method, PPOSettings) and config.method.batch_size >= 2 * SMALLEST_SHARD


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""What a training needs, beside the policy, to go on as if it had never stopped: the environment, random numbers, counters.

All of it is tensors and plain values, so that it can live in a checkpoint that executes nothing. Taken between two
rollouts, it makes the continuation equal to an uninterrupted run, bit for bit, on the same machine and number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from saferl.algorithms.ppo import ConstrainedPPO
from saferl.vec import ConstrainedVecEnv
from saferl_envs.errors import CheckpointError

Array = np.ndarray[Any, Any]


def training_state(model: ConstrainedPPO) -> dict[str, Any]:
    """Return the state of a training between two rollouts as tensors and plain values."""
    return {
        "environment": _pack(_base(model).state()),
        "episode_costs": _pack(model.recorder.episodes.state()),
        "last_observation": _pack_observation(model._last_obs),
        "last_episode_starts": th.from_numpy(np.array(model._last_episode_starts)),
        "episodes": [{key: float(episode[key]) for key in ("r", "l", "t")} for episode in model.ep_info_buffer or []],
        "random": _random_state(),
        "threads": th.get_num_threads(),
    }


def restore_training(model: ConstrainedPPO, state: Mapping[str, Any]) -> None:
    """Put a training where `training_state` found it. The model holds the checkpoint's policy already.

    Raises:
        CheckpointError: The state is damaged.
        SaferlError: The state does not fit the environment.
    """
    try:
        th.set_num_threads(state["threads"])
        _base(model).load_state(_unpack(state["environment"]))
        model.recorder.episodes.load_state(_unpack(state["episode_costs"]))
        model._last_obs = _unpack_observation(state["last_observation"])
        model._last_episode_starts = state["last_episode_starts"].numpy().copy()
        model.ep_info_buffer = deque(state["episodes"], maxlen=model._stats_window_size)
        model.ep_success_buffer = deque(maxlen=model._stats_window_size)
        # schedules that follow the progress of training
        model._update_current_progress_remaining(model.num_timesteps, model._total_timesteps)
        _restore_random(state["random"])
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"the checkpoint's training state is damaged ({reason})") from error


def _base(model: OnPolicyAlgorithm) -> ConstrainedVecEnv:
    base: Any = model.env
    while not isinstance(base, ConstrainedVecEnv):
        if not hasattr(base, "venv"):
            raise CheckpointError(
                "only environments made by saferl.vec.ConstrainedVecEnv can be saved in the middle of training"
            )
        base = base.venv
    return base


def _pack(arrays: Mapping[str, Array]) -> dict[str, th.Tensor]:
    return {key: th.from_numpy(np.array(array)) for key, array in arrays.items()}


def _unpack(tensors: Mapping[str, th.Tensor]) -> dict[str, Array]:
    return {key: tensor.numpy().copy() for key, tensor in tensors.items()}


def _pack_observation(observation: Any) -> Any:
    return _pack(observation) if isinstance(observation, dict) else th.from_numpy(np.array(observation))


def _unpack_observation(packed: Any) -> Any:
    return _unpack(packed) if isinstance(packed, dict) else packed.numpy().copy()


def _random_state() -> dict[str, Any]:
    """Return the states of the generators that training draws from: torch's, and NumPy's legacy one (SB3's minibatches)."""
    _, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "torch": th.get_rng_state(),
        "cuda": th.cuda.get_rng_state_all() if th.cuda.is_available() else [],
        "numpy": [th.from_numpy(np.asarray(keys).astype(np.int64)), int(position), int(has_gauss), float(cached)],
    }


def _restore_random(state: Mapping[str, Any]) -> None:
    keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    if state["cuda"] and th.cuda.is_available():
        th.cuda.set_rng_state_all(state["cuda"])
    th.set_rng_state(state["torch"])

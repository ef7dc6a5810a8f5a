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
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm

from saferl.algorithms.constrained import ConstrainedAlgorithm
from saferl.vec import ConstrainedVecEnv
from saferl_envs.errors import CheckpointError

Array = np.ndarray[Any, Any]


def training_state(model: ConstrainedAlgorithm) -> dict[str, Any]:
    """Return the state of a training between two rollouts as tensors and plain values."""
    return {
        "environment": _pack(_base(model).state()),
        "episode_costs": _pack(model.recorder.episodes.state()),
        "last_observation": _pack_observation(model._last_obs),
        "last_episode_starts": th.from_numpy(np.array(model._last_episode_starts)),
        "episodes": [{key: float(episode[key]) for key in ("r", "l", "t")} for episode in model.ep_info_buffer or []],
        "learning": model.learning_state(),
        "random": _random_state(),
        # what the last update said and the next rollout's row will hold
        "logged": {key: float(value) for key, value in model.logger.name_to_value.items() if _is_number(value)},
        "threads": th.get_num_threads(),
    }


def restore_training(model: ConstrainedAlgorithm, state: Mapping[str, Any]) -> dict[str, float]:
    """Put a training where `training_state` found it. The model holds the checkpoint's policy already.

    Returns:
        What had been recorded for the logger's next row.

    Raises:
        CheckpointError: The state is damaged.
        SaferlError: The state does not fit the environment.
    """
    try:
        th.set_num_threads(min(max(int(state["threads"]), 1), 1024))
        model.recorder.episodes.load_state(_unpack(state["episode_costs"]))
        starts, observation = state["last_episode_starts"].numpy().copy(), _unpack_observation(state["last_observation"])
        _require_shape(starts, (model.n_envs,), "episode starts")
        parts = model.observation_space.spaces if isinstance(model.observation_space, spaces.Dict) else None
        if parts is None:
            _require_shape(observation, (model.n_envs, *(model.observation_space.shape or ())), "last observation")
        elif set(observation) != set(parts):
            raise CheckpointError(
                f"the checkpoint's last observation has parts {sorted(observation)}, expected {sorted(parts)}"
            )
        for key, part in (parts or {}).items():
            _require_shape(observation[key], (model.n_envs, *(part.shape or ())), f"last observation {key!r}")
        model._last_obs, model._last_episode_starts = observation, starts
        _base(model).load_state(_unpack(state["environment"]))
        episodes = [{key: float(episode[key]) for key in ("r", "l", "t")} for episode in state["episodes"]]
        model.ep_info_buffer = deque(episodes, maxlen=model._stats_window_size)
        model.ep_success_buffer = deque(maxlen=model._stats_window_size)
        # checkpoints of before there were off-policy methods lack it; those need nothing
        model.load_learning_state(state.get("learning", {}))
        # schedules that follow the progress of training
        model._update_current_progress_remaining(model.num_timesteps, model._total_timesteps)
        _restore_random(state["random"])
        logged = {str(key): float(value) for key, value in state["logged"].items()}
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"the checkpoint's training state is damaged ({reason})") from error
    return logged


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number))


def _require_shape(found: Array, expected: tuple[int, ...], name: str) -> None:
    """Refuse an array of another shape.

    Raises:
        CheckpointError: It has one.
    """
    if np.shape(found) != expected:
        raise CheckpointError(f"the checkpoint's {name} has shape {np.shape(found)}, expected {expected}")


def _base(model: BaseAlgorithm) -> ConstrainedVecEnv:
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

"""Checkpoints as data: tensors and plain values that `torch.load` reads with ``weights_only=True``, so nothing is executed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from saferl_envs.errors import CheckpointError, SaferlError

FORMAT = 1
_PLAIN = ("num_timesteps", "_n_updates", "_current_progress_remaining", "_total_timesteps")


def save_checkpoint(model: BaseAlgorithm, path: Path) -> None:
    """Write everything the policy and its training consist of; the old file stays until the new one is complete."""
    modules, _ = model._get_torch_save_params()
    state: dict[str, Any] = {
        "format": FORMAT,
        "algorithm": type(model).__name__,
        "constraints": getattr(model, "constraint_specs", []),
        "states": {name: _attribute(model, name).state_dict() for name in modules},
        "plain": {name: getattr(model, name) for name in _PLAIN if hasattr(model, name)},
        "normalization": _normalization(model.get_vec_normalize_env()),
    }
    temporary = path.with_name(path.name + ".part")
    th.save(state, temporary)
    os.replace(temporary, path)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint's content without executing any of it.

    Raises:
        CheckpointError: The file is missing, truncated, or not a checkpoint of ours.
    """
    try:
        state = th.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"checkpoint {path} does not exist") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"checkpoint {path} is truncated or not a checkpoint ({reason})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint {path} is not in format {FORMAT} of this version")
    return state


def restore(model: BaseAlgorithm, state: dict[str, Any], path: Path) -> None:
    """Put a checkpoint's content into a freshly built model.

    Raises:
        CheckpointError: The checkpoint does not fit the model; nothing is half restored that a caller would use.
    """
    if state.get("algorithm") != type(model).__name__:
        raise CheckpointError(f"checkpoint {path} is of {state.get('algorithm')}, not {type(model).__name__}")
    try:
        for name, content in state["states"].items():
            _attribute(model, name).load_state_dict(content)
        for name, value in state["plain"].items():
            setattr(model, name, value)
        normalizer = model.get_vec_normalize_env()
        if normalizer is not None:
            _restore_normalization(normalizer, state["normalization"])
    except (SaferlError, RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(f"checkpoint {path} does not fit this configuration ({reason})") from error


def _attribute(model: BaseAlgorithm, dotted: str) -> Any:
    found: Any = model
    for part in dotted.split("."):
        found = getattr(found, part)
    return found


def _normalization(env: VecNormalize | None) -> dict[str, Any] | None:
    if env is None:
        return None
    rms = env.obs_rms
    if not isinstance(rms, RunningMeanStd):
        raise CheckpointError("only Box observations are supported by checkpoints")
    return {
        "obs_mean": th.from_numpy(np.array(rms.mean)), "obs_var": th.from_numpy(np.array(rms.var)),
        "obs_count": float(rms.count), "ret_mean": float(env.ret_rms.mean), "ret_var": float(env.ret_rms.var),
        "ret_count": float(env.ret_rms.count), "returns": th.from_numpy(np.array(env.returns)),
    }  # fmt: skip


def _restore_normalization(env: VecNormalize, content: dict[str, Any]) -> None:
    rms = env.obs_rms
    if content is None or not isinstance(rms, RunningMeanStd):
        raise CheckpointError("the checkpoint has no observation statistics, the configuration asks for them")
    if tuple(content["obs_mean"].shape) != rms.mean.shape:
        raise CheckpointError(f"observation statistics have shape {tuple(content['obs_mean'].shape)}, not {rms.mean.shape}")
    rms.mean, rms.var, rms.count = content["obs_mean"].numpy(), content["obs_var"].numpy(), content["obs_count"]
    env.ret_rms.mean, env.ret_rms.var = np.array(content["ret_mean"]), np.array(content["ret_var"])
    env.ret_rms.count = content["ret_count"]
    returns = content["returns"].numpy()
    if returns.shape == env.returns.shape:
        env.returns = returns.copy()

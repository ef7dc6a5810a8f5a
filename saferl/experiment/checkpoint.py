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

from saferl.algorithms.ppo import check_constraints
from saferl_envs.errors import CheckpointError, SaferlError

FORMAT = 1
_UNREADABLE = (OSError, RuntimeError, EOFError, LookupError, TypeError, ValueError, AttributeError, pickle.UnpicklingError)
"""What `torch.load` raises on damaged files."""
_PLAIN = ("num_timesteps", "_n_updates", "_current_progress_remaining", "_total_timesteps")


def save_checkpoint(model: BaseAlgorithm, path: Path) -> None:
    """Write everything the policy and its training consist of; the old file stays until the new one is complete."""
    modules, _ = model._get_torch_save_params()
    state: dict[str, Any] = {
        "format": FORMAT,
        "algorithm": type(model).__name__,
        "constraints": getattr(model, "constraint_specs", []),
        "states": {name: _attribute(model, name).state_dict() for name in modules},
        "plain": {name: getattr(model, name) for name in _PLAIN},
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
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
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
    modules, _ = model._get_torch_save_params()
    for key, expected in (("states", modules), ("plain", _PLAIN)):
        if not isinstance(state.get(key), dict) or set(state[key]) != set(expected):
            raise CheckpointError(f"checkpoint {path} does not fit: its {key} must be {', '.join(sorted(expected))}")
    if not all(isinstance(value, (int, float)) for value in state["plain"].values()):
        raise CheckpointError(f"checkpoint {path} does not fit: its counters must be numbers")
    try:
        check_constraints(state["constraints"], getattr(model, "constraint_specs", []))
        for name, content in state["states"].items():
            _attribute(model, name).load_state_dict(content)
        for name, value in state["plain"].items():
            setattr(model, name, value)
        normalizer = model.get_vec_normalize_env()
        if normalizer is not None:
            _restore_normalization(normalizer, state["normalization"])
    except (SaferlError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"checkpoint {path} does not fit this configuration ({reason})") from error


def _attribute(model: BaseAlgorithm, dotted: str) -> Any:
    found: Any = model
    for part in dotted.split("."):
        found = getattr(found, part)
    return found


def _normalization(env: VecNormalize | None) -> dict[str, Any] | None:
    if env is None:
        return None
    content: dict[str, Any] = {"return": _moments(env.ret_rms), "returns": th.from_numpy(np.array(env.returns))}
    if env.norm_obs:
        if not isinstance(env.obs_rms, RunningMeanStd):
            raise CheckpointError("only Box observations are supported by checkpoints")
        content["observation"] = _moments(env.obs_rms)
    return content


def _restore_normalization(env: VecNormalize, content: dict[str, Any]) -> None:
    _restore_moments(env.ret_rms, content["return"], "return")
    if env.norm_obs:
        if not isinstance(env.obs_rms, RunningMeanStd) or "observation" not in content:
            raise CheckpointError("the checkpoint has no observation statistics, the configuration asks for them")
        _restore_moments(env.obs_rms, content["observation"], "observation")
    returns = content["returns"].numpy()
    if returns.shape == env.returns.shape:
        env.returns = returns.copy()


def _moments(rms: RunningMeanStd) -> dict[str, Any]:
    return {"mean": th.tensor(rms.mean), "var": th.tensor(rms.var), "count": float(rms.count)}


def _restore_moments(rms: RunningMeanStd, content: dict[str, Any], name: str) -> None:
    if tuple(content["mean"].shape) != np.shape(rms.mean):
        raise CheckpointError(f"{name} statistics have shape {tuple(content['mean'].shape)}, not {np.shape(rms.mean)}")
    rms.mean, rms.var, rms.count = content["mean"].numpy(), content["var"].numpy(), content["count"]

"""Checkpoints as data: tensors and plain values that `torch.load` reads with ``weights_only=True``, so nothing is executed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from saferl.algorithms.constrained import check_constraints
from saferl_envs.errors import CheckpointError, SaferlError

FORMAT = 1
_PLAIN = ("num_timesteps", "_n_updates", "_current_progress_remaining", "_total_timesteps")


def save_checkpoint(model: BaseAlgorithm, path: Path, training: dict[str, Any] | None = None) -> None:
    """Write the policy, its optimisers and normalisation; the old file stays until the new one is complete.

    Args:
        model: What to save.
        path: Where.
        training: What its training needs to go on, from `saferl.experiment.training_state`; None for a policy alone.
    """
    modules, _ = model._get_torch_save_params()
    state: dict[str, Any] = {
        "format": FORMAT,
        "algorithm": type(model).__name__,
        "constraints": getattr(model, "constraint_specs", []),
        "states": {name: _attribute(model, name).state_dict() for name in modules},
        "plain": {name: getattr(model, name) for name in _PLAIN},
        "normalization": _normalization(model.get_vec_normalize_env()),
        "training": training,
    }
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        th.save(state, file)
        file.flush()
        os.fsync(file.fileno())  # or a power failure could leave the new name on an empty file
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
    except Exception as error:  # torch raises almost anything on damaged files
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise CheckpointError(f"checkpoint {path} is truncated or not a checkpoint ({reason})") from error
    # types first: what a damaged file holds in these places may not even be comparable
    if not isinstance(state, dict) or not isinstance(state.get("format"), int) or state["format"] != FORMAT:
        raise CheckpointError(f"checkpoint {path} is not in format {FORMAT} of this version")
    return state


def restore(model: BaseAlgorithm, state: dict[str, Any], path: Path) -> None:
    """Put a checkpoint's content into a freshly built model.

    Raises:
        CheckpointError: The checkpoint does not fit the model; nothing is half restored that a caller would use.
    """
    algorithm = state.get("algorithm")
    if not isinstance(algorithm, str) or algorithm != type(model).__name__:
        raise CheckpointError(f"checkpoint {path} is of {str(algorithm)[:80]!r}, not {type(model).__name__}")
    modules, _ = model._get_torch_save_params()
    for key, expected in (("states", modules), ("plain", _PLAIN)):
        if not isinstance(state.get(key), dict) or set(state[key]) != set(expected):
            raise CheckpointError(f"checkpoint {path} does not fit: its {key} must be {', '.join(sorted(expected))}")
    if not all(isinstance(value, (int, float)) for value in state["plain"].values()):
        raise CheckpointError(f"checkpoint {path} does not fit: its counters must be numbers")
    try:
        check_constraints(state["constraints"], getattr(model, "constraint_specs", []))
        for name, content in state["states"].items():
            part = _attribute(model, name)
            part.load_state_dict(content)
            if isinstance(part, th.optim.Optimizer):
                _require_whole(part, name)
        for name, value in state["plain"].items():
            setattr(model, name, value)
        normalizer = model.get_vec_normalize_env()
        if normalizer is not None:
            _restore_normalization(normalizer, state["normalization"])
    except (SaferlError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"checkpoint {path} does not fit this configuration ({reason})") from error


def _require_whole(optimizer: th.optim.Optimizer, name: str) -> None:
    """Refuse an optimiser state that would fail in the first step of training."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state.get(parameter)
            if state is None:
                continue
            moments = [state[key] for key in ("exp_avg", "exp_avg_sq")]
            if not isinstance(state["step"], th.Tensor) or any(moment.shape != parameter.shape for moment in moments):
                raise CheckpointError(f"the state of {name} does not belong to its parameters")


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
        content["observation"] = {key: _moments(rms) for key, rms in _observation_statistics(env).items()}
    return content


def _observation_statistics(env: VecNormalize) -> dict[str, RunningMeanStd]:
    """Return the statistics by key of a Dict observation, or under an empty key."""
    return env.obs_rms if isinstance(env.obs_rms, dict) else {"": env.obs_rms}


def _restore_normalization(env: VecNormalize, content: dict[str, Any]) -> None:
    _restore_moments(env.ret_rms, content["return"], "return")
    if env.norm_obs:
        if "observation" not in content:
            raise CheckpointError("the checkpoint has no observation statistics, the configuration asks for them")
        for key, rms in _observation_statistics(env).items():
            _restore_moments(rms, content["observation"][key], f"observation {key}".strip())
    returns = content["returns"].numpy()
    if returns.shape == env.returns.shape:
        env.returns = returns.copy()


def _moments(rms: RunningMeanStd) -> dict[str, Any]:
    return {"mean": th.tensor(rms.mean), "var": th.tensor(rms.var), "count": float(rms.count)}


def _restore_moments(rms: RunningMeanStd, content: dict[str, Any], name: str) -> None:
    if tuple(content["mean"].shape) != np.shape(rms.mean):
        raise CheckpointError(f"{name} statistics have shape {tuple(content['mean'].shape)}, not {np.shape(rms.mean)}")
    rms.mean, rms.var, rms.count = content["mean"].numpy(), content["var"].numpy(), content["count"]

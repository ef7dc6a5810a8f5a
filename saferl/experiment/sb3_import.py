"""Policies trained with Stable-Baselines3 elsewhere, made into run folders that can be evaluated under constraints.

An SB3 zip holds tensors and pickles. Only the tensors are read here, with ``weights_only=True``, so a stranger's zip executes
nothing; what the pickles would say (network, environment) comes from a configuration. Observation statistics of
`VecNormalize` exist as a pickle alone: they are loaded only for somebody who says that the file is trusted.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch as th
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from saferl.algorithms.constrained import ConstrainedAlgorithm
from saferl.experiment.build import make_model, make_vec_env
from saferl.experiment.checkpoint import save_checkpoint
from saferl.experiment.config import TrainConfig
from saferl.experiment.run_folder import RunFolder
from saferl_envs.errors import CheckpointError

POLICY = "policy.pth"


def import_sb3(
    config: TrainConfig, archive: Path, run_dir: Path, statistics: Path | None = None, trusted: bool = False
) -> RunFolder:
    """Make a run folder from an SB3 zip of PPO or A2C.

    Args:
        config: Environment, constraints and network of the policy.
        archive: What ``model.save()`` of SB3 wrote.
        run_dir: Folder to make.
        statistics: What ``VecNormalize.save()`` wrote, or None where observations were not normalised.
        trusted: Whether `statistics`, a pickle, may be loaded, which executes whatever is in it.

    Raises:
        CheckpointError: A file is missing, damaged, or does not fit the configuration; or it is a pickle and not trusted.
        ConfigError: The folder is in use.
    """
    if statistics is not None and not trusted:
        raise CheckpointError(
            f"{statistics} is a pickle, which can execute anything when it is loaded; give --trust if you know who made it"
        )
    if not archive.is_file():
        raise CheckpointError(f"{archive} does not exist")
    model = make_model(config, make_vec_env(config))
    normalizer = model.get_vec_normalize_env()
    if (normalizer is not None and normalizer.norm_obs) != (statistics is not None):
        raise CheckpointError(
            "the configuration normalises observations, so the policy's statistics are needed (--vec-normalize FILE), "
            "or say --env.normalize-observation false"
            if statistics is None
            else "the configuration does not normalise observations, but statistics were given"
        )
    _load_policy(model, archive)
    if statistics is not None and normalizer is not None:
        _load_statistics(normalizer, statistics)
    folder = RunFolder.create(run_dir, config)
    try:
        save_checkpoint(model, folder.last)
        folder.seal()
    finally:
        folder.unlock()
    return folder


def _load_policy(model: ConstrainedAlgorithm, archive: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as content:
            weights = th.load(io.BytesIO(content.read(POLICY)), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive may raise anything
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{archive} is not a zip of Stable-Baselines3 with a {POLICY} ({reason})") from error
    try:
        model.policy.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"the policy in {archive} does not fit the configuration's (method.net_arch, activation, environment): {reason}"
        ) from error


def _load_statistics(normalizer: VecNormalize, path: Path) -> None:
    """Take over the observation and return statistics of a pickled `VecNormalize`."""
    try:
        with path.open("rb") as file:
            found: Any = pickle.load(file)
        pairs = [(normalizer.ret_rms, found.ret_rms), (normalizer.obs_rms, found.obs_rms)]
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except Exception as error:  # a pickle may raise anything
        raise CheckpointError(f"{path} is not a saved VecNormalize ({' '.join(str(error).split())[:120]})") from error
    for mine, theirs in pairs:
        if (
            not isinstance(mine, RunningMeanStd)
            or not isinstance(theirs, RunningMeanStd)
            or mine.mean.shape != theirs.mean.shape
        ):
            raise CheckpointError(f"the statistics in {path} are of other observations than the configuration's")
        mine.mean, mine.var, mine.count = theirs.mean, theirs.var, theirs.count
    for key in ("clip_obs", "epsilon"):
        if getattr(found, key) != getattr(normalizer, key):
            raise CheckpointError(f"{path} was made with {key} {getattr(found, key)}; here it is {getattr(normalizer, key)}")

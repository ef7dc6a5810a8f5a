"""A run folder to give away: the policy and what is known of it, without what only its training needed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch as th

from saferl.experiment.checkpoint import read_checkpoint
from saferl.experiment.run_folder import RunFolder
from saferl_envs.errors import CheckpointError

KEPT = ("meta.json", "report.json", "report.md", "disturbances.csv", "rollout.mp4")
"""Beside the configuration and the checkpoint, where they are there."""


def export(run_dir: str | Path, out: str | Path, which: str = "best") -> RunFolder:
    """Copy a run into a new folder of a few hundred kilobytes that plays and evaluates as the run does.

    Left behind: the optimisers' moments, the state of the copies, logs and event files. The result cannot be resumed.

    Args:
        run_dir: The run folder.
        out: Folder to make.
        which: ``best`` or ``last`` checkpoint.

    Raises:
        CheckpointError: The run or its checkpoint is missing or damaged, or `out` holds something already.
    """
    folder = RunFolder.open(run_dir)
    state = read_checkpoint(folder.checkpoint(which))
    folder.config()  # refuses one that was changed after it was sealed
    kept = [folder.path / name for name in KEPT if (folder.path / name).is_file()]
    for file in kept:
        folder.verify(file)
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheckpointError(f"{target} exists and is not an empty folder; name another")
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder.config_file, target / folder.config_file.name)
    for file in kept:
        shutil.copyfile(file, target / file.name)
    made = RunFolder.open(target)
    part = made.last.with_name(made.last.name + ".part")
    th.save(_slim(state), part)
    os.replace(part, made.last)
    made.seal()
    return made


def _slim(state: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint without training state and without optimisers' moments."""
    states = {
        name: {**content, "state": {}} if isinstance(content, dict) and {"state", "param_groups"} <= content.keys() else content
        for name, content in state["states"].items()
    }
    return {**state, "states": states, "training": None}

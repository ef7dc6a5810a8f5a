"""A run folder to give away: the policy and what is known of it, without what only its training needed."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch as th

from saferl.experiment.checkpoint import read_checkpoint
from saferl.experiment.run_folder import RunFolder
from saferl_envs.errors import CheckpointError

REPORT, TABLE = ("report.json", "report.md"), "disturbances.csv"
"""What is known of a policy; copied where it is of the checkpoint that is exported."""


def export(run_dir: str | Path, out: str | Path, which: str = "best") -> tuple[RunFolder, list[str]]:
    """Copy a run into a new folder of a few hundred kilobytes that plays and evaluates as the run does.

    Left behind: the optimisers' moments, the state of the copies, logs, videos and the command line. It cannot be resumed.

    Args:
        run_dir: The run folder.
        out: Folder to make.
        which: ``best`` or ``last`` checkpoint.

    Returns:
        The new folder, and the reports that were left out since they are of another checkpoint.

    Raises:
        CheckpointError: The run or its checkpoint is missing or damaged, or `out` holds something already.
    """
    folder = RunFolder.open(run_dir)
    checkpoint = folder.checkpoint(which)
    state = read_checkpoint(checkpoint)
    folder.config()  # refuses one that was changed after it was sealed
    kept, left_out = _reports(folder, (checkpoint.name, state["plain"]["num_timesteps"]))
    origin = json.loads((folder.path / "meta.json").read_text(encoding="utf-8"))
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheckpointError(f"{target} exists and is not an empty folder; name another")
    target.mkdir(parents=True, exist_ok=True)
    for file in (folder.config_file, *kept):
        shutil.copyfile(file, target / file.name)
    meta = {key: origin[key] for key in ("versions", "commit", "machine") if key in origin}
    meta["exported"] = {
        "checkpoint": checkpoint.name,
        "timesteps": state["plain"]["num_timesteps"],
        "finished": folder.finished,
    }
    (target / "meta.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
    part = target / (checkpoint.name + ".part")
    th.save(_slim(state), part)
    os.replace(part, target / checkpoint.name)
    made = RunFolder.open(target)
    made.seal()
    return made, left_out


def _reports(folder: RunFolder, policy: tuple[str, int]) -> tuple[list[Path], list[str]]:
    """Return the reports on the policy (checkpoint, timesteps), and the names of those on another one."""
    kept: list[Path] = []
    left_out: list[str] = []
    for names in (REPORT, (TABLE,)):
        files = [folder.path / name for name in names if (folder.path / name).is_file()]
        for file in files:
            folder.verify(file)
        if files:
            found = _policy_of(files[0])
            kept += files if found == policy else []
            left_out += [] if found == policy else [file.name for file in files]
    return kept, left_out


def _policy_of(file: Path) -> tuple[Any, Any]:
    """Return the checkpoint and timesteps that a report is on."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".json":
        report = json.loads(text)
        return report.get("checkpoint"), report.get("timesteps")
    row = next(csv.DictReader(text.splitlines()), {})
    return row.get("checkpoint"), int(row.get("timesteps") or -1)


def _slim(state: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint without training state and without optimisers' moments."""
    states = {
        name: {**content, "state": {}} if isinstance(content, dict) and {"state", "param_groups"} <= content.keys() else content
        for name, content in state["states"].items()
    }
    return {**state, "states": states, "training": None}

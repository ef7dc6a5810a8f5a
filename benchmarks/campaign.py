"""Campaigns of trainings that go on where they were killed: run folders are kept, a row is written when a run is judged."""

from __future__ import annotations

import csv
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from saferl.experiment.config import load_config
from saferl.experiment.run_folder import RunFolder

from benchmarks.evidence import append_row, read_rows


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        arm: What the row is called.
        config: A configuration's name.
        seed: Seed of the training.
        steps: Its length.
        options: Further options of the command line.
        evaluations: How often the policy is evaluated during training, evenly spaced, over ten episodes each.
    """

    arm: str
    config: str
    seed: int
    steps: int
    options: tuple[str, ...] = ()
    evaluations: int = 0


def train(job: Job, runs: Path, threads: int = 1) -> Path:
    """Train a run, go on with it where it was killed, or leave it if it has finished; return its folder."""
    path = runs / f"{job.arm}-s{job.seed}"
    own = ["--seed", str(job.seed), "--total-timesteps", str(job.steps), "--threads", str(threads)]
    own += ["--torch-threads", str(threads), "--evaluation.times", str(job.evaluations), "--video.seconds", "0", *job.options]
    own += ["--evaluation.episodes", "10"] if job.evaluations else []
    cli = [sys.executable, "-m", "saferl.cli"]
    if (path / "config.yaml").exists():
        run = RunFolder.open(path)
        if run.config() != load_config(job.config, own):
            raise RuntimeError(f"{path} is of another configuration than {job}; move it away")
        command = None if run.finished else [*cli, "resume", str(path)]
    else:
        command = [*cli, "train", job.config, *own, "--run-dir", str(path), "--quiet"]
    if command is not None:
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)}, stdout=subprocess.DEVNULL)
    return path


def minutes(path: Path) -> float:
    """Return how long a run has trained, kills and resumptions included."""
    with (path / "progress.csv").open() as file:
        # the last row may hold nothing but the step
        elapsed = [float(row["time/time_elapsed"]) for row in csv.DictReader(file) if row["time/time_elapsed"]]
    legs = [before for before, after in itertools.pairwise(elapsed) if after < before]
    return (sum(legs) + elapsed[-1]) / 60


def campaign(topic: str, raw: str, runs: Path, jobs: Sequence[Job], row: Callable[[Path], Mapping[str, Any]]) -> None:
    """Train and judge what has no row yet, two runs at a time; append each row when it is there.

    Args:
        topic: Of the evidence.
        raw: CSV file of the rows.
        runs: Folder of the run folders.
        jobs: What to train.
        row: From a finished run's folder to what its row says.
    """
    done = {(found["arm"], int(found["seed"])) for found in read_rows(topic, raw)}

    one_at_a_time = Lock()  # torch's generator is the process's

    def do(job: Job) -> dict[str, Any]:
        path = train(job, runs)
        commit = json.loads((path / "meta.json").read_text())["commit"]
        found: dict[str, Any] = {"arm": job.arm, "seed": job.seed, "steps": job.steps, "commit": commit}
        with one_at_a_time:
            return found | row(path)

    with ThreadPoolExecutor(max_workers=2) as pool:
        missing = [job for job in jobs if (job.arm, job.seed) not in done]
        failed = []
        for finished in as_completed([pool.submit(do, job) for job in missing]):
            error = finished.exception()
            if error is not None:
                failed.append(error)
                print(f"failed: {error}", flush=True)
                continue
            append_row(topic, raw, finished.result())
            print(", ".join(f"{key} {value}" for key, value in finished.result().items()), flush=True)
    if failed:
        raise failed[0]

"""Trainings on Solo-12 that go on where they were killed, and how their policies are judged: on a grid of commands."""

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
from typing import Any, cast

import numpy as np
import torch as th
from saferl.evaluation.rollout import play
from saferl.experiment.build import load_model, make_copies, predictor, set_threads
from saferl.experiment.callbacks import EVAL_SEED_OFFSET
from saferl.experiment.config import load_config
from saferl.experiment.evaluate import changed
from saferl.experiment.run_folder import RunFolder

from benchmarks.evidence import append_row, folder, read_rows
from saferl_envs.engine import Engine

RUNS = folder("solo12") / "runs"
"""Not in the repository; the rows are."""
GRID = (7, 7, 5)
STEPS = 500
BEST_REWARD = 1.5
"""Of a step: perfect tracking of velocity and turning rate."""
LIMITED = ("torque", "joint_velocity", "joint_acceleration", "action_rate")
HARD = ("knee_contact", "base_contact", "foot_force", "front_hip_pitch", "upside_down")
STYLE = ("hip_roll", "base_orientation", "air_time", "stand_still", "two_feet")
POLICIES = ("deterministic", "stochastic")


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        arm: What the row is called.
        config: A configuration's name.
        seed: Seed of the training.
        steps: Its length.
        options: Further options of the command line.
    """

    arm: str
    config: str
    seed: int
    steps: int
    options: tuple[str, ...] = ()


def train(job: Job, threads: int = 1) -> Path:
    """Train a run, go on with it where it was killed, or leave it if it has finished; return its folder."""
    path = RUNS / f"{job.arm}-s{job.seed}"
    own = ["--seed", str(job.seed), "--total-timesteps", str(job.steps), "--threads", str(threads)]
    own += ["--torch-threads", str(threads), "--evaluation.times", "0", "--video.seconds", "0", *job.options]
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


def judged(path: Path, policy: str, seed: int = 0, **kwargs: Any) -> dict[str, float]:
    """Play one episode of ten seconds per command of the grid, with the training's noise and pushes.

    Args:
        path: The run.
        policy: ``deterministic`` or ``stochastic``.
        seed: Of the evaluation.
        **kwargs: Keyword arguments of the task.

    Returns:
        Tracking reward as a share of its maximum (mean, and mean of the worst tenth of commands), mean errors of velocity
        (m/s) and turning rate (rad/s) while the robot is up, share of falls, and shares of steps that violate: any
        constraint, hard ones (the sum of theirs), the sum over all, and each. One of the commands is to stand.
    """
    run = RunFolder.open(path)
    config = changed(run.config(), {"env": {"kwargs": {"command_grid": list(GRID), **kwargs}}})
    set_threads(config)
    model = load_model(run.config(), run.checkpoint("last"))
    copies = cast(Engine, make_copies(config, int(np.prod(GRID))))
    th.manual_seed(seed)
    act, errors, seen = predictor(model, policy == "deterministic"), np.zeros(2), 0
    steps = np.zeros(copies.num_envs, np.int64)

    def predict(observation: Any) -> Any:
        """Act, and note how far the robots that have just moved are from their commands."""
        nonlocal seen
        moved = copies.steps > steps
        steps[:] = copies.steps
        view = copies.signals.view
        command, turning = view["command"][moved], view["base_angular_velocity"][moved, 2]
        missed = np.linalg.norm(command[:, :2] - view["base_linear_velocity"][moved, :2], axis=1)
        errors[:] += missed.sum(), np.abs(command[:, 2] - turning).sum()
        seen += int(moved.sum())
        return act(observation)

    played = play(copies, predict, 2 * EVAL_SEED_OFFSET + seed)
    # an episode that ends early earns nothing more: its share is that of the whole ten seconds
    tracking = played.returns / (BEST_REWARD * STEPS)
    total = played.lengths.sum()
    rates = {name: float(played.violating_steps[:, c].sum() / total) for c, name in enumerate(copies.constraints.names)}
    return {
        "tracking": float(tracking.mean()),
        "tracking_worst_tenth": float(np.sort(tracking)[: len(tracking) // 10].mean()),
        "velocity_error": float(errors[0] / seen),
        "turning_error": float(errors[1] / seen),
        "fallen": float((played.lengths < STEPS).mean()),
        "any": float(played.any_violating_steps.sum() / total),
        "hard": sum(rates[name] for name in HARD),
        "all": sum(rates.values()),
        **rates,
    }


def campaign(topic: str, raw: str, jobs: Sequence[Job], row: Callable[[Path], Mapping[str, Any]]) -> None:
    """Train and judge what has no row yet, two runs at a time; append each row when it is there."""
    done = {(found["arm"], int(found["seed"])) for found in read_rows(topic, raw)}

    one_at_a_time = Lock()  # torch's generator is the process's

    def do(job: Job) -> dict[str, Any]:
        path = train(job)
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


def both_policies(path: Path) -> dict[str, float]:
    """Return what `judged` finds, for both policies."""
    return {f"{key}_{policy}": round(value, 6) for policy in POLICIES for key, value in judged(path, policy).items()}

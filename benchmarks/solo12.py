"""CaT on Solo-12: walking on flat ground as commanded, judged on a grid of commands."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from saferl.evaluation.rollout import Episodes
from saferl.experiment.build import load_model, make_copies, set_threads
from saferl.experiment.evaluate import changed, play_episodes
from saferl.experiment.run_folder import RunFolder, provenance

from benchmarks.evidence import Claim, append_row, folder, read_rows

TOPIC = "solo12"
FLAT = "flat.csv"
COMMAND = "python scripts/benchmark.py solo12"
QUICK = "python scripts/benchmark.py solo12 --quick"
SEEDS = (0, 1, 2)
STEPS = 20_000_000
GRID = (7, 7, 5)
BEST_REWARD = 1.5
"""Of a step: perfect tracking of velocity and turning rate."""
LIMITED = ("torque", "joint_velocity", "joint_acceleration", "action_rate")
HARD = ("knee_contact", "base_contact", "foot_force", "front_hip_pitch", "upside_down")


def train(name: str, config: str, seed: int, steps: int, options: tuple[str, ...] = ()) -> tuple[Path, float]:
    """Train a run, or go on with it where it was killed; return its folder and the seconds spent now."""
    path = folder(TOPIC) / "runs" / f"{name}-s{seed}"
    cli = [sys.executable, "-m", "saferl.cli"]
    command = [*cli, "resume", str(path)]
    if not path.exists():
        own = ["--seed", str(seed), "--total-timesteps", str(steps), "--run-dir", str(path), "--quiet"]
        command = [*cli, "train", config, *own, "--evaluation.times", "0", "--video.seconds", "0", *options]
    began = time.monotonic()
    subprocess.run(command, check=True, env=dict(os.environ), stdout=subprocess.DEVNULL)
    return path, time.monotonic() - began


def on_the_grid(path: Path, policy: str, seed: int = 0, **kwargs: Any) -> tuple[Episodes, tuple[str, ...]]:
    """Return an episode for each command of the grid, with the training's noise and pushes, and the constraints' names."""
    run = RunFolder.open(path)
    config = run.config()
    set_threads(config)
    here = changed(config, {"env": {"kwargs": {"command_grid": list(GRID), **kwargs}}})
    model = load_model(config, run.checkpoint("last"))
    played = play_episodes(here, model, policy, int(np.prod(GRID)), seed)
    return played, make_copies(here, 1).constraints.names


def judged(path: Path, policy: str) -> dict[str, float]:
    """Return tracking as a share of its maximum, mean and worst tenth of commands, and violation rates per constraint."""
    played, names = on_the_grid(path, policy)
    # an episode that ends early earns nothing more: its share is that of the whole ten seconds
    tracking = played.returns / (BEST_REWARD * 500)
    steps = played.lengths.sum()
    found = {"tracking": float(tracking.mean()), "tracking_worst_tenth": float(np.sort(tracking)[: len(tracking) // 10].mean())}
    found["fallen"] = float((played.lengths < 500).mean())
    rates = {name: float(played.violating_steps[:, c].sum() / steps) for c, name in enumerate(names)}
    hard = [c for c, name in enumerate(names) if name in HARD]
    return {**found, "hard": float(played.violating_steps[:, hard].max(axis=1).sum() / steps), **rates}


def run(quick: bool) -> None:
    """Train and judge what has no row yet. Quick: one seed, 500,000 steps."""
    steps, seeds, raw = (500_000, SEEDS[:1], f"quick_{FLAT}") if quick else (STEPS, SEEDS, FLAT)
    done = {int(row["seed"]) for row in read_rows(TOPIC, raw)}
    for seed in seeds:
        if seed in done:
            continue
        path, seconds = train("quick" if quick else "flat", "cat/solo12_flat", seed, steps)
        row: dict[str, Any] = {"seed": seed, "steps": steps, "seconds": round(seconds, 1)}
        for policy in ("deterministic", "stochastic"):
            row |= {f"{key}_{policy}": round(value, 6) for key, value in judged(path, policy).items()}
        append_row(TOPIC, raw, {**row, "commit": provenance()["commit"]})
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)


def claims() -> list[Claim]:
    """Return the claims that the raw rows support, each of the worst seed."""
    rows = read_rows(TOPIC, FLAT)
    if not rows:
        return []

    def claim(name: str, text: str, target: str, key: str, worst: Any) -> Claim:
        values = [float(row[f"{key}_deterministic"]) for row in rows]
        note = "per seed " + ", ".join(f"{value:.4f}" for value in values)
        return Claim(f"solo12-flat-{name}", f"Solo-12 on flat ground, 7 x 7 x 5 commands, worst seed: {text}", target,
                     worst(values), "1", "deterministic", [int(row["seed"]) for row in rows], COMMAND, QUICK, 75, FLAT,
                     note)  # fmt: skip

    return [
        claim("tracking", "tracking reward, share of its maximum", ">= 0.75", "tracking", min),
        *(claim(name, f"steps violating {name}", "<= 0.02", name, max) for name in LIMITED),
        claim("hard", "steps violating any hard constraint", "<= 0.001", "hard", max),
    ]

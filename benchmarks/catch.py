"""Catch where at most every second ball may be caught: descent-ascent beside ReLOAD, seed by seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from saferl.evaluation.training_curves import draw_runs

from benchmarks.campaign import Job, campaign
from benchmarks.evidence import Claim, folder, read_rows
from benchmarks.optimism import PLAYERS, TITLES, Comparison, keep_curves, kept_curves, metrics

TOPIC = "catch"
RAW, CURVES, PLOT = "rows.csv", "curves.csv", "curves.png"
COMMAND = "python scripts/benchmark.py catch"
QUICK = f"{COMMAND} --quick"
CONFIG, STEPS, SEEDS = "reload/catch_half", 500_000, (0, 1, 2, 3, 4)
NAME, COLUMN, LIMIT = "caught", "caught", 0.05


def row(path: Path) -> dict[str, Any]:
    """Return a run's metrics over its last half, and keep its curves."""
    if not path.name.startswith("quick"):
        keep_curves(TOPIC, CURVES, path, NAME, COLUMN)
    return metrics(path, NAME)


def run(quick: bool) -> None:
    """Train and judge what has no row yet, and draw one seed. Quick: one seed, 100,000 steps."""
    runs = folder(TOPIC) / "runs"
    if quick:
        campaign(TOPIC, f"quick_{RAW}", runs, [_job(f"quick-{p}", p, 0, 100_000) for p in PLAYERS], row)
        return
    campaign(TOPIC, RAW, runs, [_job(f"catch-{p}", p, seed, STEPS) for seed in SEEDS for p in PLAYERS], row)
    first = [f"catch-{p}-s{SEEDS[0]}" for p in PLAYERS]
    drawn = zip(first, TITLES.values(), strict=True)
    draw_runs([kept_curves(TOPIC, CURVES, name, title, NAME, COLUMN, LIMIT) for name, title in drawn], folder(TOPIC) / PLOT)


def _job(name: str, player: str, seed: int, steps: int) -> Job:
    return Job(name, CONFIG, seed, steps, ("--method.optimistic", PLAYERS[player]))


def claims() -> list[Claim]:
    """Return the claims that the raw rows support, of means over seeds."""
    both = Comparison.of(
        read_rows(TOPIC, RAW), "catch", name="catch", seeds=SEEDS, raw=RAW, command=COMMAND, quick=QUICK,
        what="Catch, at most every second ball", minutes=10,
    )  # fmt: skip
    if both is None:
        return []
    return [
        both.ratio("oscillation", "swing of the balls caught per step in the last half", "<= 0.5"),
        both.ratio("violation", "mean excess in the last half", "<= 0.5"),
        both.ratio("distance", "mean distance from the limit in the last half", "<= 0.5"),
        both.difference("reward", "reward per step of the last half (of -0.1 to 0.1)", ">= -0.005"),
    ]

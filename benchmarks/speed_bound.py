"""Bodies that want to run and may on average only do so slowly: descent-ascent beside ReLOAD, seed by seed."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from saferl.evaluation.training_curves import Curves, draw_runs
from saferl.experiment.evaluate import training_curves
from saferl.experiment.run_folder import RunFolder

from benchmarks.campaign import Job, campaign
from benchmarks.evidence import Claim, Row, append_row, folder, read_rows

TOPIC = "speed_bound"
RAW, CURVES, PLOT = "rows.csv", "curves.csv", "curves.png"
COMMAND = "python scripts/benchmark.py speed_bound"
QUICK = f"{COMMAND} --quick"
STEPS, SEEDS = 1_000_000, (0, 1, 2, 3, 4)
NAME = "mean_speed"
PLAYERS = {"gda": "none", "reload": "both"}
TITLES = {"gda": "descent-ascent", "reload": "ReLOAD"}
BOUNDS: dict[str, tuple[str, tuple[float, ...]]] = {
    "halfcheetah": ("HalfCheetah", (1.0, 0.5, 1.5)),
    "hopper": ("Hopper", (0.8,)),
    "walker2d": ("Walker2d", (1.0,)),
}
"""By task its title and its bounds in m/s: first half of what is reached without a bound, for R9 a quarter and three quarters.

Without a bound the last half of a million steps has a mean speed of 2.05, 1.57 and 2.15 m/s on the calibration seed 100.
"""


def arm(task: str, bound: float, players: str) -> str:
    """Return what the rows of an arm are called."""
    return f"{task}-{bound:g}-{players}"


def jobs(seeds: tuple[int, ...]) -> list[Job]:
    """Return the trainings of some seeds."""
    return [
        Job(arm(task, bound, players), f"reload/{task}_speed_bound", seed, STEPS, _options(bound, players))
        for seed in seeds
        for task, (_, bounds) in BOUNDS.items()
        for bound in bounds
        for players in PLAYERS
    ]


def _options(bound: float, players: str) -> tuple[str, ...]:
    return ("--method.optimistic", PLAYERS[players], "--method.cost-limits.mean-speed", f"{bound:g}",
            "--env.cost-limits.mean-speed", f"{bound:g}")  # fmt: skip


def row(path: Path) -> dict[str, Any]:
    """Return a run's metrics over its last half."""
    found = training_curves(RunFolder.open(path)).oscillations()
    metrics = {key: round(value, 6) for key, value in found[NAME].items()}
    return metrics | {"reward": round(found["reward"]["mean"], 6), "reward_swing": round(found["reward"]["oscillation"], 6)}


def row_and_curves(path: Path) -> dict[str, Any]:
    """Return the same, and keep the run's curves."""
    curves = training_curves(RunFolder.open(path))
    if any(point["run"] == path.name for point in read_rows(TOPIC, CURVES)):
        return row(path)  # of a campaign that was killed between the two
    for step, reward, cost, multiplier in zip(
        curves.steps, curves.reward, curves.costs[NAME], curves.multipliers[NAME], strict=True
    ):
        point = {"run": path.name, "steps": int(step), "reward": round(float(reward), 5)}
        append_row(TOPIC, CURVES, point | {"speed": round(float(cost), 5), "multiplier": round(float(multiplier), 5)})
    return row(path)


def run(quick: bool) -> None:
    """Train and judge what has no row yet, and draw one seed. Quick: the half-cheetah, one seed, 100,000 steps."""
    runs = folder(TOPIC) / "runs"
    if quick:
        task = "reload/halfcheetah_speed_bound"
        some = [Job(f"quick-{players}", task, 0, 100_000, _options(1.0, players)) for players in PLAYERS]
        campaign(TOPIC, f"quick_{RAW}", runs, some, row)
        return
    campaign(TOPIC, RAW, runs, jobs(SEEDS), row_and_curves)
    draw_runs([_stored(task, players) for task in BOUNDS for players in PLAYERS], folder(TOPIC) / PLOT)


def _stored(task: str, players: str) -> Curves:
    """Return the curves of one task's first bound and first seed from the raw rows."""
    import numpy as np

    title, bounds = BOUNDS[task]
    name = f"{arm(task, bounds[0], players)}-s{SEEDS[0]}"
    rows = [point for point in read_rows(TOPIC, CURVES) if point["run"] == name]
    steps, reward, speed, multiplier = (
        np.array([float(point[key]) for point in rows]) for key in ("steps", "reward", "speed", "multiplier")
    )
    return Curves(f"{title}, {TITLES[players]}", steps, reward, {NAME: speed}, {NAME: (bounds[0], "<=")}, {NAME: multiplier})


def claims() -> list[Claim]:
    """Return the claims that the raw rows support: ratios of means over seeds, ReLOAD's over descent-ascent's."""
    rows = read_rows(TOPIC, RAW)
    found = []
    for task, (title, bounds) in BOUNDS.items():
        for bound in bounds:
            arms = {players: sorted_rows(rows, arm(task, bound, players)) for players in PLAYERS}
            if all([int(r["seed"]) for r in mine] == list(SEEDS) for mine in arms.values()):
                found += _of(task, title, bound, arms)
    return found


def sorted_rows(rows: list[Row], name: str) -> list[Row]:
    """Return the rows of an arm by seed."""
    return sorted((r for r in rows if r["arm"] == name), key=lambda r: int(r["seed"]))


def _of(task: str, title: str, bound: float, arms: dict[str, list[Row]]) -> list[Claim]:
    def mean(players: str, key: str) -> float:
        return statistics.mean(float(r[key]) for r in arms[players])

    name, what = f"speed-bound-{task}-{bound:g}", f"{title}, mean speed at most {bound:g} m/s"

    def claim(key: str, text: str, target: str) -> Claim:
        per_seed = "; ".join(
            f"{TITLES[players]} {', '.join(f'{float(r[key]):.3f}' for r in mine)}" for players, mine in arms.items()
        )
        ratio = mean("reload", key) / max(mean("gda", key), 1e-9)
        return Claim(f"{name}-{key}", f"{what}: {text}, ReLOAD's over descent-ascent's", target, ratio, "1", "stochastic",
                     list(SEEDS), COMMAND, QUICK, 3 * len(SEEDS), RAW, f"per seed: {per_seed}")  # fmt: skip

    closer = sum(float(r["distance"]) < float(g["distance"]) for r, g in zip(arms["reload"], arms["gda"], strict=True))
    seeds = Claim(f"{name}-seeds", f"{what}: seeds in which ReLOAD is closer to the bound", ">= 4", closer, "seeds",
                  "stochastic", list(SEEDS), COMMAND, QUICK, 3 * len(SEEDS), RAW)  # fmt: skip
    return [
        seeds,
        claim("distance", "mean distance from the bound in the last half", "<= 0.6"),
        claim("oscillation", "swing of the last half", "<= 0.6"),
        claim("violation", "mean excess in the last half", "<= 0.75"),
        claim("reward", "reward of the last half", ">= 0.95"),
    ]

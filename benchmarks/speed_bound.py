"""Bodies that want to run and may on average only do so slowly: descent-ascent beside ReLOAD, seed by seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from saferl.evaluation.training_curves import Curves, draw_runs

from benchmarks.campaign import Job, campaign
from benchmarks.evidence import Claim, folder, read_rows
from benchmarks.optimism import PLAYERS, TITLES, Comparison, keep_curves, kept_curves, metrics

TOPIC = "speed_bound"
RAW, CURVES, PLOT = "rows.csv", "curves.csv", "curves.png"
COMMAND = "python scripts/benchmark.py speed_bound"
QUICK = f"{COMMAND} --quick"
STEPS, SEEDS = 1_000_000, (0, 1, 2, 3, 4)
NAME, COLUMN = "mean_speed", "speed"
BOUNDS: dict[str, tuple[str, tuple[float, ...]]] = {
    "halfcheetah": ("HalfCheetah", (1.0, 0.5, 1.5)),
    "hopper": ("Hopper", (0.8,)),
    "walker2d": ("Walker2d", (1.0,)),
}
"""By task its title and its bounds in m/s: first half of what is reached without a bound, for R9 a quarter and three quarters.

Without a bound the last half of a million steps has a mean speed of 2.05, 1.57 and 2.15 m/s on the calibration seed 100.
"""


def arm(task: str, bound: float) -> str:
    """Return what the rows of a task and bound are called, less the player."""
    return f"{task}-{bound:g}"


def jobs(seeds: tuple[int, ...]) -> list[Job]:
    """Return the trainings of some seeds."""
    return [
        Job(f"{arm(task, bound)}-{player}", f"reload/{task}_speed_bound", seed, STEPS, _options(bound, player))
        for seed in seeds
        for task, (_, bounds) in BOUNDS.items()
        for bound in bounds
        for player in PLAYERS
    ]


def _options(bound: float, player: str) -> tuple[str, ...]:
    return ("--method.optimistic", PLAYERS[player], "--method.cost-limits.mean-speed", f"{bound:g}",
            "--env.cost-limits.mean-speed", f"{bound:g}")  # fmt: skip


def row(path: Path) -> dict[str, Any]:
    """Return a run's metrics over its last half."""
    return metrics(path, NAME)


def row_and_curves(path: Path) -> dict[str, Any]:
    """Return the same, and keep the run's curves."""
    keep_curves(TOPIC, CURVES, path, NAME, COLUMN)
    return row(path)


def run(quick: bool) -> None:
    """Train and judge what has no row yet, and draw one seed. Quick: the half-cheetah, one seed, 100,000 steps."""
    runs = folder(TOPIC) / "runs"
    if quick:
        task = "reload/halfcheetah_speed_bound"
        some = [Job(f"quick-{player}", task, 0, 100_000, _options(1.0, player)) for player in PLAYERS]
        campaign(TOPIC, f"quick_{RAW}", runs, some, row)
        return
    campaign(TOPIC, RAW, runs, jobs(SEEDS), row_and_curves)
    draw_runs([_first(task, player) for task in BOUNDS for player in PLAYERS], folder(TOPIC) / PLOT)


def _first(task: str, player: str) -> Curves:
    """Return the curves of one task's first bound and first seed."""
    title, (bound, *_) = BOUNDS[task]
    name = f"{arm(task, bound)}-{player}-s{SEEDS[0]}"
    return kept_curves(TOPIC, CURVES, name, f"{title}, {TITLES[player]}", NAME, COLUMN, bound)


def claims() -> list[Claim]:
    """Return the claims that the raw rows support: ratios of means over seeds, ReLOAD's over descent-ascent's."""
    rows, found = read_rows(TOPIC, RAW), []
    gaps: dict[str, list[float]] = {}
    for task, (title, bounds) in BOUNDS.items():
        for bound in bounds:
            both = Comparison.of(
                rows, arm(task, bound), name=f"speed-bound-{arm(task, bound)}", seeds=SEEDS, raw=RAW,
                what=f"{title}, mean speed at most {bound:g} m/s", command=COMMAND, quick=QUICK, minutes=90,
            )  # fmt: skip
            if both is not None:
                gaps.setdefault(task, []).append(both.mean("gda", "distance") - both.mean("reload", "distance"))
                found += [
                    both.closer(">= 4"),
                    both.ratio("distance", "mean distance from the bound in the last half", "<= 0.6"),
                    both.ratio("oscillation", "swing of the last half", "<= 0.6"),
                    both.ratio("violation", "mean excess in the last half", "<= 0.75"),
                    both.ratio("reward", "reward of the last half", ">= 0.95"),
                ]
    return found + [_middle(task, gaps[task]) for task in gaps if 1 < len(BOUNDS[task][1]) == len(gaps[task])]


def _middle(task: str, gaps: list[float]) -> Claim:
    """Return the claim that ReLOAD comes closest, beside descent-ascent, at the middle bound, the first of a task's."""
    title, bounds = BOUNDS[task]
    what = f"{title}: by how much closer ReLOAD is at the middle bound, over the largest such gap of the others"
    each = ", ".join(f"{bound:g} m/s {gap:.3f}" for bound, gap in zip(bounds, gaps, strict=True))
    return Claim(f"speed-bound-{task}-middle", what, ">= 1", gaps[0] / max(gaps[1:]), "1", "stochastic", list(SEEDS), COMMAND,
                 QUICK, 90, RAW, f"gaps of the mean distance in m/s: {each}")  # fmt: skip

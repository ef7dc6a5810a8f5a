"""PPO-Lagrangian and PID-Lagrangian on two velocity tasks, a million steps, five seeds, beside published training curves."""

from __future__ import annotations

import statistics
import subprocess
import sys

from saferl.evaluation.statistics import bootstrap_interval

from benchmarks.evidence import Claim, Row, folder, read_rows

TOPIC = "velocity"
RAW = "results.csv"
COMMAND = "python scripts/benchmark.py velocity"
QUICK = "python scripts/benchmark.py velocity --quick"
METHODS = {"ppo_lag": "PPO-Lagrangian", "pid_lag": "PID-Lagrangian"}
TASKS = {"halfcheetah_velocity": ("HalfCheetah", 2250), "hopper_velocity": ("Hopper", 1590)}
"""Name, and the return at 1e6 steps of OmniSafe's PPOLag, read off its published training curve (+-5 %)."""
COST_LIMIT = 25
SEEDS = 5


def run(quick: bool) -> None:
    """Run what is missing of the grid through the command that users have. Quick: the small built-in grid."""
    cli = [sys.executable, "-m", "saferl.cli", "benchmark"]
    if quick:
        subprocess.run([*cli, "quick"], check=True)
        return
    subprocess.run([*cli, "velocity", "--methods", *METHODS, "--out", str(folder(TOPIC))], check=True)


def claims() -> list[Claim]:
    """Return the claims that the raw rows support."""
    rows = read_rows(TOPIC, RAW)
    found = []
    for task, (name, target) in TASKS.items():
        for method, title in METHODS.items():
            mine = [row for row in rows if row["task"] == task and row["method"] == method]
            found += _of(mine, f"{name}, {title}", f"{method}-{name.lower()}", target) if mine else []
    return found


def _of(rows: list[Row], title: str, name: str, target: float) -> list[Claim]:
    seeds = sorted(int(row["seed"]) for row in rows)
    complete = f" Only {len(seeds)} of {SEEDS} seeds." if len(seeds) < SEEDS else ""

    def claim(what: str, text: str, relation: str, column: str, policy: str) -> Claim:
        values = [float(row[column]) for row in rows]
        low, high = bootstrap_interval(values) if len(values) > 1 else (values[0], values[0])
        each = ", ".join(f"{value:.1f}" for value in values)
        note = f"per seed {each}; 95 % interval of the mean [{low:.1f}, {high:.1f}]; last iterate, 100 episodes.{complete}"
        return Claim(f"{name}-{what}-{policy}", f"{title}: {text}", relation, statistics.mean(values), "1", policy, seeds,
                     COMMAND, QUICK, 60, RAW, note)  # fmt: skip

    return [
        claim("cost", "episode cost", f"<= {COST_LIMIT}", "cost_speed_stochastic", "stochastic"),
        claim("cost", "episode cost", f"<= {COST_LIMIT}", "cost_speed_deterministic", "deterministic"),
        claim("return", "return against OmniSafe's PPOLag curve", f">= {target}", "return_stochastic", "stochastic"),
    ]

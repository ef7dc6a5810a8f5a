"""Seven methods on five velocity tasks, a million steps each, beside published training curves."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from saferl.evaluation.statistics import bootstrap_interval

from benchmarks.evidence import Claim, Row, folder, read_rows

TOPIC = "velocity"
RAW = "results.csv"
COMMAND = "python scripts/benchmark.py velocity"
QUICK = "python scripts/benchmark.py velocity --quick"
GRID = Path(__file__).parent / "grids" / "velocity.yaml"
METHODS = {
    "ppo": "PPO",
    "ppo_lag": "PPO-Lagrangian",
    "pid_lag": "PID-Lagrangian",
    "reload": "ReLOAD",
    "cat": "CaT",
    "cpo": "CPO",
    "p3o": "P3O",
}
UNCONSTRAINED = "ppo"
TASKS = {
    "halfcheetah_velocity": ("HalfCheetah", 2250),
    "hopper_velocity": ("Hopper", 1590),
    "swimmer_velocity": ("Swimmer", 53),
    "walker2d_velocity": ("Walker2d", 2250),
    "ant_velocity": ("Ant", 2680),
}
"""Name, and the return at 1e6 steps of OmniSafe's PPOLag, read off its published training curve (+-5 %)."""
SWIMMER_BEST = 91.1
"""The highest published feasible return on the swimmer, at 1e7 steps."""
COST_LIMIT = 25
SEEDS, FIVE, FRESH, FRESHER = (0, 1, 2), (0, 1, 2, 3, 4), (3, 4, 5), (6, 7, 8)
WINS = {
    "halfcheetah_velocity": ("ppo_lag", "pid_lag"),
    "hopper_velocity": ("ppo_lag", "pid_lag"),
    "swimmer_velocity": ("ppo_lag", "reload", "cpo"),
}
"""Methods that get two further seeds on a task, since a win is claimed of them."""
AGAIN = {
    "hopper_velocity": ("reload", "cat", "cpo", "p3o"),
    "walker2d_velocity": ("reload", "cpo", "p3o"),
}
"""Methods whose first configuration was replaced, after rows of it or of others on the body: `first_tries.csv` keeps these."""
ONCE_MORE = {"walker2d_velocity": ("ppo_lag", "pid_lag")}
"""Methods whose second configuration was replaced, too, after its three rows, which `second_tries.csv` keeps."""


def seeds_of(method: str, task: str) -> tuple[int, ...]:
    """Return the seeds of a cell."""
    if method in ONCE_MORE.get(task, ()):
        return FRESHER
    if method in AGAIN.get(task, ()):
        return FRESH
    return FIVE if method in WINS.get(task, ()) else SEEDS


def run(quick: bool) -> None:
    """Run what is missing of the grid through the command that users have. Quick: the small built-in grid."""
    cli = [sys.executable, "-m", "saferl.cli", "benchmark"]
    if quick:
        subprocess.run([*cli, "quick"], check=True)
        return
    for task in TASKS:
        for seeds in (SEEDS, FIVE, FRESH, FRESHER):
            methods = [method for method in METHODS if seeds_of(method, task) == seeds]
            if methods:
                grid = [*cli, str(GRID), "--out", str(folder(TOPIC)), "--tasks", task, "--methods", *methods]
                subprocess.run([*grid, "--seeds", *map(str, seeds)], check=True)


def rows_of(method: str, task: str) -> list[Row]:
    """Return a cell's rows by seed, none while one of its seeds is missing."""
    mine = [row for row in read_rows(TOPIC, RAW) if row["task"] == task and row["method"] == method]
    asked = set(seeds_of(method, task))
    return sorted(mine, key=lambda row: int(row["seed"])) if {int(row["seed"]) for row in mine} == asked else []


def claims() -> list[Claim]:
    """Return the claims that the raw rows support."""
    found = []
    for task, (name, target) in TASKS.items():
        for method, title in METHODS.items():
            mine = rows_of(method, task)
            if mine and method != UNCONSTRAINED:
                found += _of(mine, f"{name}, {title}", f"{method}-{name.lower()}", target)
    for method in WINS["swimmer_velocity"]:
        if mine := rows_of(method, "swimmer_velocity"):
            text = "return against the best published feasible one, at ten times the steps"
            found.append(_claim(mine, f"Swimmer, {METHODS[method]}", f"{method}-swimmer-best", text, f">= {SWIMMER_BEST}",
                                "return_stochastic", "stochastic"))  # fmt: skip
    return found


def _of(rows: list[Row], title: str, name: str, target: float) -> list[Claim]:
    below, least = f"<= {COST_LIMIT}", f">= {target}"
    curve = "return against OmniSafe's PPOLag curve"
    return [
        _claim(rows, title, f"{name}-cost-stochastic", "episode cost", below, "cost_speed_stochastic", "stochastic"),
        _claim(rows, title, f"{name}-cost-deterministic", "episode cost", below, "cost_speed_deterministic", "deterministic"),
        _claim(rows, title, f"{name}-return-stochastic", curve, least, "return_stochastic", "stochastic"),
    ]


def _claim(rows: list[Row], title: str, name: str, text: str, relation: str, column: str, policy: str) -> Claim:
    seeds = [int(row["seed"]) for row in rows]
    values = [float(row[column]) for row in rows]
    low, high = bootstrap_interval(values) if len(values) > 1 else (values[0], values[0])
    each = ", ".join(f"{value:.1f}" for value in values)
    note = f"{title}, {text}: per seed {each}; 95 % interval of the mean [{low:.1f}, {high:.1f}]; last iterate, 100 episodes."
    return Claim(name, f"{title}: {text}", relation, statistics.mean(values), "1", policy, seeds,
                 COMMAND, QUICK, 200, RAW, note)  # fmt: skip


def table() -> list[str]:
    """Return the lines of a Markdown table, methods by tasks: return / cost, means over seeds of the stochastic policy."""
    head = ["", *(f"{name} (>= {target})" for name, target in TASKS.values())]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for method, title in METHODS.items():
        cells = [_cell(rows_of(method, task), target) for task, (_, target) in TASKS.items()]
        lines.append("| " + " | ".join([title, *cells]) + " |")
    limited = [(method, task) for method in METHODS if method != UNCONSTRAINED for task in TASKS]
    held = sum(_cell(rows_of(method, task), TASKS[task][1]).startswith("**") for method, task in limited)
    return [*lines, "", f"{held} of {len(limited)} cells with a limit keep it and reach the curve."]


def _cell(rows: list[Row], target: float) -> str:
    if not rows:
        return "-"
    reward, cost = (statistics.mean(float(row[f"{column}_stochastic"]) for row in rows) for column in ("return", "cost_speed"))
    shown = f"{reward:.0f} / {cost:.1f}"
    return f"**{shown}**" if cost <= COST_LIMIT and reward >= target else shown

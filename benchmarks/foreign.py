"""CaT and PPO-Lagrangian on environments of others, from YAML alone: Gymnasium's CartPole, Gymnasium-Robotics' PointMaze."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.evidence import Claim, read_rows
from benchmarks.runs import missing, train_and_evaluate

TOPIC = "foreign"
RAW = "runs.csv"
COMMAND = "python scripts/benchmark.py foreign"
QUICK = "python scripts/benchmark.py foreign --quick"
HERE = Path(__file__).parent / "foreign_configs"
METHODS = ("ppo", "cat", "ppo_lag")
TASKS = {
    "cartpole_v1": "Gymnasium's CartPole-v1, Discrete actions",
    "point_maze": "Gymnasium-Robotics' PointMaze, Dict observations",
}
SEEDS = (0, 1, 2)
PACKAGES = ("gymnasium-robotics==1.4.2", "pettingzoo>=1.25")


def run(quick: bool) -> None:
    """Train and evaluate what has no row yet. Quick: Gymnasium's, one seed, 20,000 steps."""
    with TemporaryDirectory() as packages:
        tasks = [task for task in TASKS if not (quick and task == "point_maze")]
        if "point_maze" in tasks:
            install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", packages, *PACKAGES]
            subprocess.run(install, check=True)

        def do(config: str, seed: int) -> dict[str, Any]:
            name = config if not config.endswith("point_maze") else str(HERE / f"{config.replace('/', '_')}.yaml")
            environment = python_path(packages) if "point_maze" in config else {}
            report, seconds = train_and_evaluate(name, seed, ["--total-timesteps", "20000"] if quick else [], environment)
            row: dict[str, Any] = {"config": config, "seed": seed, "env_id": report["env_id"]}
            for policy in ("stochastic", "deterministic"):
                row[f"return_{policy}"] = report[policy]["return_mean"]
                row[f"any_violation_{policy}"] = report[policy]["any_violation_rate"]
                found = report[policy]["constraints"].values()
                row[f"cost_{policy}"] = max(constraint["cost_mean"] for constraint in found)
            row["cost_limit"] = min(spec["cost_limit"] for spec in report["constraints"])
            return {**row, "seconds": round(seconds, 1), "commit": report["commit"]}

        seeds = SEEDS[:1] if quick else SEEDS
        jobs = [(f"{method}/{task}", seed) for task in tasks for method in METHODS for seed in seeds]
        missing(TOPIC, f"quick_{RAW}" if quick else RAW, jobs, do)


def python_path(packages: str) -> dict[str, str]:
    """Return the environment of a process that finds the packages, and imports what registers their environments."""
    path = os.pathsep.join([packages, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "SAFERL_BENCHMARK_IMPORTS": "gymnasium_robotics"}


def claims() -> list[Claim]:
    """Return the claims that the raw rows support: the worst seed's cost of each enforcing method, against the limit."""
    rows = read_rows(TOPIC, RAW)
    found = []
    for task, title in TASKS.items():
        free = [float(row["cost_stochastic"]) for row in rows if row["config"] == f"ppo/{task}"]
        for method in METHODS[1:]:
            mine = [row for row in rows if row["config"] == f"{method}/{task}"]
            if not mine or not free:
                continue
            limit = float(mine[0]["cost_limit"])
            costs = [float(row["cost_stochastic"]) for row in mine]
            note = (
                f"costs per seed {', '.join(f'{cost:.2f}' for cost in costs)}; unconstrained PPO's "
                f"{', '.join(f'{cost:.2f}' for cost in free)}"
            )
            found.append(
                Claim(f"foreign-{task}-{method}", f"{title}: {method}, largest mean episode cost of any seed and constraint",
                      f"<= {limit:g}", max(costs), "1", "stochastic", list(SEEDS), COMMAND, QUICK, 20, RAW, note)
            )  # fmt: skip
    return found

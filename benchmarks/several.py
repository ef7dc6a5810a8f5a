"""Three constraints of one task at different limits, all to be held by the last iterate."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from saferl.experiment.evaluate import evaluate

from benchmarks.campaign import Job, campaign
from benchmarks.evidence import Claim, folder, read_rows

TOPIC = "several"
RAW = "rows.csv"
COMMAND = "python scripts/benchmark.py several"
QUICK = f"{COMMAND} --quick"
STEPS, SEEDS, EPISODES = 1_000_000, (3, 4, 5), 100
"""Seeds 0 and 1 were spent on learning rates that stay constant and an inner speed limit of 20 (`rows_constant_rate.csv`): the
stochastic last iterates of PPO-Lagrangian and ReLOAD were too fast on 27 to 41 steps of an episode."""
METHODS = {"ppo": "PPO", "ppo_lag": "PPO-Lagrangian", "reload": "ReLOAD", "pid_lag": "PID-Lagrangian"}
CONFIG = "halfcheetah_three"


def row(path: Path) -> dict[str, Any]:
    """Return the return and every constraint's cost and limit at the last iterate, for both policies."""
    report = evaluate(path, episodes=EPISODES, which="last")
    found: dict[str, Any] = {}
    for policy in ("deterministic", "stochastic"):
        found[f"return_{policy}"] = round(report[policy]["return_mean"], 3)
        for name, constraint in report[policy]["constraints"].items():
            found[f"{name}_{policy}"] = round(constraint["cost_mean"], 5)
    return found | {f"limit_{spec['name']}": spec["cost_limit"] for spec in report["constraints"]}


def run(quick: bool) -> None:
    """Train and judge what has no row yet. Quick: PPO and ReLOAD, one seed, 100,000 steps."""
    runs = folder(TOPIC) / "runs"
    if quick:
        jobs = [Job(f"quick_{method}", f"{method}/{CONFIG}", 0, 100_000) for method in ("ppo", "reload")]
        campaign(TOPIC, f"quick_{RAW}", runs, jobs, row)
        return
    campaign(TOPIC, RAW, runs, [Job(m, f"{m}/{CONFIG}", seed, STEPS) for seed in SEEDS for m in METHODS], row)


def claims() -> list[Claim]:
    """Return the claims that the raw rows support: means over seeds, of the stochastic policy that was trained."""
    rows = read_rows(TOPIC, RAW)
    found = []
    for method, title in METHODS.items():
        mine = [r for r in rows if r["arm"] == method]
        if sorted(int(r["seed"]) for r in mine) != list(SEEDS):
            continue
        names = [key.removeprefix("limit_") for key in mine[0] if key.startswith("limit_")]
        reward = statistics.mean(float(r["return_stochastic"]) for r in mine)
        for name in names:
            costs = [float(r[f"{name}_stochastic"]) for r in mine]
            note = (
                f"per seed {', '.join(f'{cost:.4g}' for cost in costs)}; return {reward:.0f}; last iterate, {EPISODES} episodes"
            )
            what = "reported, no target" if method == "ppo" else "limit"
            limit = float(mine[0][f"limit_{name}"])
            found.append(
                Claim(f"several-{method.replace('_', '-')}-{name.replace('_', '-')}",
                      f"HalfCheetah under three constraints, {title}: cost of {name} ({what} {limit:g})",
                      ">= 0" if method == "ppo" else f"<= {limit:g}", statistics.mean(costs), "1", "stochastic", list(SEEDS),
                      COMMAND, QUICK, 30, RAW, note)
            )  # fmt: skip
    return found

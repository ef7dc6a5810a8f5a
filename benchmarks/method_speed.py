"""What each method costs in wall time: HalfCheetah velocity, one set of batch sizes and networks, in turn, nothing beside."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.evidence import Claim, append_row, read_rows

TOPIC = "method_speed"
RAW = "rates.csv"
COMMAND = "python scripts/benchmark.py method_speed"
QUICK = f"{COMMAND} --quick"
METHODS = ("ppo", "cat", "ppo_lag", "pid_lag", "reload", "fixed_lag", "cpo", "crpo", "p3o", "focops", "penalty")
SHARED = ("--method.n-steps", "64", "--method.batch-size", "1024", "--method.n-epochs", "5", "--env.num-envs", "64")
STEPS, ROUNDS = 120_000, 3


def training_rate(method: str, steps: int) -> float:
    """Return training steps per second through the command line."""
    with TemporaryDirectory() as root:
        options = [*SHARED, "--method.net-arch", "[64, 64]", "--method.name", method, "--total-timesteps", str(steps)]
        quiet = ["--video.seconds", "0", "--evaluation.times", "0", "--evaluation.episodes", "1"]
        path = Path(root) / "run"
        command = [sys.executable, "-m", "saferl.cli", "train", "ppo/halfcheetah_velocity", "--run-dir", str(path)]
        environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
        result = subprocess.run([*command, *options, *quiet], capture_output=True, text=True, check=True, env=environment)
    line = next(text for text in result.stdout.splitlines() if text.startswith("trained "))
    return float(line.replace(",", "").split("(")[1].split()[0])


def run(quick: bool) -> None:
    """Measure every method in turn, round after round. Quick: one round of short trainings."""
    rounds, steps, raw = (1, 20_000, f"quick_{RAW}") if quick else (ROUNDS, STEPS, RAW)
    done = {(row["method"], int(row["round"])) for row in read_rows(TOPIC, raw)}
    for r in range(rounds):
        for method in METHODS:
            if (method, r) not in done:
                append_row(TOPIC, raw, {"method": method, "round": r, "steps_per_s": training_rate(method, steps)})
        print(f"round {r + 1} of {rounds}", flush=True)


def claims() -> list[Claim]:
    """Return the claims that the raw rows support: medians over rounds of ratios within a round."""
    rates = {(row["method"], int(row["round"])): float(row["steps_per_s"]) for row in read_rows(TOPIC, RAW)}
    if len(rates) < len(METHODS) * ROUNDS:
        return []

    def ratio(method: str, other: str) -> float:
        return statistics.median(rates[method, r] / rates[other, r] for r in range(ROUNDS))

    middle = ", ".join(f"{m} {statistics.median(rates[m, r] for r in range(ROUNDS)):,.0f}" for m in METHODS)
    note = f"steps/s, medians: {middle}"

    def claim(name: str, text: str, target: str, measured: float) -> Claim:
        return Claim(f"method-speed-{name}", text, target, measured, "1", "none", [0], COMMAND, QUICK, 10, RAW, note)

    found = [claim("reload-ppo-lag", "ReLOAD's training time over PPO-Lagrangian's", "<= 1.3", ratio("ppo_lag", "reload"))]
    for method in METHODS[1:]:
        text = f"training rate of {method}, share of PPO's (reported, no target)"
        found.append(claim(method.replace("_", "-"), text, "> 0", ratio(method, "ppo")))
    return found

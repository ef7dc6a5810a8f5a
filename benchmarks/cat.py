"""CaT on HalfCheetah under twelve limits, against PPO, hard early termination and fixed p_max (cat.md A4, A5, A6, A8)."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.evidence import Claim, append_row, read_rows

TOPIC = "cat"
RAW = "halfcheetah_limits.csv"
OVERHEAD = "overhead.csv"
SEEDS = (0, 1, 2, 3, 4)
STEPS = 1_000_000
COMMAND = "python scripts/benchmark.py cat"
QUICK = "python scripts/benchmark.py cat --quick"

ARMS: dict[str, tuple[str, list[str]]] = {
    "ppo": ("ppo/halfcheetah_limits", []),
    "cat": ("cat/halfcheetah_limits", []),
    "cat_fixed_0.25": ("cat/halfcheetah_limits", ["--method.p-start", "0.25"]),
    "cat_fixed_1.0": ("cat/halfcheetah_limits", ["--method.p-start", "1.0", "--method.p-max", "1.0"]),
    "early_termination": (
        "cat/halfcheetah_limits",
        ["--method.p-start", "1.0", "--method.p-max", "1.0", "--method.min-p", "1.0"],
    ),
}


def train_and_evaluate(arm: str, seed: int, steps: int) -> dict[str, object]:
    """Train one run in a process of its own, one thread, and return its row: the last policy on 100 episodes."""
    config, options = ARMS[arm]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with TemporaryDirectory() as root:
        run = Path(root) / "run"
        cli = [sys.executable, "-m", "saferl.cli"]
        quiet = ["--quiet", "--threads", "1", "--video.seconds", "0", "--evaluation.times", "0"]
        train = [*cli, "train", config, "--seed", str(seed), "--total-timesteps", str(steps), "--run-dir", str(run)]
        began = time.monotonic()
        subprocess.run([*train, *quiet, *options], check=True, env=environment, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - began
        evaluate = [*cli, "evaluate", str(run), "--checkpoint", "last"]
        subprocess.run(evaluate, check=True, env=environment, stdout=subprocess.DEVNULL)
        report = json.loads((run / "report.json").read_text())
    row: dict[str, object] = {"arm": arm, "seed": seed, "steps": report["timesteps"], "seconds": round(seconds, 1)}
    for policy in ("deterministic", "stochastic"):
        found = report[policy]
        row[f"any_violation_{policy}"] = found["any_violation_rate"]
        row[f"speed_{policy}"] = found["speed_mean"]
        row[f"joint_speed_violation_{policy}"] = found["constraints"]["joint_speed"]["violation_rate"]
        row[f"action_rate_violation_{policy}"] = found["constraints"]["action_rate"]["violation_rate"]
    return {**row, "episodes": report["episodes"], "commit": report["commit"]}


def run(quick: bool) -> None:
    """Run what is missing of the grid, two runs at a time, then the overhead profile. Quick: two arms, one seed, 200k."""
    steps, seeds, arms = (200_000, (0,), ("ppo", "cat")) if quick else (STEPS, SEEDS, tuple(ARMS))
    raw = f"quick_{RAW}" if quick else RAW
    done = {(row["arm"], int(row["seed"])) for row in read_rows(TOPIC, raw)}
    todo = [(arm, seed) for seed in seeds for arm in arms if (arm, seed) not in done]
    with ThreadPoolExecutor(max_workers=2) as pool:
        for job in as_completed(pool.submit(train_and_evaluate, *job, steps) for job in todo):
            row = job.result()
            append_row(TOPIC, raw, row)
            print(f"{row['arm']} seed {row['seed']}: {row['seconds']} s", flush=True)
    if not quick and not read_rows(TOPIC, OVERHEAD):
        append_row(TOPIC, OVERHEAD, measure_overhead())


class ExclusiveTimer:
    """Times functions without what other timed functions take inside of them."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._stack: list[str] = []
        self._mark = 0.0

    def wrap(self, owner: object, name: str, key: str) -> None:
        """Replace a function of `owner` by one that is timed under `key`."""
        function = getattr(owner, name)

        def timed(*args: object, **kwargs: object) -> object:
            self._turn(key)
            try:
                return function(*args, **kwargs)
            finally:
                self._turn(None)

        setattr(owner, name, timed)

    def _turn(self, entered: str | None) -> None:
        now = time.perf_counter()
        if self._stack:
            self.spent[self._stack[-1]] += now - self._mark
        if entered is None:
            self._stack.pop()
        else:
            self._stack.append(entered)
        self._mark = now


def measure_overhead(steps: int = 300_000) -> dict[str, object]:
    """Return the share of training wall time in all code that CaT needs beside SB3's PPO and the environment.

    That is delta, running maxima, scaled rewards, recording values and costs, fractional returns, and their logging. SB3's own
    computation of returns is inside of it too, so the share is an upper bound.
    """
    import torch
    from saferl.experiment.build import make_model, make_vec_env
    from saferl.experiment.config import load_config
    from stable_baselines3.common.buffers import RolloutBuffer

    torch.set_num_threads(1)
    config = load_config("cat/halfcheetah_limits")
    model: Any = make_model(config, make_vec_env(config))
    model.learn(8192)
    timer = ExclusiveTimer()
    timer.wrap(model.rollout_buffer, "method", "continuation")
    timer.wrap(RolloutBuffer, "add", "sb3_add")
    timer.wrap(model.rollout_buffer, "add", "recording")
    timer.wrap(model.rollout_buffer, "compute_returns_and_advantage", "returns")
    timer.wrap(model, "_log_constraints", "logging")
    timer.wrap(model.env.venv, "step_wait", "environment")
    timer.wrap(model.env, "step_wait", "recorder")
    began = time.perf_counter()
    model.learn(steps)
    total = time.perf_counter() - began
    ours = {key: timer.spent[key] / total for key in ("continuation", "recording", "returns", "logging", "recorder")}
    row: dict[str, object] = {"steps": steps, "total_s": round(total, 2)}
    return {**row, **{key: round(value, 6) for key, value in ours.items()}, "share": round(sum(ours.values()), 6)}


def claims() -> list[Claim]:
    """Return the claims that the raw rows support."""
    rows = read_rows(TOPIC, RAW)
    by_arm = {arm: [r for r in rows if r["arm"] == arm] for arm in ARMS}

    def column(arm: str, name: str) -> list[float]:
        return [float(r[name]) for r in by_arm[arm]]

    def claim(name: str, text: str, target: str, measured: float, unit: str, policy: str, note: str = "") -> Claim:
        return Claim(name, text, target, measured, unit, policy, list(SEEDS), COMMAND, QUICK, 30, RAW, note)

    det, sto = "deterministic", "stochastic"
    worst = {p: 100 * max(column("cat", f"any_violation_{p}")) for p in (det, sto)}
    least = 100 * min(column("ppo", f"any_violation_{det}"))
    speed = {arm: statistics.median(column(arm, f"speed_{det}")) for arm in ARMS}
    fixed = ("cat_fixed_0.25", "cat_fixed_1.0")
    against_early = speed["cat"] / max(speed["early_termination"], 1e-9)
    against_fixed = speed["cat"] / max(speed[arm] for arm in fixed)
    speeds = "median speeds in m/s: " + ", ".join(f"{arm} {speed[arm]:.2f}" for arm in ARMS)
    violations = "any violation, worst seed, stochastic: " + ", ".join(
        f"{arm} {100 * max(column(arm, f'any_violation_{sto}')):.2f} %" for arm in ARMS
    )
    adherence, early = "CaT: steps with any violation, worst seed", "CaT: median speed over early termination's"
    found = [
        claim("cat-adherence-deterministic", adherence, "<= 2", worst[det], "%", det),
        claim(
            "cat-adherence-stochastic", "CaT: steps with any violation, worst seed", "<= 5", worst[sto], "%", sto, violations
        ),
        claim("ppo-violates", "unconstrained PPO: steps with any violation, least of 5 seeds", ">= 80", least, "%", det),
        claim("cat-over-early-termination", early, ">= 2", against_early, "1", det, speeds),
        claim("cat-curriculum", "CaT: median speed over the better fixed p_max's", ">= 1", against_fixed, "1", det, speeds),
    ]
    overhead = read_rows(TOPIC, OVERHEAD)
    if overhead:
        found.append(
            Claim(
                "cat-overhead", "CaT's share of training wall time", "< 3", 100 * float(overhead[0]["share"]), "%", "none", [0],
                COMMAND, QUICK, 30, OVERHEAD,
            )
        )  # fmt: skip
    return found

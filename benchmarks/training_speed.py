"""Training speed and what it brings: our PPO against Stable-Baselines3's defaults on HalfCheetah, 64-64 networks, 1e6 steps.

Returns come from whole trainings, which may run side by side with one thread each. Rates come from short trainings that take
turns on the otherwise idle machine, each way with the threads it uses by itself.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.evidence import Claim, append_row, read_rows

TOPIC = "training_speed"
RETURNS = "returns.csv"
RATES = "rates.csv"
SEEDS = (0, 1, 2)
STEPS = 1_000_000
CONFIG = "ppo/halfcheetah_velocity"
GYMNASIUM_ID = "HalfCheetah-v4"
COMMAND = "python scripts/benchmark.py training_speed"
QUICK = "python scripts/benchmark.py training_speed --quick"

SB3_SCRIPT = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
import gymnasium, numpy as np
from stable_baselines3 import PPO
steps, seed, episodes = (int(word) for word in sys.argv[1:4])
model = PPO("MlpPolicy", "HalfCheetah-v4", seed=seed, device="cpu")
began = time.perf_counter()
model.learn(steps)
seconds = time.perf_counter() - began
found = {}
if episodes:
    from saferl.evaluation.rollout import play
    from saferl_envs.engine import Engine
    from saferl_envs.tasks import make_task
    engine = Engine(make_task("saferl/HalfCheetahVelocity-v0"), episodes)
    for name, deterministic in (("deterministic", True), ("stochastic", False)):
        predict = lambda seen: model.predict(seen, deterministic=deterministic)[0]
        found["return_" + name] = float(play(engine, predict, 2_000_000).returns.mean())
print(json.dumps({"steps": model.num_timesteps, "seconds": seconds, **found}))
"""


def sb3(steps: int, seed: int, episodes: int, environment: dict[str, str]) -> dict[str, Any]:
    """Train SB3's PPO with its defaults (one environment in a DummyVecEnv) in a process of its own."""
    command = [sys.executable, "-c", SB3_SCRIPT, str(steps), str(seed), str(episodes)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return found


def ours(steps: int, seed: int, episodes: int, environment: dict[str, str], threads: int) -> dict[str, Any]:
    """Train our PPO through the command line in a process of its own, as a user does."""
    with TemporaryDirectory() as root:
        run = Path(root) / "run"
        cli = [sys.executable, "-m", "saferl.cli"]
        options = ["--seed", str(seed), "--total-timesteps", str(steps), "--threads", str(threads), "--run-dir", str(run)]
        quiet = ["--video.seconds", "0", "--evaluation.times", "0", "--evaluation.episodes", "1"]
        result = subprocess.run(
            [*cli, "train", CONFIG, *options, *quiet], capture_output=True, text=True, check=True, env=environment
        )
        line = next(text for text in result.stdout.splitlines() if text.startswith("trained "))
        words = line.replace(",", "").split()
        found: dict[str, Any] = {"steps": int(words[1]), "seconds": int(words[1]) / float(words[6].strip("("))}
        if episodes:
            evaluate = [*cli, "evaluate", str(run), "--checkpoint", "last", "--episodes", str(episodes)]
            subprocess.run(evaluate, check=True, env=environment, stdout=subprocess.DEVNULL)
            report = json.loads((run / "report.json").read_text())
            found |= {f"return_{policy}": report[policy]["return_mean"] for policy in ("deterministic", "stochastic")}
    return found


def run(quick: bool) -> None:
    """Measure the rates in turn, then train what is missing of the returns."""
    rounds, steps = (1, 15_000) if quick else (5, 30_000)
    rates = f"quick_{RATES}" if quick else RATES
    for r in range(len(read_rows(TOPIC, rates)), rounds):
        environment = dict(os.environ)
        # as each way runs by itself: ours sets its own waiting policy, SB3 knows none
        for key in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS"):
            environment.pop(key, None)
        a, b = ours(8 * steps, r, 0, environment, 0), sb3(steps, r, 0, environment)
        rate_a, rate_b = a["steps"] / a["seconds"], b["steps"] / b["seconds"]
        append_row(TOPIC, rates, {"round": r, "saferl": round(rate_a, 1), "sb3": round(rate_b, 1)})
        print(f"round {r + 1} of {rounds}: saferl {rate_a:,.0f}, sb3 {rate_b:,.0f} steps/s", flush=True)
    if not quick:
        for arm in ("saferl", "sb3"):
            train_missing(arm)


def train_missing(arm: str) -> None:
    """Train the seeds of one arm that have no row yet, one after the other, one thread each."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for seed in SEEDS:
        if any(row["arm"] == arm and int(row["seed"]) == seed for row in read_rows(TOPIC, RETURNS)):
            continue
        began = time.monotonic()
        found = ours(STEPS, seed, 100, environment, 1) if arm == "saferl" else sb3(STEPS, seed, 100, environment)
        row = {"arm": arm, "seed": seed, **{k: round(v, 1) for k, v in found.items()}}
        append_row(TOPIC, RETURNS, row)
        print(f"{arm} seed {seed}: {time.monotonic() - began:.0f} s", flush=True)


def claims() -> list[Claim]:
    """Return the claims that the raw rows support."""
    ratios = [float(row["saferl"]) / float(row["sb3"]) for row in read_rows(TOPIC, RATES)]
    rows = read_rows(TOPIC, RETURNS)
    means = {
        (arm, policy): statistics.mean(float(r[f"return_{policy}"]) for r in rows if r["arm"] == arm)
        for arm in ("saferl", "sb3")
        for policy in ("deterministic", "stochastic")
    }
    each = {key: ", ".join(f"{float(r[f'return_{key[1]}']):.0f}" for r in rows if r["arm"] == key[0]) for key in means}
    note = "returns per seed: " + "; ".join(f"{arm} {policy} {found}" for (arm, policy), found in each.items())
    text = "HalfCheetah, 64-64 network: training steps per second over SB3 PPO's defaults on DummyVecEnv"
    found = [
        Claim("training-rate", text, ">= 8", statistics.median(ratios), "1", "none", list(range(5)), COMMAND, QUICK, 70, RATES)
    ]
    for policy in ("deterministic", "stochastic"):
        gain = means["saferl", policy] - means["sb3", policy]
        text = "mean return at 1e6 steps minus that of SB3's defaults"
        name = f"training-return-{policy}"
        found.append(Claim(name, text, ">= 0", gain, "1", policy, list(SEEDS), COMMAND, QUICK, 70, RETURNS, note))
    return found

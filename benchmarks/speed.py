"""Simulation speed through the Gymnasium vector face, as ratios measured in one run on one machine.

Every way is timed in turn, round after round, so that a change of the machine's speed hits all of them; the median over
rounds is reported. ``envpool`` is compared where it is installed (it is not a dependency; ``--envpool PYTHON`` names an
interpreter that has it).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import mujoco.batch
import numpy as np
from gymnasium.vector import AutoresetMode

from benchmarks.evidence import Claim, append_row, read_rows

TOPIC = "speed"
RAW = "rates.csv"
COMMAND = "python scripts/benchmark.py speed"
QUICK = "python scripts/benchmark.py speed --quick"
BODIES = {"HalfCheetah": ("saferl/HalfCheetahVelocity-v0", "HalfCheetah-v4"), "Ant": ("saferl/AntVelocity-v0", "Ant-v4")}
WORKERS = (2, 4, 8)
COPIES = (64, 256)
SCALING = (128, 1024)
ENVPOOL = os.environ.get("SAFERL_ENVPOOL_PYTHON", "")

Step = Callable[[], int]
"""Advance once; return how many control steps that was."""


def vector_step(env_id: str, copies: int) -> Step:
    """Our vector environment with random actions, two threads, resets included."""
    env = gymnasium.make_vec(env_id, num_envs=copies, threads=2, autoreset_mode=AutoresetMode.SAME_STEP)
    env.reset(seed=0)
    actions = _actions(copies, env.single_action_space.shape[0])
    turn = iter(range(10**9))

    def step() -> int:
        env.step(actions[next(turn) % len(actions)])
        return copies

    return step


def bare_step(env_id: str, copies: int) -> Step:
    """The bare `mujoco.batch` loop on the same model and states: write controls, step, nothing else.

    Terminal states are reset by the environment that owns the batch, here never; a fallen ant costs no less to simulate.
    """
    env: Any = gymnasium.make_vec(env_id, num_envs=copies, threads=2).unwrapped
    simulation = env.engine.simulation
    batch = mujoco.batch.Batch(simulation.model, copies, 2)
    np.copyto(batch.state, simulation.batch.state)
    start = batch.state.copy()
    control, substeps = batch.bind("ctrl"), simulation.substeps
    actions = _actions(copies, env.single_action_space.shape[0])
    turn = iter(range(10**9))

    def step() -> int:
        t = next(turn)
        if t % 100 == 0:
            np.copyto(batch.state, start)
        control[:] = actions[t % len(actions)]
        batch.step(nstep=substeps)
        return copies

    return step


def sb3_step(env_id: str, workers: int, subprocesses: bool) -> Step:
    """Gymnasium's own environment in SB3's DummyVecEnv or SubprocVecEnv."""
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

    makers = [partial(gymnasium.make, env_id) for _ in range(workers)]
    env = SubprocVecEnv(makers) if subprocesses else DummyVecEnv(makers)
    env.reset()
    actions = _actions(workers, int(np.prod(env.action_space.shape or ())))
    turn = iter(range(10**9))

    def step() -> int:
        env.step(actions[next(turn) % len(actions)])
        return workers

    return step


def _actions(copies: int, width: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).uniform(-1, 1, (64, copies, width)).astype(np.float32)


def rate(step: Step, seconds: float) -> float:
    """Return control steps per second over about `seconds`."""
    total, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        total += step()
    return total / elapsed


def ways(body: str) -> dict[str, Step]:
    """Return everything that is timed for one body."""
    ours, theirs = BODIES[body]
    found: dict[str, Step] = {}
    for copies in sorted({*COPIES, *SCALING}):
        found[f"saferl {copies}"] = vector_step(ours, copies)
    for copies in COPIES:
        found[f"bare {copies}"] = bare_step(ours, copies)
    found["dummy 16"] = sb3_step(theirs, 16, subprocesses=False)
    for workers in WORKERS:
        found[f"subproc {workers}"] = sb3_step(theirs, workers, subprocesses=True)
    return found


ENVPOOL_SCRIPT = """
import json, sys, time, numpy as np, envpool
task, copies, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
env = envpool.make(task, env_type="gymnasium", num_envs=copies, num_threads=2)
env.reset()
actions = np.random.default_rng(0).uniform(-1, 1, (64, copies, env.action_space.shape[0]))
total, t, began = 0, 0, time.perf_counter()
while time.perf_counter() - began < seconds:
    env.step(actions[t % 64]); t += 1; total += copies
print(json.dumps(total / (time.perf_counter() - began)))
"""


def envpool_rate(body: str, seconds: float) -> float | None:
    """Return envpool's rate at 64 copies and 2 threads, or None where no interpreter with it is given."""
    if not ENVPOOL:
        return None
    command = [ENVPOOL, "-c", ENVPOOL_SCRIPT, BODIES[body][1], "64", str(seconds)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(result.stdout.strip().splitlines()[-1]))


def run(quick: bool) -> None:
    """Time everything in turn, round after round."""
    warnings.filterwarnings("ignore")
    rounds, seconds, raw = (2, 0.5, f"quick_{RAW}") if quick else (7, 1.5, RAW)
    done = len({(row["body"], row["round"]) for row in read_rows(TOPIC, raw)}) // len(BODIES)
    for body in BODIES:
        timed = ways(body)
        for step in timed.values():
            rate(step, 0.3)
        for r in range(done, rounds):
            for name, step in timed.items():
                append_row(TOPIC, raw, {"body": body, "round": r, "way": name, "steps_per_s": round(rate(step, seconds), 1)})
            pooled = envpool_rate(body, seconds)
            if pooled is not None:
                append_row(TOPIC, raw, {"body": body, "round": r, "way": "envpool 64", "steps_per_s": round(pooled, 1)})
            print(f"{body}: round {r + 1} of {rounds}", flush=True)


def claims() -> list[Claim]:
    """Return the claims that the raw rows support; each ratio is the median over rounds of that round's ratio."""
    rows = read_rows(TOPIC, RAW)
    rates: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        rates.setdefault(row["body"], {}).setdefault(row["round"], {})[row["way"]] = float(row["steps_per_s"])
    found = []
    for body, by_round in rates.items():
        short = body.lower()

        def claim(name: str, text: str, target: str, ratio: Callable[[dict[str, float]], float], body: str = body) -> Claim:
            measured = statistics.median(ratio(r) for r in rates[body].values())
            medians = {way: statistics.median(r[way] for r in rates[body].values()) for way in next(iter(rates[body].values()))}
            note = "median steps/s: " + ", ".join(f"{way} {value:,.0f}" for way, value in medians.items())
            return Claim(name, f"{body}: {text}", target, measured, "1", "random", [0], COMMAND, QUICK, 8, RAW, note)

        def subproc(r: dict[str, float]) -> float:
            return max(r[f"subproc {w}"] for w in WORKERS)

        over_dummy, over_subproc = ("2.2", "4") if body == "HalfCheetah" else ("2", "2")
        for copies, share in zip(COPIES, ("0.80", "0.88"), strict=True):
            ours, bare = f"saferl {copies}", f"bare {copies}"
            text = f"share of the bare mujoco.batch loop, {copies} copies, 2 threads"
            found.append(claim(f"{short}-bare-{copies}", text, f">= {share}", lambda r, a=ours, b=bare: r[a] / r[b]))
        for copies in COPIES:
            ours = f"saferl {copies}"
            text = f"{copies} copies over DummyVecEnv of Gymnasium's own"
            found.append(claim(f"{short}-dummy-{copies}", text, f">= {over_dummy}", lambda r, a=ours: r[a] / r["dummy 16"]))
            text = f"{copies} copies over SubprocVecEnv at its best of {WORKERS} workers"
            found.append(claim(f"{short}-subproc-{copies}", text, f">= {over_subproc}", lambda r, a=ours: r[a] / subproc(r)))
        if all("envpool 64" in r for r in by_round.values()):
            text = "64 copies over envpool, 64 copies, 2 threads"
            found.append(claim(f"{short}-envpool", text, "> 1", lambda r: r["saferl 64"] / r["envpool 64"]))
        small, large = (f"saferl {n}" for n in SCALING)
        text = f"cost per step, change from {SCALING[0]} to {SCALING[1]} copies"
        found.append(claim(f"{short}-scaling", text, "<= 0.15", lambda r, a=small, b=large: abs(r[a] / r[b] - 1)))
    return found

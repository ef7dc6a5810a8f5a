"""Simulation speed through the Gymnasium vector face, as ratios measured in one run on one machine.

The ways take turns in slices of a quarter of a second, so that a change of the machine's speed hits all of them; the median
over rounds is reported. ``envpool`` is compared where ``SAFERL_ENVPOOL_PYTHON`` names an interpreter that has it; it is no
dependency.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Way:
    """One way to simulate: `step` advances once and returns how many control steps that was; `begin` precedes a slice."""

    step: Callable[[], int]
    begin: Callable[[], None] = lambda: None


def our_way(env: Any, copies: int) -> Way:
    """Our vector environment with random actions, two threads, resets included."""
    actions = _actions(copies, env.single_action_space.shape[0])
    turn = iter(range(10**9))

    def step() -> int:
        env.step(actions[next(turn) % len(actions)])
        return copies

    return Way(step)


def bare_way(env: Any, copies: int) -> Way:
    """The bare `mujoco.batch` loop: write controls, step, nothing else.

    Every slice starts from the states in which our environment is at that moment: a lying robot costs more to simulate than
    a standing one, and the two ways must simulate the same.
    """
    engine = env.unwrapped.engine
    simulation = engine.simulation
    batch = mujoco.batch.Batch(simulation.model, copies, 2)
    control, substeps = batch.bind("ctrl"), simulation.substeps
    # the same motion: a servo's target is not the action itself
    actions = [engine.task.control(a, engine.memory) for a in _actions(copies, env.single_action_space.shape[0])]
    turn = iter(range(10**9))

    def begin() -> None:
        np.copyto(batch.state, simulation.batch.state)

    def step() -> int:
        control[:] = actions[next(turn) % len(actions)]
        batch.step(nstep=substeps)
        return copies

    return Way(step, begin)


def sb3_way(env_id: str, workers: int, subprocesses: bool) -> Way:
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

    return Way(step)


def _actions(copies: int, width: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).uniform(-1, 1, (64, copies, width)).astype(np.float32)


def ways(body: str) -> dict[str, Way]:
    """Return everything that is timed for one body."""
    ours, theirs = BODIES[body]
    found: dict[str, Way] = {}
    for copies in sorted({*COPIES, *SCALING}):
        env = gymnasium.make_vec(ours, num_envs=copies, threads=2, autoreset_mode=AutoresetMode.SAME_STEP)
        env.reset(seed=0)
        found[f"saferl {copies}"] = our_way(env, copies)
        if copies in COPIES:
            found[f"bare {copies}"] = bare_way(env, copies)
    found["dummy 16"] = sb3_way(theirs, 16, subprocesses=False)
    for workers in WORKERS:
        found[f"subproc {workers}"] = sb3_way(theirs, workers, subprocesses=True)
    return found


def rates(timed: dict[str, Way], slices: int, seconds: float) -> dict[str, float]:
    """Return control steps per second of every way; the ways take turns in short slices, so that drift hits all alike."""
    steps, spent = dict.fromkeys(timed, 0), dict.fromkeys(timed, 0.0)
    for _ in range(slices):
        for name, way in timed.items():
            way.begin()
            began = time.perf_counter()
            while (elapsed := time.perf_counter() - began) < seconds:
                steps[name] += way.step()
            spent[name] += elapsed
    return {name: steps[name] / spent[name] for name in timed}


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
    rounds, slices, raw = (2, 2, f"quick_{RAW}") if quick else (7, 6, RAW)
    for body in BODIES:
        done = {row["round"] for row in read_rows(TOPIC, raw) if row["body"] == body}
        if len(done) >= rounds:
            continue
        timed = ways(body)
        rates(timed, 1, 0.3)
        for r in range(len(done), rounds):
            found = rates(timed, slices, 0.25)
            pooled = envpool_rate(body, slices * 0.25)
            if pooled is not None:
                found["envpool 64"] = pooled
            for name, value in found.items():
                append_row(TOPIC, raw, {"body": body, "round": r, "way": name, "steps_per_s": round(value, 1)})
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
            against = claim(f"{short}-envpool", text, "> 1", lambda r: r["saferl 64"] / r["envpool 64"])
            against.command = f"SAFERL_ENVPOOL_PYTHON=<a python with envpool> {COMMAND}"
            found.append(against)
        small, large = (f"saferl {n}" for n in SCALING)
        text = f"cost per step, change from {SCALING[0]} to {SCALING[1]} copies"
        found.append(claim(f"{short}-scaling", text, "<= 0.15", lambda r, a=small, b=large: abs(r[a] / r[b] - 1)))
    return found

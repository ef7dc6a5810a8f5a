"""How fast Solo-12 runs and trains: simulation as ratios measured in turn, whole training with its shares."""

from __future__ import annotations

import csv
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gymnasium
import mujoco
import mujoco.batch
import numpy as np
from gymnasium.vector import AutoresetMode
from saferl.experiment.build import load_model, make_model, make_vec_env, predictor, set_threads
from saferl.experiment.config import load_config
from saferl.experiment.run_folder import RunFolder

from benchmarks.evidence import Claim, append_row, read_rows
from benchmarks.speed import Way, bare_way, our_way, rates, sb3_way

TOPIC = "solo12_speed"
SIMULATION, TRAINING, PAIRS = "simulation.csv", "training.csv", "pairs.csv"
COMMAND = "python scripts/benchmark.py solo12_speed"
QUICK = f"{COMMAND} --quick"
TASK, CONFIG = "saferl/Solo12Flat-v0", "cat/solo12_flat"
COPIES, WORKERS = 256, (2, 4, 8)
PAPER_STEPS = 98_304_000
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "solo12_flat"
WARM_UP, RECORDED = 100, 200
"""Steps until the robots walk, and steps that are timed over and over."""


def ways() -> dict[str, Way]:
    """Return what is timed: our vector environment, the bare batch, and processes with our single environment.

    With random actions robots fall, and some copy is reset at nearly every step; so both are also timed while they walk.
    """
    env = gymnasium.make_vec(TASK, num_envs=COPIES, threads=2, autoreset_mode=AutoresetMode.SAME_STEP)
    env.reset(seed=0)
    found = {"saferl": our_way(env, COPIES), "bare": bare_way(env, COPIES), **walking_ways()}
    return found | {f"subproc {workers}": sb3_way(f"saferl_envs:{TASK}", workers, subprocesses=True) for workers in WORKERS}


def walking_ways() -> dict[str, Way]:
    """Return our vector environment and the bare batch with actions that the shipped policy took, from where it took them."""
    env = gymnasium.make_vec(TASK, num_envs=COPIES, threads=2, autoreset_mode=AutoresetMode.SAME_STEP)
    run = RunFolder.open(EXAMPLE)
    act = predictor(load_model(run.config(), run.checkpoint("last")), deterministic=True)
    observation, _ = env.reset(seed=1)
    for _ in range(WARM_UP):
        observation, *_ = env.step(act(observation))
    engine: Any = env.unwrapped.engine  # type: ignore[attr-defined]
    state, physics = engine.state(), engine.simulation.batch.state.copy()
    actions, controls = [], []
    for _ in range(RECORDED):
        actions.append(act(observation))
        controls.append(engine.task.control(actions[-1], engine.memory))
        observation, *_ = env.step(actions[-1])
    batch = mujoco.batch.Batch(engine.simulation.model, COPIES, 2)
    control, substeps, turn = batch.bind("ctrl"), engine.simulation.substeps, {"ours": 0, "bare": 0}

    def begin(which: str) -> None:
        turn[which] = 0
        if which == "ours":
            engine.load_state(state)
        else:
            np.copyto(batch.state, physics)

    def step(which: str) -> int:
        if turn[which] == RECORDED:
            begin(which)
        if which == "ours":
            env.step(actions[turn[which]])
        else:
            control[:] = controls[turn[which]]
            batch.step(nstep=substeps)
        turn[which] += 1
        return COPIES

    return {
        f"{name} walking": Way(partial(step, which), partial(begin, which))
        for name, which in (("saferl", "ours"), ("bare", "bare"))
    }


def training_shares(iterations: int) -> dict[str, float]:
    """Train in this process with all cores; return steps per second, and microseconds per step by what they go to."""
    config = load_config(CONFIG, [])
    set_threads(config)
    env = make_vec_env(config)
    model = make_model(config, env)
    base: Any = env.unwrapped
    spent = {"physics": 0.0, "update": 0.0}

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            found = call(*args, **kwargs)
            spent[name] += time.perf_counter() - began
            return found

        return measured

    steps: int = model.n_steps * model.n_envs
    model.learn(2 * steps)
    simulation: Any = base.copies.simulation
    vars(simulation)["step"] = timed("physics", simulation.step)
    vars(model)["train"] = timed("update", model.train)
    began = time.perf_counter()
    model.learn(iterations * steps, reset_num_timesteps=False)
    seconds = time.perf_counter() - began
    share = {f"{name}_us": round(1e6 * value / (iterations * steps), 2) for name, value in spent.items()}
    rest = round(1e6 * seconds / (iterations * steps) - sum(share.values()), 2)
    return {"steps_per_s": round(iterations * steps / seconds, 1), **share, "rest_us": rest}


def pair_rate(steps: int) -> float:
    """Return steps per second of two trainings side by side, one thread each, together."""
    with TemporaryDirectory() as root:
        quiet = ["--quiet", "--video.seconds", "0", "--evaluation.times", "0", "--threads", "1", "--torch-threads", "1"]
        cli = [sys.executable, "-m", "saferl.cli", "train", CONFIG, "--total-timesteps", str(steps), *quiet]
        runs = [subprocess.Popen([*cli, "--run-dir", str(Path(root) / str(i))], stdout=subprocess.DEVNULL) for i in (0, 1)]
        for process in runs:
            if process.wait():
                raise RuntimeError(f"{' '.join(cli)} failed")
        total = 0.0
        for i in (0, 1):
            with (Path(root) / str(i) / "progress.csv").open() as file:
                total += [float(row["time/fps"]) for row in csv.DictReader(file) if row["time/fps"]][-1]
    return total


def run(quick: bool) -> None:
    """Time everything in turn, round after round."""
    warnings.filterwarnings("ignore")
    rounds, prefix = (1, "quick_") if quick else (5, "")
    done = len(read_rows(TOPIC, prefix + SIMULATION)) // (4 + len(WORKERS))
    if done < rounds:
        timed = ways()
        rates(timed, 1, 0.3)
        for r in range(done, rounds):
            for name, value in rates(timed, 6, 0.25).items():
                append_row(TOPIC, prefix + SIMULATION, {"round": r, "way": name, "steps_per_s": round(value, 1)})
    for r in range(len(read_rows(TOPIC, prefix + TRAINING)), rounds):
        append_row(TOPIC, prefix + TRAINING, {"round": r, **training_shares(5 if quick else 40)})
    for r in range(len(read_rows(TOPIC, prefix + PAIRS)), rounds):
        append_row(TOPIC, prefix + PAIRS, {"round": r, "steps_per_s": pair_rate(61_440 if quick else 245_760)})


def claims() -> list[Claim]:
    """Return the claims that the raw rows support; of ratios and rates the median over rounds."""
    by_round: dict[str, dict[str, float]] = {}
    for row in read_rows(TOPIC, SIMULATION):
        by_round.setdefault(row["round"], {})[row["way"]] = float(row["steps_per_s"])
    training, pairs = read_rows(TOPIC, TRAINING), read_rows(TOPIC, PAIRS)
    if not by_round or not training or not pairs:
        return []
    medians = {way: statistics.median(r[way] for r in by_round.values()) for way in next(iter(by_round.values()))}
    note = "median control steps/s: " + ", ".join(f"{way} {value:,.0f}" for way, value in medians.items())

    def ratio(name: str, text: str, target: str, of: Callable[[dict[str, float]], float]) -> Claim:
        measured = statistics.median(of(r) for r in by_round.values())
        return Claim(name, f"Solo-12: {text}", target, measured, "1", "random", [0], COMMAND, QUICK, 12, SIMULATION, note)

    def subprocesses(r: dict[str, float]) -> float:
        return max(value for way, value in r.items() if way.startswith("subproc"))

    def rate(name: str, text: str, target: str, values: list[float], unit: str, raw: str, note: str) -> Claim:
        return Claim(
            name, f"Solo-12: {text}", target, statistics.median(values), unit, "none", [0], COMMAND, QUICK, 12, raw, note
        )

    single = [float(row["steps_per_s"]) for row in training]
    both = [float(row["steps_per_s"]) for row in pairs]
    shares = ", ".join(
        f"{part} {statistics.median(float(row[f'{part}_us']) for row in training):.1f}"
        for part in ("physics", "update", "rest")
    )
    shares = f"one training with all cores, median microseconds per control step: {shares}"
    network = "256-128 networks, 5 epochs, 2 cores"
    return [
        ratio("solo12-bare", "256 copies, 2 threads: share of the bare mujoco.batch loop", ">= 0.88",
              lambda r: r["saferl"] / r["bare"]),
        ratio("solo12-bare-walking", "the same while the shipped policy walks (random actions make robots fall and reset)",
              ">= 0.88", lambda r: r["saferl walking"] / r["bare walking"]),
        ratio("solo12-subproc", f"256 copies over SubprocVecEnv of our single one (a batch of one), best of {WORKERS}", ">= 4",
              lambda r: r["saferl"] / subprocesses(r)),
        rate("solo12-training", f"whole training, {network}", ">= 16000", single, "steps/s", TRAINING, shares),
        rate("solo12-training-pair", f"two trainings side by side, {network}, together", ">= 16000", both, "steps/s", PAIRS,
             "two trainings with one thread each"),
        rate("solo12-paper-budget", "the paper's 98.3 M steps in one training", "<= 1.7",
             [PAPER_STEPS / value / 3600 for value in single], "h", TRAINING, "computed from the rate"),
    ]  # fmt: skip

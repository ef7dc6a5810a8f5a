"""Trainings that are killed and resumed, or simply repeated, end with the same weights to the last bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.evidence import Claim, append_row, read_rows

TOPIC = "reproducible"
KILLS, REPEATS = "kills.csv", "repeats.csv"
COMMAND = "python scripts/benchmark.py reproducible"
QUICK = "python scripts/benchmark.py reproducible --quick"
METHODS = ("cat", "ppo_lag", "pid_lag")
NUM_KILLS = 50
KILLED_STEPS, REPEATED_STEPS = 40_000, 50_000
KILLED = [
    "--total-timesteps", str(KILLED_STEPS), "--env.num-envs", "16", "--method.n-steps", "64", "--method.batch-size", "256",
    "--evaluation.times", "3", "--evaluation.episodes", "4", "--video.seconds", "0", "--checkpoint-seconds", "0.5",
    "--threads", "1",
]  # fmt: skip


def run(quick: bool) -> None:
    """Run the kills and repeats that have no row yet, two at a time."""
    wanted = 6 if quick else NUM_KILLS
    prefix = "quick_" if quick else ""
    with TemporaryDirectory() as root:
        whole = {method: uninterrupted(method, Path(root)) for method in METHODS}
        jobs = [(number, METHODS[number % len(METHODS)]) for number in range(wanted)]
        known = {int(row["kill"]) for row in read_rows(TOPIC, prefix + KILLS)}
        with ThreadPoolExecutor(max_workers=2) as pool:
            pending = [
                pool.submit(killed, number, method, whole[method], Path(root)) for number, method in jobs if number not in known
            ]
            for job in as_completed(pending):
                row = job.result()
                append_row(TOPIC, prefix + KILLS, row)
                print(f"kill {row['kill']}: {row['method']} after {row['killed_after_s']} s, equal {row['equal']}", flush=True)
    known_methods = {row["method"] for row in read_rows(TOPIC, prefix + REPEATS)}
    from saferl.algorithms import methods

    for method in methods():
        if method not in known_methods:
            append_row(TOPIC, prefix + REPEATS, repeated(method, 4096 if quick else REPEATED_STEPS))


def saferl(*arguments: str) -> subprocess.Popen[bytes]:
    """Start a command in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-m", "saferl.cli", *arguments], env=environment, **quiet)  # type: ignore[call-overload, no-any-return]


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a command that must succeed."""
    _, err = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(err.decode())


def training(method: str, folder: Path) -> list[str]:
    """Return the command of the training that is killed; method's name in place of the configuration's."""
    return ["train", f"{method}/cartpole_balance", "--run-dir", str(folder), "--quiet", *KILLED]


def uninterrupted(method: str, root: Path) -> tuple[Path, float]:
    """Train once without interruption; return the folder and the seconds it took."""
    folder = root / f"{method}-whole"
    began = time.monotonic()
    finish(saferl(*training(method, folder)))
    return folder, time.monotonic() - began


def killed(number: int, method: str, whole: tuple[Path, float], root: Path) -> dict[str, Any]:
    """Kill a training at a random moment, go on from what it left, and compare the final weights."""
    folder = root / f"{method}-{number}"
    after = random.Random(number).uniform(0.0, whole[1])
    process = saferl(*training(method, folder))
    time.sleep(after)
    done = process.poll() is not None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    last = folder / "last.pt"
    row: dict[str, Any] = {"kill": number, "method": method, "killed_after_s": round(after, 2)}
    row["steps_at_checkpoint"] = steps_of(last)
    row["seconds_lost"] = round(time.time() - last.stat().st_mtime, 2) if last.exists() else round(after, 2)
    row["already_done"] = int(done)
    if not (folder / "SHA256SUMS").exists():
        begun = (folder / "config.yaml").exists()
        finish(saferl("resume", str(folder), "--quiet") if begun else saferl(*training(method, folder)))
    row["equal"] = int(equal_weights(whole[0] / "last.pt", last))
    return row


def steps_of(checkpoint: Path) -> int:
    """Return the steps trained up to a checkpoint, 0 where there is none."""
    from saferl.experiment.checkpoint import read_checkpoint

    return int(read_checkpoint(checkpoint)["plain"]["num_timesteps"]) if checkpoint.exists() else 0


def equal_weights(first: Path, second: Path) -> bool:
    """Return whether two checkpoints hold the same policy, optimisers, multipliers, statistics and random state."""
    from saferl.experiment.checkpoint import read_checkpoint

    a, b = read_checkpoint(first), read_checkpoint(second)
    for content in (a, b):
        content["training"].pop("episodes")  # holds wall-clock times
    return _same(a, b)


def _same(a: Any, b: Any) -> bool:
    import torch

    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, Sequence) and not isinstance(a, str):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def repeated(method: str, steps: int) -> dict[str, Any]:
    """Train twice with one seed, and once with another."""
    with TemporaryDirectory() as root:
        for name, seed in (("a", "0"), ("b", "0"), ("other", "1")):
            options = ["--total-timesteps", str(steps), "--seed", seed, "--quiet", "--video.seconds", "0", "--threads", "1"]
            finish(saferl("train", f"{method}/halfcheetah_velocity", "--run-dir", f"{root}/{name}", *options))
        equal = equal_weights(Path(root) / "a/last.pt", Path(root) / "b/last.pt")
        other = equal_weights(Path(root) / "a/last.pt", Path(root) / "other/last.pt")
    print(f"{method}: repeated equal {equal}, another seed equal {other}", flush=True)
    return {"method": method, "steps": steps, "equal": int(equal), "another_seed_equal": int(other)}


def claims() -> list[Claim]:
    """Return the claims that the raw rows support."""
    kills, repeats = read_rows(TOPIC, KILLS), read_rows(TOPIC, REPEATS)
    kinds = {method: sum(row["method"] == method for row in kills) for method in METHODS}
    early = sum(int(row["steps_at_checkpoint"]) == 0 for row in kills)
    late = sum(int(row["already_done"]) for row in kills)
    note = (
        ", ".join(f"{number} of {method}" for method, number in kinds.items())
        + f"; {early} before the first checkpoint, {late} after the end; checkpoints every 0.5 s"
    )
    seeds = sorted({int(row["kill"]) for row in kills})
    text = "trainings killed at a random moment and resumed whose last checkpoint equals the uninterrupted one's, bit for bit"
    found = [
        Claim("kills-equal", text, f">= {NUM_KILLS}", sum(int(row["equal"]) for row in kills), "runs", "none", seeds,
              COMMAND, QUICK, 20, KILLS, note),
    ]  # fmt: skip
    differing = sum(1 - int(row["equal"]) for row in repeats) if repeats else 1
    names = ", ".join(row["method"] for row in repeats)
    found.append(
        Claim("repeats-equal", "methods whose weights differ between two trainings of 50,000 steps with one seed", "== 0",
              differing, "methods", "none", [0], COMMAND, QUICK, 20, REPEATS, names)
    )  # fmt: skip
    return found

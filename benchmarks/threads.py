"""How many threads an update of a narrow network should have: CaT on HalfCheetah, 64 copies, two 128-128 networks, 5 epochs.

The minibatches are shared among threads by `saferl.shards`; the default for networks narrower than 256 is one thread.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.evidence import Claim, append_row, read_rows

TOPIC = "threads"
RAW = "rates.csv"
COMMAND = "python scripts/benchmark.py threads"
QUICK = f"{COMMAND} --quick"
BATCHES = (512, 1024, 2048)
THREADS = (1, 2)


def training_rate(threads: int, batch: int, steps: int) -> float:
    """Return training steps per second through the command line, with all cores for physics."""
    with TemporaryDirectory() as root:
        options = ["--torch-threads", str(threads), "--method.batch-size", str(batch), "--total-timesteps", str(steps)]
        quiet = ["--video.seconds", "0", "--evaluation.times", "0", "--evaluation.episodes", "1"]
        command = [sys.executable, "-m", "saferl.cli", "train", "cat/halfcheetah_limits", "--run-dir", str(Path(root) / "run")]
        environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
        result = subprocess.run([*command, *options, *quiet], capture_output=True, text=True, check=True, env=environment)
    line = next(text for text in result.stdout.splitlines() if text.startswith("trained "))
    return float(line.replace(",", "").split("(")[1].split()[0])


def run(quick: bool) -> None:
    """Measure every combination in turn, round after round."""
    rounds, raw = (1, f"quick_{RAW}") if quick else (3, RAW)
    for r in range(len({row["round"] for row in read_rows(TOPIC, raw)}), rounds):
        for batch in BATCHES:
            for threads in THREADS:
                rate = training_rate(threads, batch, 40_000)
                append_row(TOPIC, raw, {"round": r, "torch_threads": threads, "minibatch": batch, "steps_per_s": rate})
        print(f"round {r + 1} of {rounds}", flush=True)


def claims() -> list[Claim]:
    """Return the claims that the raw rows support."""
    rates: dict[tuple[int, int], list[float]] = {}
    for row in read_rows(TOPIC, RAW):
        rates.setdefault((int(row["minibatch"]), int(row["torch_threads"])), []).append(float(row["steps_per_s"]))
    note = "median steps/s: " + ", ".join(
        f"minibatch {batch} with {threads} {'thread' if threads == 1 else 'threads'} {statistics.median(found):,.0f}"
        for (batch, threads), found in sorted(rates.items())
    )
    found = []
    for batch in BATCHES:
        ratio = statistics.median(a / b for a, b in zip(rates[batch, 1], rates[batch, 2], strict=True))
        text = f"training rate of a narrow network with one thread for updates over two, minibatch {batch}"
        found.append(Claim(f"threads-{batch}", text, ">= 1", ratio, "1", "none", [0], COMMAND, QUICK, 3, RAW, note))
    return found

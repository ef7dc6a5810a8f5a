"""Training and evaluating one run through the command line, as a user does, in a process of its own with one thread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.evidence import append_row, read_rows

Report = dict[str, Any]
Job = tuple[str, int]
"""Name of a configuration, and a seed."""


def train_and_evaluate(
    config: str,
    seed: int,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    episodes: int = 100,
) -> tuple[Report, float]:
    """Train a configuration and return the report of its last policy, and the seconds of training."""
    variables = {**os.environ, **(environment or {}), "OMP_NUM_THREADS": "1"}
    with TemporaryDirectory() as root:
        run = Path(root) / "run"
        cli = [sys.executable, "-m", "saferl.cli"]
        quiet = ["--quiet", "--threads", "1", "--video.seconds", "0", "--evaluation.times", "0"]
        began = time.monotonic()
        call([*cli, "train", config, "--seed", str(seed), "--run-dir", str(run), *quiet, *options], variables)
        seconds = time.monotonic() - began
        imports = [f"--import={name}" for name in variables.get("SAFERL_BENCHMARK_IMPORTS", "").split() if name]
        call([*cli, "evaluate", str(run), "--checkpoint", "last", "--episodes", str(episodes), *imports], variables)
        report: Report = json.loads((run / "report.json").read_text())
    return report, seconds


def call(command: list[str], environment: Mapping[str, str] | None = None) -> None:
    """Run a command quietly, in one thread where no environment says otherwise.

    Raises:
        RuntimeError: It fails; with what it said.
    """
    variables = {**os.environ, "OMP_NUM_THREADS": "1"} if environment is None else environment
    result = subprocess.run(command, check=False, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}: {result.stderr.decode()}")


def missing(topic: str, raw: str, jobs: Iterable[Job], do: Callable[[str, int], Mapping[str, Any]]) -> None:
    """Do the jobs that have no row yet, two at a time, and append each row when it is there."""
    done = {(row["config"], int(row["seed"])) for row in read_rows(topic, raw)}
    with ThreadPoolExecutor(max_workers=2) as pool:
        for job in as_completed([pool.submit(do, *job) for job in jobs if job not in done]):
            row = job.result()
            append_row(topic, raw, row)
            print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)

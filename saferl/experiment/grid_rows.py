"""From the folder of one finished run to its row of a benchmark, and to the points of its learning curve."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from saferl.evaluation.report import POLICIES
from saferl.experiment.grid import Cell, Run
from saferl_envs.errors import ConfigError

CURVE_POINTS = 100
COARSE_SECONDS = 20.0
"""Below this, the whole seconds of progress.csv are too coarse for a rate."""
STEPS, SECONDS, RATE, RETURN = "time/total_timesteps", "time/time_elapsed", "time/fps", "rollout/ep_rew_mean"


def columns_of(cells: Sequence[Cell]) -> list[str]:
    """Return the measured columns of a grid's rows: ``cost_`` of every limited constraint, ``rate_`` of every constraint."""
    every = [r for cell in cells for r in cell.requirements]
    names = [r.column for r in every if r.measure == "cost"] + [f"rate_{r.name}" for r in every]
    return list(dict.fromkeys(names))


def collect(run: Run, run_dir: Path, columns: Sequence[str], trained: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the row of a finished run and the points of its learning curve.

    Args:
        run: The run.
        run_dir: Its folder, with ``report.json`` and ``progress.csv``.
        columns: Costs and violation rates that rows have; those the task does not have stay empty.
        trained: Seconds its training took, where ``progress.csv`` does not say.

    Raises:
        ConfigError: A number of the report is not finite.
    """
    report = json.loads((run_dir / "report.json").read_text(encoding="utf-8"))
    file = run_dir / "progress.csv"
    progress = read_progress(file) if file.is_file() else []
    logged = training_seconds(progress)
    seconds = trained if math.isnan(logged) else logged
    who = {"method": run.cell.method, "task": run.cell.task, "seed": run.seed}
    row: dict[str, Any] = {**who, "timesteps": report["timesteps"]}
    row |= {"seconds": "" if math.isnan(seconds) else round(seconds, 2), "episodes": report["episodes"]}
    for policy in POLICIES:
        summary = report[policy]
        found = {f"cost_{name}": c["cost_mean"] for name, c in summary["constraints"].items()}
        found |= {f"rate_{name}": c["violation_rate"] for name, c in summary["constraints"].items()}
        row[f"return_{policy}"] = summary["return_mean"]
        row |= {f"{column}_{policy}": found.get(column, "") for column in columns}
        row |= {f"any_violation_{policy}": summary["any_violation_rate"], f"feasible_{policy}": int(summary["feasible"])}
    for key, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key} is {value}")
    return {**row, "checkpoint": report["checkpoint"], "commit": report["commit"]}, [
        {**who, **point} for point in thin(progress, columns)
    ]


def read_progress(file: Path) -> list[dict[str, float]]:
    """Return the rows of a ``progress.csv`` that have steps, each with the numbers it holds."""
    found = []
    with file.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            numbers = {key: _float(text) for key, text in row.items() if isinstance(key, str)}
            row_found = {key: value for key, value in numbers.items() if math.isfinite(value)}
            if STEPS in row_found:
                found.append(row_found)
    return found


def _float(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def training_seconds(progress: Sequence[Mapping[str, float]]) -> float:
    """Return how long training took by its log, NaN if that does not say.

    The clock of a run that was killed and went on starts again, so its parts are added up.
    """
    clocks = [(row[SECONDS], row) for row in progress if SECONDS in row]
    if not clocks:
        return math.nan
    last = clocks[-1][1]
    total = clocks[-1][0] + sum(a for (a, _), (b, _) in itertools.pairwise(clocks) if b < a)
    if total < COARSE_SECONDS:
        return last[STEPS] / last[RATE] if last.get(RATE) else math.nan
    return total


def thin(progress: Sequence[Mapping[str, float]], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return at most 100 points of a learning curve: means over bins of equal numbers of steps.

    A point has ``timesteps`` (the last of its bin), ``return`` and the `columns`; what was not logged stays empty.
    """
    sources = {"return": RETURN}
    for column in columns:
        measure, _, name = column.partition("_")
        sources[column] = f"constraint/{name}/{'cost' if measure == 'cost' else 'violation_rate'}"
    # a run that went on from a checkpoint repeats the steps after it; its later rows count
    rows: dict[float, Mapping[str, float]] = {}
    for row in progress:
        if any(key in row for key in sources.values()):
            while rows and next(reversed(rows)) > row[STEPS]:
                rows.popitem()
            rows[row[STEPS]] = row
    if not rows:
        return []
    steps = np.array(list(rows))
    bins = np.minimum((CURVE_POINTS * steps / steps[-1]).astype(int), CURVE_POINTS - 1)
    points = []
    for number in np.unique(bins):
        inside = [rows[s] for s in steps[bins == number]]
        point: dict[str, Any] = {"timesteps": int(steps[bins == number][-1])}
        for column, key in sources.items():
            known = [row[key] for row in inside if key in row]
            point[column] = float(np.mean(known)) if known else ""
        points.append(point)
    return points

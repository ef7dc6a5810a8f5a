"""Solo-12 on terrain: the levels that one hour of training reaches, and what the policy then crosses."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch as th
from saferl.evaluation.rollout import play
from saferl.experiment.build import load_model, make_copies, predictor, set_threads
from saferl.experiment.callbacks import EVAL_SEED_OFFSET
from saferl.experiment.evaluate import changed
from saferl.experiment.run_folder import RunFolder

from benchmarks.campaign import Job, minutes, train
from benchmarks.evidence import Claim, append_row, folder, read_rows
from benchmarks.solo12_runs import HARD, LIMITED, RUNS
from saferl_envs.engine import Engine

TOPIC = "solo12_terrain"
TRAINING, CROSSED, RATES = "training.csv", "crossed.csv", "violations.csv"
COMMAND = "python scripts/benchmark.py solo12_terrain"
QUICK = f"{COMMAND} --quick"
STEPS, SEED = 18_000_000, 3
FORWARD = 1.0
"""m/s; the command under which the policy is judged."""
GRID = (3, 1, 1)
"""Commands; the largest vx is FORWARD. Three shares no factor with 200 cells, so 600 copies meet every pair once."""


def crossed(path: Path) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Play every field of the ground once under the forward command; return whether each was crossed, and violation rates."""
    run = RunFolder.open(path)
    config = run.config()
    set_threads(config)
    model = load_model(config, run.checkpoint("last"))
    kwargs = {**config.env.kwargs, "command_grid": list(GRID), "curriculum": False}
    copies = cast(Engine, make_copies(changed(config, {"env": {"kwargs": kwargs}}), 600))
    th.manual_seed(0)
    played = play(copies, predictor(model, True), 2 * EVAL_SEED_OFFSET)
    task: Any = copies.task
    level, column, farthest = copies.memory["place"].T
    forward = copies.memory["command"][:, 0] == FORWARD
    kinds = np.array(task.terrain.columns)
    rows = [
        {"type": kinds[int(column[i])], "level": int(level[i]), "column": int(column[i]),
         "farthest": round(float(farthest[i]), 3), "crossed": int(played.outcomes["crossed"][i]),
         "steps": int(played.lengths[i])}
        for i in np.flatnonzero(forward)
    ]  # fmt: skip
    total = played.lengths[forward].sum()
    rates = played.violating_steps[forward].sum(axis=0) / total
    return rows, {name: float(rate) for name, rate in zip(copies.constraints.names, rates, strict=True)}


def run(quick: bool) -> None:
    """Train on one core if there is no row yet, and judge. Quick: 200,000 steps."""
    prefix, steps = ("quick_", 200_000) if quick else ("", STEPS)
    if read_rows(TOPIC, prefix + TRAINING):
        return
    path = train(Job(f"{prefix}terrain", "cat/solo12_terrain", SEED, steps), RUNS)
    with (path / "progress.csv").open() as file:
        last = [row for row in csv.DictReader(file) if row["task/level"]][-1]
    fields, rates = crossed(path)
    for name in (CROSSED, RATES):  # of a judgement that was killed half-way
        (folder(TOPIC) / (prefix + name)).unlink(missing_ok=True)
    for row in fields:
        append_row(TOPIC, prefix + CROSSED, row)
    for name, rate in rates.items():
        append_row(TOPIC, prefix + RATES, {"constraint": name, "rate": round(rate, 6)})
    levels = {key: round(float(value), 2) for key, value in last.items() if key.startswith("task/level")}
    append_row(TOPIC, prefix + TRAINING, {"seed": SEED, "steps": steps, "minutes": round(minutes(path), 1), **levels})


def table() -> list[str]:
    """Return the lines of a Markdown table: mean levels at the end of training, and what was crossed at which level."""
    (row,), fields = read_rows(TOPIC, TRAINING), read_rows(TOPIC, CROSSED)
    kinds = sorted({f["type"] for f in fields}, key=lambda kind: -float(row[f"task/level/{kind}"]))
    lines = ["| ground | level at the end of training, 0 to 9 | crossed at level 0 / 1 / 2 / 3 to 9, % |", "|---|---|---|"]
    for kind in kinds:
        shares = []
        for levels in (range(1), range(1, 2), range(2, 3), range(3, 10)):
            of = [int(f["crossed"]) for f in fields if f["type"] == kind and int(f["level"]) in levels]
            shares.append(f"{100 * np.mean(of):.0f}")
        level = float(row[f"task/level/{kind}"])
        lines.append(f"| {kind.replace('_', ' ')} | {level:.1f} | {' / '.join(shares)} |")
    return lines


def claims() -> list[Claim]:
    """Return the claims that the raw rows support."""
    training, fields = read_rows(TOPIC, TRAINING), read_rows(TOPIC, CROSSED)
    if not training or not fields:
        return []
    (row,) = training
    rates = {found["constraint"]: float(found["rate"]) for found in read_rows(TOPIC, RATES)}
    levels = ", ".join(f"{key[11:]} {value}" for key, value in row.items() if key.startswith("task/level/"))

    def claim(name: str, text: str, target: str, measured: float, unit: str, policy: str, raw: str, note: str) -> Claim:
        return Claim(f"solo12-terrain-{name}", f"Solo-12 on terrain: {text}", target, measured, unit, policy, [SEED], COMMAND,
                     QUICK, 65, raw, note)  # fmt: skip

    def share(kind: str) -> float:
        return float(np.mean([int(f["crossed"]) for f in fields if f["type"] == kind]))

    def by_level(kind: str) -> str:
        found = []
        for level in range(10):
            of = [int(f["crossed"]) for f in fields if f["type"] == kind and int(f["level"]) == level]
            found.append(f"{100 * np.mean(of):.0f}")
        return "/".join(found)

    kinds = list(dict.fromkeys(f["type"] for f in sorted(fields, key=lambda f: int(f["column"]))))
    found = [
        claim("minutes", f"one training of {int(row['steps']):,} steps", "<= 60", float(row["minutes"]), "min", "none",
              TRAINING, f"mean levels (0 to 9) at the end of training: all {row['task/level']}, {levels}")
    ]  # fmt: skip
    for kind in kinds:
        note = f"{kind}: per cent crossed at level 0/1/.../9 under 1 m/s forward: {by_level(kind)}"
        text = f"share of {kind.replace('_', ' ')} crossed, all levels (reported, no target)"
        found.append(claim(kind.replace("_", "-"), text, ">= 0", share(kind), "1", "deterministic", CROSSED, note))
    note = "steps that violate, per constraint: " + ", ".join(f"{name} {rate:.2%}" for name, rate in rates.items())
    worst = max(rates[name] for name in LIMITED)
    hard = sum(rates[name] for name in HARD)
    found.append(claim("soft", "worst of torque, joint speed, joint acceleration, action rate (reported, no target)", "<= 1",
                       worst, "1", "deterministic", RATES, note))  # fmt: skip
    found.append(claim("hard", "steps that violate a hard constraint, sum (reported, no target)", "<= 1", hard, "1",
                       "deterministic", RATES, note))  # fmt: skip
    return found

"""CaT on Solo-12: walking on flat ground as commanded, judged on a grid of commands, and what disturbances do to it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import Any

from benchmarks.campaign import Job, campaign
from benchmarks.evidence import Claim, folder, read_rows
from benchmarks.solo12_runs import LIMITED, RUNS, both_policies

TOPIC = "solo12"
FLAT, DISTURBED = "flat.csv", "disturbances.csv"
COMMAND = "python scripts/benchmark.py solo12"
QUICK = "python scripts/benchmark.py solo12 --quick"
STEPS = 20_000_000
SEEDS = (3, 4, 5)
"""Not 0 and 1: an earlier initial noise of 0.61 had been seen to fail on seed 0."""
JUDGED_UNDER_DISTURBANCE = 3
"""Seed of the run that is disturbed, and shipped."""


def run(quick: bool) -> None:
    """Train and judge what has no row yet. Quick: one seed, 500,000 steps."""
    if quick:
        campaign(TOPIC, f"quick_{FLAT}", RUNS, [Job("quick", "cat/solo12_flat", 0, 500_000)], both_policies)
        return
    campaign(TOPIC, FLAT, RUNS, [Job("flat", "cat/solo12_flat", seed, STEPS) for seed in SEEDS], both_policies)
    if not read_rows(TOPIC, DISTURBED):
        path = RUNS / f"flat-s{JUDGED_UNDER_DISTURBANCE}"
        evaluate = [sys.executable, "-m", "saferl.cli", "evaluate", str(path), "--checkpoint", "last", "--disturb", "all"]
        subprocess.run(evaluate, check=True)
        shutil.copyfile(path / "disturbances.csv", folder(TOPIC) / DISTURBED)


def claims() -> list[Claim]:
    """Return the claims that the raw rows support; those of several seeds are of the worst one."""
    rows = read_rows(TOPIC, FLAT)
    seeds = [int(row["seed"]) for row in rows]
    if sorted(seeds) != list(SEEDS):
        return []

    def claim(name: str, text: str, target: str, key: str, worst: Any, policy: str = "deterministic") -> Claim:
        values = [float(row[f"{key}_{policy}"]) for row in rows]
        note = f"{key}, {policy}, per seed: " + ", ".join(f"{value:.4f}" for value in values)
        return Claim(f"solo12-flat-{name}-{policy}", f"Solo-12, flat ground, 7 x 7 x 5 commands, worst seed: {text}", target,
                     worst(values), "1", policy, seeds, COMMAND, QUICK, 100, FLAT, note)  # fmt: skip

    found = [claim("tracking", "tracking reward, share of its maximum", ">= 0.75", "tracking", min)]
    found += [claim(name, f"steps violating {name}", "<= 0.02", name, max) for name in LIMITED]
    found += [claim("hard", "steps violating a hard constraint (sum)", "<= 0.001", "hard", max)]
    # a contact that ends the episode violates one step of it: the share of steps alone would let many robots fall
    found += [claim("fallen", "episodes that a contact or a fall ended", "<= 0.01", "fallen", max)]
    tenth = claim("worst-tenth", "tracking of the worst tenth of commands (reported, no target)", ">= 0",
                  "tracking_worst_tenth", min)  # fmt: skip
    return [*found, tenth, *_of_disturbances()]


def _of_disturbances() -> list[Claim]:
    rows = read_rows(TOPIC, DISTURBED)
    if not rows:
        return []
    kinds = sorted({row["disturbance"] for row in rows} - {"none"})
    command = f"saferl evaluate RUN --checkpoint last --disturb all, by {COMMAND}"
    standing = min(rows, key=lambda row: float(row["survived"]))
    note = (
        f"{', '.join(kinds)}; {len(rows)} cases of {rows[0]['episodes']} episodes; fewest episodes survived: "
        f"{float(standing['survived']):.0%} under {standing['disturbance']} {standing['strength']} {standing['unit']}"
    )
    seed = [JUDGED_UNDER_DISTURBANCE]
    text = "Solo-12, flat ground: kinds of disturbance judged by one command, with violation rates"
    other = "Solo-12, flat ground: episodes survived under the worst disturbance (reported, no target)"
    return [
        Claim("solo12-disturbances", text, ">= 5", len(kinds), "1", "deterministic", seed, command, QUICK, 3, DISTURBED, note),
        Claim("solo12-survival", other, ">= 0", float(standing["survived"]), "1", "deterministic", seed, command, QUICK, 3,
              DISTURBED, note),
    ]  # fmt: skip

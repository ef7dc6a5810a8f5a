"""`saferl calibrate` on HalfCheetah velocity: the suggested range, and how trivial and infeasible limits are called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.evidence import Claim, append_row, read_rows

TOPIC = "calibration"
RAW = "verdicts.csv"
COMMAND = "python scripts/benchmark.py calibration"
QUICK = "python scripts/benchmark.py calibration --quick"
ENV = "saferl/HalfCheetahVelocity-v0"
ASKED = {25.0: "binding", -5.0: "infeasible", 2000.0: "trivial"}
SEED = 100


def run(quick: bool) -> None:
    """Calibrate once and write one row per verdict. Quick: 20,000 steps."""
    raw = f"quick_{RAW}" if quick else RAW
    if read_rows(TOPIC, raw):
        return
    with TemporaryDirectory() as root:
        out = Path(root) / "out"
        checks = [f"--check=speed={limit:g}" for limit in ASKED]
        steps = ["--steps", "20000"] if quick else []
        command = [sys.executable, "-m", "saferl.cli", "calibrate", ENV, "--seed", str(SEED), "--out", str(out), "--quiet"]
        subprocess.run([*command, *checks, *steps], check=True)
        found = json.loads((out / "calibration.json").read_text())
    for row in verdicts(found):
        append_row(TOPIC, raw, row)


def verdicts(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a calibration's JSON form."""
    constraint = found["constraints"][0]
    suggested = list(constraint["suggestions"].values())
    return [
        {
            "asked": limit,
            "verdict": next(entry["verdict"] for entry in constraint["judgements"] if entry["limit"] == limit),
            "low": min(suggested),
            "high": max(suggested),
            "unconstrained_cost": constraint["range"]["free"]["cost"],
            "least_cost": constraint["range"]["least"]["cost"],
            "words": constraint["words"][0],
            "commit": found["provenance"]["commit"],
        }
        for limit in ASKED
    ]


def claims() -> list[Claim]:
    """Return the claims that the raw rows support."""
    rows = read_rows(TOPIC, RAW)
    if not rows:
        return []
    low, high = float(rows[0]["low"]), float(rows[0]["high"])
    note = f"suggested {low:g} to {high:g}; an unconstrained policy costs {float(rows[0]['unconstrained_cost']):.0f}"
    wrong = sum(row["verdict"] != ASKED[float(row["asked"])] for row in rows)

    def claim(name: str, text: str, target: str, measured: float, unit: str) -> Claim:
        return Claim(name, text, target, measured, unit, "stochastic", [SEED], COMMAND, QUICK, 5, RAW, note)

    return [
        claim("calibration-low", "HalfCheetah velocity: strictest suggested cost limit", "<= 25", low, "1"),
        claim("calibration-high", "HalfCheetah velocity: loosest suggested cost limit", ">= 25", high, "1"),
        claim("calibration-verdicts", "limits 25, -5, 2000 not called binding, infeasible, trivial", "== 0", wrong, "limits"),
    ]

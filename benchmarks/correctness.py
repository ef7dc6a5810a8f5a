"""What must be exact, shown by the reference tests: each test case is a raw row with its outcome and what it measured."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.evidence import Claim, Row, append_row, folder, read_rows

TOPIC = "correctness"
RAW = "cases.csv"
COMMAND = "python scripts/benchmark.py correctness"
ROOT = Path(__file__).resolve().parent.parent
CLAIMS = {
    "cat-formula": ("test_cat", "CaT's formula, scaled futures, delta = 0 gives plain PPO bit for bit (A1, A2, A3)"),
    "batch-equals-serial": ("test_batch_equals_serial", "1, 7, 64 copies x 1, 2 threads, 1,000 steps with resets: bit-equal"),
    "gymnasium-parity": (
        "test_gymnasium_parity",
        "1,000 random steps of six bodies equal Gymnasium's -v4 within 1e-9 (Humanoid's contact wrenches: a substep earlier)",
    ),
    "lagrangian": ("test_lagrangian", "cost returns equal brute force; PID with P = D = 0 equals dual ascent bit for bit"),
    "tabular": (
        "test_tabular",
        "ReLOAD on tables against linear programs (R1 to R6): last iterates rest at the optimum, others swing",
    ),
    "trust-region": (
        "test_trust_region",
        "CPO's step with 1 to 3 constraints against scipy on 1,000 random problems: objective within 1e-6, constraints kept, "
        "recovery where there is no such step",
    ),
    "baselines": (
        "test_baselines",
        "P3O and FOCOPS equal their closed forms, CRPO and fixed multipliers what they reduce to; CPO stays in its region",
    ),
    "dm-control": (
        "test_dm_control",
        "walker and cheetah: observations, motion and formulas of rewards equal the DeepMind Control Suite's",
    ),
    "planted-code": ("test_damaged_files", "planted pickles and mutated files: nothing runs, no traceback, no hang"),
    "one-line-errors": ("test_cli", "wrong keys, joints, files, shapes, NaN, truncated checkpoints: one line, exit code 2"),
}


def run(quick: bool) -> None:
    """Run the tests behind the claims and write one row per case."""
    del quick  # it takes about five minutes
    raw = folder(TOPIC) / RAW
    raw.unlink(missing_ok=True)
    with TemporaryDirectory() as place:
        report = Path(place) / "report.xml"
        paths = ["tests/reference", "tests/unit/test_cli.py", "tests/property/test_damaged_files.py"]
        thorough = ["-m", "slow or not slow", "--hypothesis-profile", "thorough"]
        command = [sys.executable, "-m", "pytest", "-q", *paths, *thorough, f"--junitxml={report}"]
        subprocess.run(command, cwd=ROOT, check=False)
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            failed = any(child.tag in ("failure", "error") for child in case)
            measured = [p.get("value", "") for p in case.iter("property") if p.get("name") == "measured"]
            module = (case.get("classname") or "").split(".")[-1]
            row = {"module": module, "case": case.get("name"), "failed": int(failed), "measured": "".join(measured[-1:])}
            append_row(TOPIC, RAW, row)


def claims() -> list[Claim]:
    """Return one claim per group of cases: none of them fails."""
    found = []
    for name, (module, text) in CLAIMS.items():
        rows: list[Row] = [row for row in read_rows(TOPIC, RAW) if row["module"] == module]
        failures = sum(int(row["failed"]) for row in rows) if rows else 1
        measured = [float(row["measured"]) for row in rows if row["measured"] and module != "test_damaged_files"]
        note = f"{name}: {len(rows)} cases" + (f", largest difference {max(measured):.3g}" if measured else "")
        found.append(Claim(name, text, "== 0", failures, "failures", "none", [0], COMMAND, COMMAND, 6, RAW, note))
    mutated = [
        row for row in read_rows(TOPIC, RAW) if row["case"].startswith("test_mutated") or "damaged_checkpoints" in row["case"]
    ]
    examples = sum(float(row["measured"] or 0) for row in mutated if not int(row["failed"]))
    text = "mutated configurations, constraints and checkpoints that are valid or refused in one line"
    found.append(Claim("mutated-files", text, ">= 2000", examples, "files", "none", [0], COMMAND, COMMAND, 6, RAW))
    return found

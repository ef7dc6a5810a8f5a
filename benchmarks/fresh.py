"""A fresh machine: a clean clone, then the README's two commands; downloads are timed apart."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.evidence import Claim, append_row, folder, read_rows

TOPIC = "fresh"
RAW = "commands.csv"
COMMAND = "python scripts/benchmark.py fresh"
ROOT = Path(__file__).resolve().parent.parent
STEPS = ("make .venv/.installed", "make demo", "make .venv/.installed-dev", "make test")


def without_opengl(place: Path) -> dict[str, str]:
    """Return an environment in which no OpenGL library can be loaded: empty files stand in front of the real ones."""
    folder_of_nothing = place / "no_opengl"
    folder_of_nothing.mkdir()
    for library in ("libEGL.so.1", "libOSMesa.so.8", "libOSMesa.so", "libGL.so.1", "libGLX.so.0", "libOpenGL.so.0"):
        (folder_of_nothing / library).touch()
    return {"LD_LIBRARY_PATH": str(folder_of_nothing)}


def run(quick: bool) -> None:
    """Clone what is committed into an empty folder and run the commands, with OpenGL and without."""
    if not quick:
        (folder(TOPIC) / RAW).unlink(missing_ok=True)
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH", "MUJOCO_GL")}
    with TemporaryDirectory() as place:
        clone = Path(place) / "project"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        for opengl, extra in (("as installed", {}), ("hidden", without_opengl(Path(place)))):
            for command in STEPS[:2] if quick else STEPS:
                began = time.monotonic()
                result = subprocess.run(
                    command.split(), cwd=clone, env=environment | extra, capture_output=True, text=True, check=False
                )
                seconds = round(time.monotonic() - began, 1)
                passed = re.search(r"(\d+) passed", result.stdout)
                row = {"opengl": opengl, "command": command, "exit": result.returncode, "seconds": seconds}
                if not quick:
                    append_row(TOPIC, RAW, {**row, "passed": passed.group(1) if passed else ""})
                print(f"OpenGL {opengl}: {command}: exit {result.returncode}, {seconds} s", flush=True)
                if result.returncode:
                    print(result.stdout[-2000:], result.stderr[-2000:])


def claims() -> list[Claim]:
    """Return the claims that the raw rows support."""
    rows = read_rows(TOPIC, RAW)

    def claim(name: str, text: str, target: str, measured: float, unit: str, note: str = "") -> Claim:
        return Claim(name, text, target, measured, unit, "none", [0], COMMAND, f"{COMMAND} --quick", 15, RAW, note)

    demos = [float(row["seconds"]) for row in rows if row["command"] == "make demo"]
    tests = [row for row in rows if row["command"] == "make test"]
    note = "; ".join(f"OpenGL {row['opengl']}: {row['passed']} passed in {row['seconds']} s" for row in tests)
    failed = sum(int(row["exit"]) != 0 for row in rows)
    demo = "make demo in a clean clone, after downloads: slower of with and without OpenGL"
    return [
        claim("fresh-demo", demo, "<= 360", max(demos), "s"),
        claim("fresh-exit", "commands in a clean clone that fail", "== 0", failed, "commands", note),
    ]

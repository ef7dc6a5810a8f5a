"""Projections onto polytopes: right on ten thousand random problems, and how long they take."""

from __future__ import annotations

from rich.progress import track

from benchmarks import projection_checks as checks
from benchmarks import projection_times as times
from benchmarks.evidence import Claim, append_row, folder, read_rows
from benchmarks.projection_problems import Finding

TOPIC = "projection"
RIGHT, CLOSED, CHANCE, FAST = "right.csv", "half_space.csv", "chance.csv", "fast.csv"
COMMAND = "python scripts/benchmark.py projection"
QUICK = f"{COMMAND} --quick"
SIZES, EACH, QUICK_SIZES = 1000, 10, 20
"""Random sizes, problems of each (two points are projected in each)."""
CLOSED_SIZES = (2, 6, 8, 12, 20, 30)
CLOSED_EACH, QUICK_CLOSED_EACH = 400, 20
"""Dimensions, and problems of each, half of them from inside the box, of one half-space in a box."""
CHANCE_SIZES, QUICK_CHANCE_SIZES = 100, 5
"""Random sizes of problems with rows that hold with a probability."""
REPEATS, QUICK_REPEATS = 2000, 200
"""Of what is timed."""


def run(quick: bool) -> None:
    """Check and time. Quick: two hundred problems, fewer repetitions."""
    prefix = "quick_" if quick else ""
    if quick:
        for name in (RIGHT, CLOSED, CHANCE, FAST):
            (folder(TOPIC) / f"{prefix}{name}").unlink(missing_ok=True)
    done = {name: len(read_rows(TOPIC, prefix + name)) for name in (RIGHT, CLOSED, CHANCE, FAST)}
    if not done[FAST]:  # all at once, under the same conditions
        repeats = QUICK_REPEATS if quick else REPEATS
        for row in times.time_projections(repeats) + times.time_corrections(repeats):
            append_row(TOPIC, prefix + FAST, row)
            print(", ".join(f"{key} {value}" for key, value in row.items()))
    for n in track(CLOSED_SIZES[done[CLOSED] :], "one half-space in a box"):
        append_row(TOPIC, prefix + CLOSED, checks.check_closed(n, QUICK_CLOSED_EACH if quick else CLOSED_EACH))
    for seed in track(range(done[CHANCE], QUICK_CHANCE_SIZES if quick else CHANCE_SIZES), "rows with a probability"):
        append_row(TOPIC, prefix + CHANCE, checks.check_chance(seed))
    for seed in track(range(done[RIGHT], QUICK_SIZES if quick else SIZES), "random problems"):
        append_row(TOPIC, prefix + RIGHT, checks.check(seed, EACH))


def claims() -> list[Claim]:
    """Return the claims that the raw rows support, of those files that are whole."""
    found: list[Claim] = []
    for raw, whole, findings in (
        (RIGHT, SIZES, checks.findings),
        (CLOSED, len(CLOSED_SIZES), checks.findings_closed),
        (FAST, 1, times.findings),
        (CHANCE, CHANCE_SIZES, checks.findings_chance),
    ):
        rows = read_rows(TOPIC, raw)
        if len(rows) >= whole:
            found += [_claim(raw, finding) for finding in findings(rows)]
    return found


def _claim(raw: str, found: Finding) -> Claim:
    name, text, target, measured, unit, note = found
    return Claim(f"projection-{name}", text, target, measured, unit, "none", [], COMMAND, QUICK, 15, raw, note)

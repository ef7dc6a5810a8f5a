"""Evidence: raw CSV rows, and the summary of claims computed from them, never typed."""

from __future__ import annotations

import csv
import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from saferl.experiment.run_folder import provenance
from saferl.tracking import rows

RESULTS = Path(__file__).parent / "results"
Row = dict[str, str]


@dataclass
class Claim:
    """One claim: `holds` follows from `measured` and `target` and cannot be given.

    Attributes:
        target: A comparison such as ``">= 0.8"``; `measured` is its left side.
        raw: The CSV file behind it, relative to the topic's folder.
    """

    id: str
    claim: str
    target: str
    measured: float
    unit: str
    policy: str
    seeds: list[int]
    command: str
    quick_command: str
    minutes: float
    raw: str
    note: str = ""
    holds: bool = field(init=False)

    def __post_init__(self) -> None:
        relation, bound = self.target.split()
        compare = {">=": self.measured >= float(bound), "<=": self.measured <= float(bound)}
        compare |= {
            "<": self.measured < float(bound),
            ">": self.measured > float(bound),
            "==": self.measured == float(bound),
        }
        self.measured = float(self.measured)
        self.holds = bool(compare[relation])


def folder(topic: str) -> Path:
    """Return the folder of a topic's results, made if need be."""
    path = RESULTS / topic
    path.mkdir(parents=True, exist_ok=True)
    return path


def read_rows(topic: str, name: str) -> list[Row]:
    """Return the rows of a raw CSV file, none if it does not exist."""
    path = folder(topic) / name
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def append_row(topic: str, name: str, row: Mapping[str, Any]) -> None:
    """Append one row at once to a raw CSV file, so that a killed grid goes on where it was."""
    rows.append_row(folder(topic) / name, row)


def write_summary(topic: str, claims: Iterable[Claim]) -> list[dict[str, Any]]:
    """Write ``summary.json`` of a topic and return its rows."""
    origin = provenance()
    machine = f"{os.cpu_count()} cores, {origin['machine']}, {platform.processor() or 'processor unnamed'}"
    summary = [
        {**asdict(claim), "commit": origin["commit"], "versions": origin["versions"], "machine": machine} for claim in claims
    ]
    (folder(topic) / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    return summary


def verify(topic: str, claims: Iterable[Claim]) -> list[str]:
    """Return what differs between the stored summary and claims recomputed from the raw files; nothing if all is well."""
    path = RESULTS / topic / "summary.json"
    if not path.exists():
        return [f"{path} does not exist"]
    stored = {row["id"]: row for row in json.loads(path.read_text())}
    problems = []
    for claim in claims:
        row = stored.pop(claim.id, None)
        if row is None:
            problems.append(f"{claim.id}: not in the summary")
        elif abs(row["measured"] - claim.measured) > 1e-9 * max(1.0, abs(claim.measured)) or row["holds"] != claim.holds:
            problems.append(f"{claim.id}: summary says {row['measured']}, raw files give {claim.measured}")
    return [*problems, *(f"{name}: in the summary, but no claim" for name in stored)]

"""Rows appended to CSV files, one at a time, so that a killed program loses none that it has written."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Append one row to a CSV file, with a header if the file is new."""
    new = not path.exists() or path.stat().st_size == 0
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def trim_rows(path: Path, column: str, last: float) -> None:
    """Drop the rows of a CSV file whose number in `column` is above `last`, and one that was cut off when it was written."""
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        text = file.read()
    whole = text[: text.rfind("\n") + 1]
    rows = list(csv.reader(whole.splitlines()))
    kept = []
    if rows and column in rows[0]:
        index = rows[0].index(column)
        kept = [rows[0], *(row for row in rows[1:] if len(row) > index and _number(row[index]) <= last)]
    if not kept:
        path.unlink()
        return
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(kept)
    os.replace(part, path)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")

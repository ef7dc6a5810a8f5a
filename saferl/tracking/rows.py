"""Rows appended to CSV files, one at a time, so that a killed program loses none that it has written."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Append one row to a CSV file, with a header if the file is new; columns that it lacks are added to all of its rows."""
    new = not path.exists() or path.stat().st_size == 0
    header = list(row) if new else _header(path)
    missing = [name for name in row if name not in header]
    if missing:
        header += missing
        _widen(path, header)
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header, restval="")
        if new:
            writer.writeheader()
        writer.writerow(row)


def _header(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file))


def _widen(path: Path, header: list[str]) -> None:
    """Give a file a longer header and its rows empty fields."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    _replace(path, [header, *([*row, *[""] * (len(header) - len(row))] for row in rows)])


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
    _replace(path, kept)


def _replace(path: Path, rows: list[list[str]]) -> None:
    """Write a file anew, whole or not at all."""
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    os.replace(part, path)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")

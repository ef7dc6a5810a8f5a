"""Tables of claims in README and docs, written between markers from the summaries, never by hand."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

from benchmarks.evidence import RESULTS

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/reload.md", "docs/results.md", "docs/safeguards.md", "docs/solo12.md", "docs/velocity.md")
BLOCK = re.compile(r"(<!-- claims:(?P<topics>[\w,]+)(?P<full>:full)? -->\n).*?(<!-- /claims -->)", re.DOTALL)
ROWS = re.compile(r"(<!-- rows:(?P<topic>\w+) -->\n).*?(<!-- /rows -->)", re.DOTALL)
"""A block that a topic's own `table` makes of its raw rows."""


def render(text: str) -> str:
    """Return a page with its blocks filled in: of claims from the summaries, of rows from the raw files."""

    def fill(block: re.Match[str]) -> str:
        topics = block["topics"].split(",")
        if block["full"] is None:
            lines = table([row for topic in topics for row in summary(topic)])
        else:
            lines = [line for topic in topics for line in section(topic)]
        return block.group(1) + "\n".join(lines) + "\n" + block.group(4)

    def rows(block: re.Match[str]) -> str:
        topic = importlib.import_module(f"benchmarks.{block['topic']}")
        return block.group(1) + "\n".join(topic.table()) + "\n" + block.group(3)

    return ROWS.sub(rows, BLOCK.sub(fill, text))


def summary(topic: str) -> list[dict[str, Any]]:
    """Return the rows of a topic's summary, none if it has not been made yet."""
    path = RESULTS / topic / "summary.json"
    return json.loads(path.read_text()) if path.exists() else []


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a Markdown table of claims."""
    head = ["claim", "target", "measured", "policy", "seeds", "holds"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        unit = "" if row["unit"] == "1" else f" {row['unit']}"
        cells = [
            row["claim"],
            row["target"] + unit,
            f"{row['measured']:.3g}{unit}",
            row["policy"].replace("none", "-"),
            str(len(row["seeds"])),
            "yes" if row["holds"] else "**no**",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def section(topic: str) -> list[str]:
    """Return a topic's table with its commands, raw files, machine, and each note once."""
    rows = summary(topic)
    if not rows:
        return []
    commands = dict.fromkeys(f"`{row['command']}` (about {row['minutes']:g} minutes)" for row in rows)
    raw = dict.fromkeys(f"`benchmarks/results/{topic}/{row['raw']}`" for row in rows)
    notes = dict.fromkeys(row["note"] for row in rows if row["note"])
    return [
        f"## {topic}",
        "",
        *table(rows),
        "",
        f"Command: {', '.join(commands)}. Raw rows: {', '.join(raw)}. Machine: {rows[0]['machine']}.",
        "",
        *(f"- {note}" for note in notes),
        "",
    ]


def write() -> list[Path]:
    """Fill in all pages; return those that changed."""
    changed = []
    for name in PAGES:
        path = ROOT / name
        old = path.read_text()
        new = render(old)
        if new != old:
            path.write_text(new)
            changed.append(path)
    return changed

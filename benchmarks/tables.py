"""Tables of claims in README and docs, written between markers from the summaries, never by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.evidence import RESULTS

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/results.md")
BLOCK = re.compile(r"(<!-- claims:(?P<topics>[\w,]+)(?P<full>:full)? -->\n).*?(<!-- /claims -->)", re.DOTALL)


def render(text: str) -> str:
    """Return a page with its blocks of claims filled in from the summaries."""

    def fill(block: re.Match[str]) -> str:
        full = block["full"] is not None
        rows = [row for topic in block["topics"].split(",") for row in summary(topic)]
        return block.group(1) + "\n".join(table(rows, full)) + "\n" + block.group(4)

    return BLOCK.sub(fill, text)


def summary(topic: str) -> list[dict[str, Any]]:
    """Return the rows of a topic's summary, none if it has not been made yet."""
    path = RESULTS / topic / "summary.json"
    return json.loads(path.read_text()) if path.exists() else []


def table(rows: list[dict[str, Any]], full: bool) -> list[str]:
    """Return the lines of a Markdown table; with notes and commands where `full`."""
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
    if full:
        for row in rows:
            note = f" {row['note']}." if row["note"] else ""
            lines.append("")
            lines.append(f"`{row['id']}`: `{row['command']}`, about {row['minutes']:g} minutes, raw rows `{row['raw']}`.{note}")
    return lines


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

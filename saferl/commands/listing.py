"""``saferl list``: what there is."""

from __future__ import annotations

import argparse
import json
import sys

from saferl.commands.options import Commands


def add(commands: Commands) -> None:
    """Declare the command."""
    listing = commands.add_parser("list", help="environments, constraints, methods, configurations")
    listing.add_argument("--json", action="store_true", help="one JSON object")
    listing.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Print the catalogue."""
    from rich.console import Console

    from saferl.experiment.catalogue import catalogue, tables

    found = catalogue()
    if options.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    console = Console(width=max(Console().width, 120))
    for table in tables(found):
        console.print(table)

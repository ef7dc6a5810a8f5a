"""``saferl export RUN OUT``: a run folder small enough to give away."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from saferl.commands.options import Commands, add_checkpoint, add_run


def add(commands: Commands) -> None:
    """Declare the command."""
    exporting = commands.add_parser("export", help="copy a run without what only its training needed")
    add_run(exporting)
    exporting.add_argument("out", type=Path, help="folder to make")
    add_checkpoint(exporting)
    exporting.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Export, and say how large it is."""
    from saferl.experiment.export import export

    made, left_out = export(options.run, options.out, options.checkpoint)
    size = sum(file.stat().st_size for file in made.path.iterdir())
    if left_out:
        sys.stderr.write(f"note: {', '.join(left_out)} left out, since they are on another checkpoint of the run\n")
    sys.stdout.write(f"run folder  {made.path} ({size / 1e3:,.0f} kB; plays and evaluates, cannot be resumed)\n")

"""``saferl resume RUN``: go on with a training that was killed or interrupted."""

from __future__ import annotations

import argparse

from saferl.commands.options import Commands, add_run, import_modules
from saferl.commands.train import say_where


def add(commands: Commands) -> None:
    """Declare the command."""
    resume = commands.add_parser("resume", help="go on with a training that was killed, as if it had not been")
    add_run(resume)
    resume.add_argument("--quiet", action="store_true", help="no progress bar")
    resume.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Go on, and say where everything is."""
    from rich.console import Console

    from saferl.experiment.train import resume

    import_modules(options)
    console = Console()
    folder = resume(options.run, None if options.quiet else console)
    say_where(folder.path, console)

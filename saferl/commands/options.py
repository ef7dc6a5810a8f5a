"""Options that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from saferl_envs.errors import SaferlError

Commands = Any
"""What `argparse.ArgumentParser.add_subparsers` returns."""


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def share(text: str) -> float:
    """Read a share above 0, at most 1."""
    number = float(text)
    if not 0.0 < number <= 1.0:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1, got {text}")
    return number


def seed(text: str) -> int:
    """Read a seed."""
    number = int(text)
    if not 0 <= number < 2**31:
        raise argparse.ArgumentTypeError(f"must be from 0 to {2**31 - 1}, got {number}")
    return number


def seconds(text: str) -> float:
    """Read a length of time up to an hour."""
    number = float(text)
    if not 0 < number <= 3600:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 3600, got {number}")
    return number


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add ``--checkpoint best|last``."""
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="default: best feasible")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the run folder, and ``--import MODULE``."""
    parser.add_argument("run", help="run folder")
    add_imports(parser)


def add_imports(parser: argparse.ArgumentParser) -> None:
    """Add ``--import MODULE`` for environments that a module of the user's registers."""
    parser.add_argument(
        "--import", dest="imports", action="append", default=[], metavar="MODULE",
        help="import a module that registers the run's environment; a run folder alone never imports one",
    )  # fmt: skip


def import_modules(options: argparse.Namespace) -> None:
    """Import what the user asked for."""
    from saferl_envs.gymnasium_make import import_module

    for name in options.imports:
        import_module(name, "--import")


def run_dir(name: str) -> Path:
    """Return the next free folder under ``runs`` for something called `name`."""
    from saferl.experiment.run_folder import RunFolder

    return RunFolder.next_free("runs", name)


def check_picture(path: Path) -> None:
    """Refuse a picture that could not be written, before any work is done for it.

    Raises:
        SaferlError: It is not called .png, or its folder does not exist.
    """
    if path.suffix.lower() != ".png" or not path.parent.is_dir():
        raise SaferlError(f"--out {path}: must be a .png file in a folder that exists")

"""``saferl import CONFIG ZIP``: a policy trained with Stable-Baselines3 elsewhere, as a run folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from saferl.commands.options import Commands, run_dir


def add(commands: Commands) -> None:
    """Declare the command."""
    importing = commands.add_parser(
        "import",
        help="make a run folder from a Stable-Baselines3 zip",
        epilog="Only the zip's tensors are read. Any key of the configuration is an option, as in saferl train.",
    )
    importing.add_argument("config", help="configuration that says environment, constraints and network")
    importing.add_argument("zip", type=Path, help="what model.save() of Stable-Baselines3 wrote")
    importing.add_argument("--vec-normalize", type=Path, help="what VecNormalize.save() wrote; a pickle, needs --trust")
    importing.add_argument("--trust", action="store_true", help="load that pickle, which executes whatever is in it")
    importing.add_argument("--run-dir", type=Path, help="folder to make (default: runs/imported_<n>)")
    importing.set_defaults(command=run, takes_overrides=True)


def run(options: argparse.Namespace) -> None:
    """Import, with a warning."""
    from saferl.experiment.config import load_config
    from saferl.experiment.sb3_import import import_sb3

    if options.trust and options.vec_normalize:
        sys.stderr.write(f"warning: loading the pickle {options.vec_normalize}, which can execute anything\n")
    folder = import_sb3(
        load_config(options.config, options.rest), options.zip, options.run_dir or run_dir("imported"),
        options.vec_normalize, options.trust,
    )  # fmt: skip
    sys.stderr.write("warning: only the policy's weights were imported; its training cannot be resumed\n")
    sys.stdout.write(f"run folder  {folder.path}\n")

"""``saferl calibrate ENV``: which cost limits make sense."""

from __future__ import annotations

import argparse
import math
import warnings
from pathlib import Path

from saferl.commands.options import Commands, run_dir, seed


def add(commands: Commands) -> None:
    """Declare the command."""
    calibrate = commands.add_parser(
        "calibrate",
        help="which cost limits make sense on an environment",
        epilog="Any key of the configuration is an option, as for `saferl train`: --env.limits.speed 2 --method.gamma 0.98.",
    )
    calibrate.add_argument("env", help="environment id, built-in configuration, or YAML file")
    calibrate.add_argument(
        "--steps", type=steps, help="training of the unconstrained policy (default: the configuration's, at most 1000000)"
    )
    calibrate.add_argument("--episodes", type=several, default=50, help="episodes per policy (default 50)")
    calibrate.add_argument("--seed", type=seed, help="seed of training and episodes (default: the configuration's)")
    calibrate.add_argument("--out", type=Path, help="folder to make (default: runs/calibrate-<name>_<n>)")
    calibrate.add_argument(
        "--check", type=check, action="append", default=[], metavar="NAME=LIMIT", help="judge this cost limit; may be repeated"
    )
    calibrate.add_argument("--quiet", action="store_true", help="no progress bar")
    calibrate.set_defaults(command=run, takes_overrides=True)


def steps(text: str) -> int:
    """Read a number of steps: 300000 or 3e5."""
    number = float(text)
    if not 1 <= number <= 1e12 or number != int(number):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text}")
    return int(number)


def several(text: str) -> int:
    """Read a number of episodes; of one alone there is no interval."""
    number = int(text)
    if number < 2:
        raise argparse.ArgumentTypeError(f"must be at least 2, got {number}")
    return number


def check(text: str) -> tuple[str, float]:
    """Read a constraint's name and a cost limit."""
    name, equals, limit = text.rpartition("=")
    try:
        number = float(limit)
    except ValueError:
        number = math.nan
    if not equals or not name or not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"expected NAME=LIMIT with a finite number, e.g. speed=25, got {text!r}")
    return name, number


def run(options: argparse.Namespace) -> None:
    """Calibrate, and print what was found."""
    from rich.console import Console

    from saferl.evaluation.calibration_report import conclusions, introduction, suggestion_rule, to_table
    from saferl.experiment.calibrate import calibrate, calibration_config

    warnings.filterwarnings("ignore", message="You are trying to run PPO on the GPU")
    config = calibration_config(options.env, options.rest, options.steps, options.seed)
    name = options.env.removesuffix(".yaml").removesuffix(".yml").strip("/").replace("/", "-").replace(":", "-")
    out = options.out or run_dir(f"calibrate-{name}")
    console = Console(width=max(Console().width, 120))
    found = calibrate(config, out, options.episodes, options.check, None if options.quiet else console)
    console.print(found.env_id, style="bold")
    for line in [*introduction(found), suggestion_rule(), *found.notes]:
        console.print(f"- {line}", highlight=False, markup=False)
    for constraint in found.constraints:
        console.print()
        console.print(to_table(constraint))
        for line in conclusions(constraint):
            console.print(f"- {line}", highlight=False, markup=False)
    console.print(f"\nreport {out / 'calibration.json'}, calibration.md and calibration.png", soft_wrap=True)

"""``saferl train CONFIG``: train a policy."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from rich.console import Console

from saferl.commands.options import Commands, run_dir


def add(commands: Commands) -> None:
    """Declare the command."""
    train = commands.add_parser(
        "train",
        help="train a policy",
        epilog="Any key of the configuration is an option: --seed 3 --total-timesteps 1e6 --method.p-max 0.3 "
        "--env.limits.speed 2. `saferl list` shows environments, methods and configurations.",
    )
    train.add_argument("config", help="built-in configuration, e.g. cat/halfcheetah_limits, or a YAML file")
    train.add_argument("--run-dir", type=Path, help="folder to make (default: runs/<config>_s<seed>_<n>)")
    train.add_argument("--quiet", action="store_true", help="no progress bar")
    train.set_defaults(command=run, takes_overrides=True)


def run(options: argparse.Namespace) -> None:
    """Train, and say where everything is."""
    from saferl.experiment.config import load_config
    from saferl.experiment.train import train

    warnings.filterwarnings("ignore", message="You are trying to run PPO on the GPU")
    config = load_config(options.config, options.rest)
    name = f"{Path(options.config).with_suffix('').as_posix().strip('/').replace('/', '-')}_s{config.seed}"
    console = Console()
    folder = train(config, options.run_dir or run_dir(name), None if options.quiet else console)
    say_where(folder.path, console)


def say_where(path: Path, console: Console) -> None:
    """Print the run folder and what to do next."""
    console.print(f"run folder  {path}", soft_wrap=True)
    console.print(f"next        saferl evaluate {path}; saferl visualize {path}", soft_wrap=True)
    console.print(f"TensorBoard tensorboard --logdir {path}", soft_wrap=True)

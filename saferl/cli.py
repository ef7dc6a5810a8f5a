"""The `saferl` command. Every error a user can cause is one line on stderr and exit code 2."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

try:
    from saferl_envs.errors import Interrupted, SaferlError
except (AttributeError, ImportError, RuntimeError) as error:
    # MuJoCo loads the OpenGL library that MUJOCO_GL names when it is imported, and fails oddly where there is none
    if "MUJOCO_GL" not in os.environ:
        raise
    sys.stderr.write(
        f"error: MuJoCo cannot be imported with MUJOCO_GL={os.environ['MUJOCO_GL']!r} ({' '.join(str(error).split())}); "
        "unset it, or install that library, or use MUJOCO_GL=off\n"
    )
    raise SystemExit(2) from None

# OpenMP's workers spin at barriers; beside another busy process that makes training many times slower. This must be set
# before torch is imported, so torch and everything that uses it are imported inside the commands.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

USER_ERROR = 2
INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise SaferlError(f"{self.prog}: {message}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 2 for a user's error, 130 when interrupted."""
    try:
        words = _config_first(list(sys.argv[1:] if arguments is None else arguments))
        options, rest = _parser().parse_known_args(words)
        if rest and options.command is not _train:
            raise SaferlError(f"saferl: unknown argument {rest[0]!r}; see saferl {options.name} --help")
        options.rest = rest
        command: Callable[[argparse.Namespace], None] = options.command
        command(options)
    except Interrupted as stop:
        sys.stderr.write(f"{stop}\n")
        return INTERRUPTED
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except (SaferlError, OSError, MemoryError) as error:
        sys.stderr.write(f"error: {' '.join((str(error) or type(error).__name__).split())}\n")
        return USER_ERROR
    return 0


def _config_first(words: list[str]) -> list[str]:
    """Move ``train``'s configuration before its options: argparse would take the value of an option it does not know for it."""
    if words[:1] != ["train"]:
        return words
    options, skip = words[1:], False
    for i, word in enumerate(options):
        if skip:
            skip = False
        elif not word.startswith("-"):
            return ["train", word, *options[:i], *options[i + 1 :]]
        else:
            skip = "=" not in word and word not in ("--quiet", "--help", "-h")
    return words


def _parser() -> _Parser:
    parser = _Parser(prog="saferl", description="Train, evaluate and watch robot policies that respect constraints.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="name")
    train = commands.add_parser(
        "train",
        help="train a policy",
        epilog="Any key of the configuration is an option: --seed 3 --total-timesteps 1e6 --method.p-max 0.3 "
        "--env.limits.speed 2. `saferl list` shows environments, methods and configurations.",
    )
    train.add_argument("config", help="built-in configuration, e.g. cat/halfcheetah_limits, or a YAML file")
    train.add_argument("--run-dir", type=Path, help="folder to make (default: runs/<config>_s<seed>_<n>)")
    train.add_argument("--quiet", action="store_true", help="no progress bar")
    train.set_defaults(command=_train)
    evaluate = commands.add_parser("evaluate", help="violation report of a run")
    evaluate.add_argument("run", help="run folder")
    evaluate.add_argument("--episodes", type=_positive, default=100, help="episodes per policy (default 100)")
    evaluate.add_argument("--seed", type=_seed, default=0, help="seed of the evaluation (default 0)")
    evaluate.add_argument("--checkpoint", choices=("best", "last"), default="best", help="default: best feasible")
    evaluate.set_defaults(command=_evaluate)
    visualize = commands.add_parser("visualize", help="rollout video of a run, as mp4 and in TensorBoard")
    visualize.add_argument("run", help="run folder")
    visualize.add_argument("--seconds", type=_seconds, default=10.0, help="length (default 10)")
    visualize.add_argument("--width", type=_positive, default=480, help="of each half, pixels (default 480)")
    visualize.add_argument("--height", type=_positive, default=360, help="pixels (default 360)")
    visualize.add_argument("--seed", type=_seed, default=0, help="seed of the episode (default 0)")
    visualize.add_argument("--stochastic", action="store_true", help="sample actions")
    visualize.add_argument("--checkpoint", choices=("best", "last"), default="best", help="default: best feasible")
    visualize.set_defaults(command=_visualize)
    listing = commands.add_parser("list", help="environments, constraints, methods, configurations")
    listing.add_argument("--json", action="store_true", help="one JSON object")
    listing.set_defaults(command=_list)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**31:
        raise argparse.ArgumentTypeError(f"must be from 0 to {2**31 - 1}, got {number}")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number <= 3600:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 3600, got {number}")
    return number


def _train(options: argparse.Namespace) -> None:
    from rich.console import Console

    from saferl.experiment.config import load_config
    from saferl.experiment.run_folder import RunFolder
    from saferl.experiment.train import train

    warnings.filterwarnings("ignore", message="You are trying to run PPO on the GPU")
    config = load_config(options.config, options.rest)
    name = f"{Path(options.config).with_suffix('').as_posix().strip('/').replace('/', '-')}_s{config.seed}"
    run_dir = options.run_dir or RunFolder.next_free("runs", name)
    console = Console()
    folder = train(config, run_dir, None if options.quiet else console)
    console.print(f"run folder  {folder.path}", soft_wrap=True)
    console.print(f"next        saferl evaluate {folder.path}; saferl visualize {folder.path}", soft_wrap=True)
    console.print(f"TensorBoard tensorboard --logdir {folder.path}", soft_wrap=True)


def _evaluate(options: argparse.Namespace) -> None:
    from rich.console import Console

    from saferl.evaluation.report import to_tables
    from saferl.experiment.evaluate import evaluate

    report = evaluate(options.run, options.episodes, options.seed, options.checkpoint)
    console = Console(width=max(Console().width, 120))
    console.print(f"{report['env_id']}, {report['method']}, {report['episodes']} episodes per policy")
    for table in to_tables(report):
        console.print(table)
    console.print(f"report {Path(options.run) / 'report.json'} and report.md", soft_wrap=True)


def _visualize(options: argparse.Namespace) -> None:
    from rich.console import Console

    from saferl.experiment.config import VideoConfig
    from saferl.experiment.visualize import visualize

    try:
        video = VideoConfig(seconds=options.seconds, width=options.width, height=options.height)
    except ValueError:
        raise SaferlError(f"--width {options.width} --height {options.height}: valid are 120 to 4096 and 40 to 4096") from None
    made = visualize(options.run, video, options.seed, not options.stochastic, options.checkpoint)
    console = Console()
    if made.notice:
        console.print(f"note: {made.notice}", soft_wrap=True)
    console.print(f"video       {made.mp4} ({made.frames} frames)", soft_wrap=True)
    console.print(
        f"TensorBoard {made.clip_frames} frames under {made.tag!r}: tensorboard --logdir {options.run}", soft_wrap=True
    )


def _list(options: argparse.Namespace) -> None:
    from rich.console import Console

    from saferl.experiment.catalogue import catalogue, tables

    found = catalogue()
    if options.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    console = Console(width=max(Console().width, 120))
    for table in tables(found):
        console.print(table)


if __name__ == "__main__":
    sys.exit(main())

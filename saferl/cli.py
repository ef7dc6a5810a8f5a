"""The `saferl` command. Every error a user can cause is one line on stderr and exit code 2."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

try:
    from saferl.commands import (
        benchmark,
        calibrate,
        curves,
        evaluate,
        export,
        import_sb3,
        listing,
        resume,
        tabular,
        train,
        visualize,
    )
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
        if rest and not getattr(options, "takes_overrides", False):
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
    """Move the configuration before its options: argparse would take the value of an option it does not know for it."""
    if words[:1] not in (["train"], ["calibrate"]):
        return words
    options, skip = words[1:], False
    for i, word in enumerate(options):
        if skip:
            skip = False
        elif not word.startswith("-"):
            return [words[0], word, *options[:i], *options[i + 1 :]]
        else:
            skip = "=" not in word and word not in ("--quiet", "--help", "-h")
    return words


def _parser() -> _Parser:
    parser = _Parser(prog="saferl", description="Train, evaluate and watch robot policies that respect constraints.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="name")
    for module in (train, resume, evaluate, visualize, curves, benchmark, calibrate, export, import_sb3, tabular, listing):
        module.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())

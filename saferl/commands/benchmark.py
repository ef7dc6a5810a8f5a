"""``saferl benchmark GRID``: methods x tasks x seeds, and a report of them."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path

from saferl.commands.options import Commands, positive, seed
from saferl_envs.errors import ConfigError, Interrupted, SaferlError, choose


def add(commands: Commands) -> None:
    """Declare the command."""
    benchmark = commands.add_parser(
        "benchmark",
        help="methods x tasks x seeds, with a ranked report",
        epilog="A benchmark that was stopped goes on with the same command: runs that have finished are not run again.",
    )
    benchmark.add_argument("grid", help="built-in grid, e.g. velocity (see `saferl list`), or a YAML file")
    benchmark.add_argument("--out", type=Path, help="folder of the results (default: runs/benchmark-<grid>)")
    benchmark.add_argument("--methods", nargs="+", metavar="METHOD", help="run only these")
    benchmark.add_argument("--tasks", nargs="+", metavar="TASK", help="run only these")
    benchmark.add_argument("--seeds", nargs="+", type=seed, metavar="SEED", help="run only these")
    benchmark.add_argument("--jobs", type=positive, help="runs at a time, one thread each (default: number of cores)")
    benchmark.add_argument("--only-report", action="store_true", help="run nothing; tables and plots from the CSV files")
    benchmark.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Run what is missing of the grid, and report."""
    from rich.console import Console

    from saferl.experiment.grid import Run, check_cells, load_grid
    from saferl.experiment.grid_folder import BenchmarkFolder
    from saferl.experiment.grid_report import report
    from saferl.experiment.grid_rows import columns_of
    from saferl.experiment.grid_run import run_grid

    file = load_grid(options.grid)
    grid = file.grid
    wanted = {key: _subset(key, getattr(options, key), getattr(grid, key)) for key in ("methods", "tasks", "seeds")}
    folder = BenchmarkFolder(options.out or Path("runs") / f"benchmark-{file.name}")
    console = Console()
    failed = []
    if options.only_report:
        folder.require_grid(grid)
    else:
        cells = check_cells(file)
        folder.prepare(grid, cells)
        done = folder.done()
        # seed by seed, so that a benchmark that is stopped has something of every cell
        runs = [
            Run(cell, number)
            for number in grid.seeds
            for cell in cells
            if number in wanted["seeds"] and cell.method in wanted["methods"] and cell.task in wanted["tasks"]
            if (cell.method, cell.task, number) not in done
        ]
        jobs = options.jobs or _cores()
        console.print(f"{len(runs)} runs to do, {len(done)} done, {jobs} at a time, in {folder.path}", soft_wrap=True)
        try:
            failed = run_grid(grid, runs, folder, columns_of(cells), jobs, console) if runs else []
        except Interrupted as stop:
            command = shlex.join(["saferl", "benchmark", options.grid, "--out", str(folder.path)])
            raise Interrupted(f"{stop}; finished runs are kept, the others go on with: {command}") from None
    if not failed or folder.done():
        report(folder, grid, Console(width=max(console.width, 140)))
    if failed:
        raise SaferlError(
            f"{len(failed)} of {len(runs)} runs failed: {', '.join(f.name for f in failed)}; "
            f"their output is in {folder.runs}, and the same command tries them again"
        )


def _subset(key: str, asked: list[object] | None, all_of_them: tuple[object, ...]) -> tuple[object, ...]:
    """Return what is asked for of a grid's list, or all of it."""
    for item in asked or ():
        if item not in all_of_them:
            raise ConfigError(choose(key.removesuffix("s"), item, map(str, all_of_them), f"--{key}"))
    return tuple(asked or all_of_them)


def _cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""Running a grid: one process per run, each with one thread, as many at a time as asked; a killed benchmark goes on."""

from __future__ import annotations

import fcntl
import math
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

from saferl.experiment.grid import Grid, Run, options_of
from saferl.experiment.grid_folder import BenchmarkFolder
from saferl.experiment.grid_rows import collect
from saferl.experiment.run_folder import RunFolder
from saferl_envs.errors import ConfigError, Interrupted

PROGRAM = (sys.executable, "-m", "saferl.cli")
POLL_SECONDS = 0.1
GRACE_SECONDS = 10.0
"""What an interrupted run has for writing its checkpoint before it is killed."""


@dataclass(frozen=True)
class Failure:
    """A run that failed, and the last line of its log."""

    name: str
    reason: str


def run_grid(
    grid: Grid, runs: Sequence[Run], folder: BenchmarkFolder, columns: Sequence[str], jobs: int, console: Console
) -> list[Failure]:
    """Train and evaluate runs, and add a row for each as it finishes.

    Args:
        grid: Episodes, checkpoint and overrides.
        runs: What to run, in this order.
        folder: Where results go; prepared.
        columns: Costs and violation rates that rows have, see `columns_of`.
        jobs: How many at a time.
        console: Where progress is shown.

    Returns:
        The runs that failed; the others went on.

    Raises:
        ConfigError: Another benchmark, or a run that a killed one left behind, still works in this folder.
        Interrupted: Control-C or SIGTERM; every process that was started has ended.
    """
    waiting = deque(runs)
    active: list[_Process] = []
    failed: list[Failure] = []
    with _lock(folder.path) as lock, _stop_signals() as stop, _progress(console) as progress:
        bar = progress.add_task("runs", total=len(runs), running="")
        try:
            while (waiting or active) and not stop.is_set():
                while waiting and len(active) < jobs:
                    active.append(_Process(waiting.popleft(), grid, folder, lock))
                    progress.update(bar, running=" ".join(p.run.name for p in active))
                stop.wait(POLL_SECONDS)
                for process in [p for p in active if p.ended()]:
                    active.remove(process)
                    said = process.finish(columns)
                    if isinstance(said, Failure):
                        failed.append(said)
                        progress.console.print(f"failed {said.name}: {said.reason}", style="red", markup=False)
                    else:
                        progress.console.print(said, markup=False, highlight=False)
                    progress.update(bar, advance=1, running=" ".join(p.run.name for p in active))
        finally:
            _end(active)
    if active or waiting:
        done = len(runs) - len(waiting) - len(active) - len(failed)
        raise Interrupted(f"interrupted after {done} of {len(runs)} runs")
    return failed


class _Process:
    """A run's commands, one after the other, in processes that write into its log."""

    def __init__(self, run: Run, grid: Grid, folder: BenchmarkFolder, lock: int) -> None:
        self.run, self._folder, self._lock = run, folder, lock
        self.run_dir = folder.runs / run.name
        self._commands = deque(commands(run, grid, self.run_dir))
        self._log = folder.log(run.name)
        self._began = time.monotonic()
        self._trained = math.nan
        self._start()

    def _start(self) -> None:
        command = self._commands.popleft()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
        with self._log.open("ab") as log:
            log.write(f"$ saferl {shlex.join(command)}\n".encode())
            log.flush()
            # in a group of its own: Control-C reaches it through _end alone; the lock's descriptor is inherited, so a folder
            # stays locked as long as anything works in it, even if this process is killed without a word
            self.process = subprocess.Popen(
                [*PROGRAM, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment,
                start_new_session=True, pass_fds=(self._lock,),
            )  # fmt: skip

    def ended(self) -> bool:
        """Return whether all commands have ended, or one has failed; start the next one otherwise."""
        code = self.process.poll()
        if code is None:
            return False
        if code == 0 and self._commands:
            self._trained = time.monotonic() - self._began
            self._start()
            return False
        return True

    def finish(self, columns: Sequence[str]) -> str | Failure:
        """Add the row of an ended run and return what is to be said of it."""
        code = self.process.returncode
        if code != 0:
            killed = f"killed by signal {-code}; " if code < 0 else ""
            return Failure(self.run.name, killed + _last_line(self._log))
        try:
            row, curve = collect(self.run, self.run_dir, columns, self._trained)
        except (ConfigError, OSError, ValueError, LookupError, TypeError) as error:
            return Failure(self.run.name, f"its results cannot be read: {' '.join(str(error).split())}")
        self._folder.add(row, curve)
        cell = self.run.cell
        return (
            f"{cell.method}/{cell.task} seed {self.run.seed}: return {row['return_deterministic']:.4g} (deterministic), "
            f"{'' if row['feasible_deterministic'] else 'not '}feasible, {time.monotonic() - self._began:.0f} s"
        )


def commands(run: Run, grid: Grid, run_dir: Path) -> list[list[str]]:
    """Return the `saferl` commands that a run still needs, by what a killed benchmark left of it."""
    evaluate = ["evaluate", str(run_dir), "--checkpoint", grid.checkpoint, "--episodes", str(grid.episodes)]
    folder = RunFolder(run_dir)
    if folder.config_file.is_file():
        return [evaluate] if folder.finished else [["resume", str(run_dir), "--quiet"], evaluate]
    train = ["train", run.cell.source, "--run-dir", str(run_dir), "--quiet", *options_of(grid.overrides, run.seed)]
    return [train, evaluate]


@contextmanager
def _lock(folder: Path) -> Iterator[int]:
    """Hold the folder's lock and give its descriptor, for processes that work in the folder to inherit."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"{folder} is in use by another benchmark, or by a run that a killed one left behind; wait for it or end it"
            ) from None
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Give an event that Control-C, SIGTERM and the end of the terminal set; which of them were ignored stay so.

    An exception out of a signal handler could come between the start of a process and the note that it has been started.
    """
    stop = threading.Event()
    before = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
        before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _progress(console: Console) -> Progress:
    rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    return Progress(
        BarColumn(bar_width=12), MofNCompleteColumn(), TextColumn("runs"), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(compact=True), TextColumn("[dim]{task.fields[running]}", table_column=rest), console=console,
        refresh_per_second=2, expand=True,
    )  # fmt: skip


def _end(active: Sequence[_Process]) -> None:
    """Interrupt processes, so that they write their checkpoints, and kill what is left after a grace period."""
    for process in active:
        _send(process, signal.SIGINT)
    until = time.monotonic() + GRACE_SECONDS
    try:
        while any(process.process.poll() is None for process in active) and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
    finally:
        for process in active:
            _send(process, signal.SIGKILL)
            process.process.wait()


def _send(process: _Process, number: int) -> None:
    if process.process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.process.pid, number)


def _last_line(log: Path) -> str:
    """Return the last line that a run wrote."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    written = [line for line in lines if line and not line.startswith("$ saferl")]
    return f"{written[-1] if written else 'no output'} ({log})"

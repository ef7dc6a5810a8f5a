"""The folder of a benchmark: what it was made of, and its CSV files, to which every finished run adds."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from saferl.evaluation.aggregate import Requirement
from saferl.evaluation.report import POLICIES
from saferl.experiment.config import read_config
from saferl.experiment.grid import Cell, Grid, build_grid, run_name
from saferl.tracking.rows import append_row
from saferl_envs.errors import ConfigError

Array = np.ndarray[Any, Any]
RunKey = tuple[str, str, int]
"""Method, task, seed."""
_GROWS = ("methods", "tasks", "seeds")
"""What of a grid may be added to."""


@dataclass(frozen=True)
class Result:
    """The row of one run.

    Attributes:
        seconds: Of training; NaN where unknown.
        returns: By policy, the mean over the evaluation episodes.
        measured: By policy, what its requirements bound: mean episode costs and violation rates, by column.
    """

    method: str
    task: str
    seed: int
    timesteps: int
    seconds: float
    returns: Mapping[str, float]
    measured: Mapping[str, Mapping[str, float]]


class BenchmarkFolder:
    """Paths and small files of one benchmark.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.grid_file = self.path / "grid.yaml"
        self.cells_file = self.path / "cells.yaml"
        self.constraints_file = self.path / "constraints.csv"
        self.results = self.path / "results.csv"
        self.curves = self.path / "curves.csv"
        self.runs = self.path / "runs"

    def log(self, run: str) -> Path:
        """Return the file that holds the output of a run."""
        return self.runs / f"{run}.log"

    def require_grid(self, grid: Grid) -> None:
        """Refuse a folder of another grid. Methods, tasks and seeds may be added; published results may change.

        Raises:
            ConfigError: One line naming the first key that differs.
        """
        if not self.grid_file.is_file():
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise ConfigError(f"{self.path} exists and holds no benchmark; choose another --out or remove it")
            return
        stored = build_grid(read_config(str(self.grid_file))[0], str(self.grid_file))
        for key in Grid.model_fields:
            was, now = getattr(stored, key), getattr(grid, key)
            gone = [item for item in was if item not in now] if key in _GROWS else []
            if gone:
                other = f"choose another --out, or remove {self.path}"
                raise ConfigError(f"{self.grid_file} has {gone[0]!r} in {key}, this grid does not; {other}")
            if key not in ("reference", *_GROWS) and was != now:
                raise ConfigError(f"{self.grid_file} differs in {key}; choose another --out, or remove {self.path}")

    def prepare(self, grid: Grid, cells: Sequence[Cell]) -> None:
        """Make the folder, or check that runs it holds were made with the same grid and the same configurations.

        Cells may be added, and those be changed of which no run has begun.

        Raises:
            ConfigError: It was made with others, or cannot be written.
        """
        self.require_grid(grid)
        contents = {(cell.method, cell.task): dict(cell.config) for cell in cells}
        self._require_cells(grid, contents, _constraints_csv(cells))
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
            self.store_grid(grid)
            self.cells_file.write_text(_cells_yaml(contents), encoding="utf-8")
            self.constraints_file.write_text(_constraints_csv(cells), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write to {self.path}: {error.strerror or error}") from error

    def store_grid(self, grid: Grid) -> None:
        """Write ``grid.yaml``, from which the same benchmark can be run."""
        text = yaml.safe_dump(grid.model_dump(mode="json", by_alias=True), sort_keys=False)
        self.grid_file.write_text(text, encoding="utf-8")

    def _require_cells(self, grid: Grid, contents: Mapping[tuple[str, str], Any], constraints: str) -> None:
        """Refuse other configurations and constraints than those of runs that have begun."""
        if not self.cells_file.is_file():
            return
        begun = {(method, task) for method, task, _ in self.done()}
        begun |= {cell for cell in contents for seed in grid.seeds if (self.runs / run_name(*cell, seed)).exists()}
        stored, now = read_config(str(self.cells_file))[0], yaml.safe_load(_cells_yaml(contents))
        for method, task in sorted(begun):
            name = f"{method}/{task}"
            if stored.get(name) != now.get(name):
                raise ConfigError(
                    f"{self.cells_file}: {name} differs from the configuration as it is now; choose another --out, or remove "
                    f"{self.path}"
                )
        before = self.constraints_file.read_text(encoding="utf-8") if self.constraints_file.is_file() else ""
        tasks = {task for _, task in begun}
        for line in sorted(set(before.splitlines()) ^ set(constraints.splitlines())):
            if line.partition(",")[0] in tasks:
                raise ConfigError(
                    f"{self.constraints_file} differs from the constraints as they are now in {line!r}; choose another --out, "
                    f"or remove {self.path}"
                )

    def requirements(self) -> dict[str, tuple[Requirement, ...]]:
        """Return what every task asks of a policy.

        Raises:
            ConfigError: ``constraints.csv`` is missing or damaged.
        """
        found: dict[str, tuple[Requirement, ...]] = {}
        for where, row in _read(self.constraints_file):
            name, measure, sense = (_text(row, key, where) for key in ("constraint", "measure", "sense"))
            requirement = Requirement(name, measure, _number(row, "bound", where), sense)
            found[row["task"]] = (*found.get(row["task"], ()), requirement)
        return found

    def done(self) -> set[RunKey]:
        """Return the runs that have a row."""
        return {_key(row, where) for where, row in _read(self.results)} if self.results.is_file() else set()

    def read_results(self) -> list[Result]:
        """Return the rows of all finished runs.

        Raises:
            ConfigError: A row is damaged: one line naming file, line and column.
        """
        asked = self.requirements()
        found = []
        for where, row in _read(self.results):
            method, task, seed = _key(row, where)
            columns = [r.column for r in asked.get(task, ())]
            returns = {p: _number(row, f"return_{p}", where) for p in POLICIES}
            measured = {p: {c: _number(row, f"{c}_{p}", where) for c in columns} for p in POLICIES}
            seconds = _number(row, "seconds", where) if row.get("seconds") else math.nan
            found.append(Result(method, task, seed, int(_number(row, "timesteps", where)), seconds, returns, measured))
        return found

    def read_curves(self) -> dict[RunKey, dict[str, tuple[Array, Array]]]:
        """Return the learning curves: per run and column, steps (P,) and values (P,)."""
        points: dict[RunKey, dict[int, dict[str, str]]] = {}
        for where, row in _read(self.curves) if self.curves.is_file() else ():
            # a benchmark killed between curve and result writes the curve again: the later one counts
            points.setdefault(_key(row, where), {})[int(_number(row, "timesteps", where))] = row
        curves: dict[RunKey, dict[str, tuple[Array, Array]]] = {}
        for key, rows in points.items():
            names = [n for n in next(iter(rows.values())) if n not in ("method", "task", "seed", "timesteps")]
            for name in names:
                known = sorted((steps, float(row[name])) for steps, row in rows.items() if row.get(name))
                if known:
                    steps, values = np.array(known, np.float64).T
                    curves.setdefault(key, {})[name] = (steps, values)
        return curves

    def add(self, row: Mapping[str, Any], curve: Sequence[Mapping[str, Any]]) -> None:
        """Append a finished run; a run counts as done once its row in ``results.csv`` is there, so that comes last."""
        for point in curve:
            append_row(self.curves, point)
        append_row(self.results, row)


def _read(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Return the rows of a CSV file, each with the words that say where it stands."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [(f"{path} line {n}", row) for n, row in enumerate(csv.DictReader(file), start=2)]
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist: no run of this benchmark has finished yet") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


def _text(row: Mapping[str, str | None], key: str, where: str) -> str:
    value = row.get(key)
    if not value:
        raise ConfigError(f"{where}: column {key!r} is missing or empty")
    return value


def _number(row: Mapping[str, str | None], key: str, where: str) -> float:
    text = _text(row, key, where)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{where}: {key}: expected a finite number, got {text!r}")
    return value


def _key(row: Mapping[str, str | None], where: str) -> RunKey:
    return _text(row, "method", where), _text(row, "task", where), int(_number(row, "seed", where))


def _cells_yaml(contents: Mapping[tuple[str, str], Any]) -> str:
    """Return what the cells were made of, as YAML."""
    return yaml.safe_dump({f"{method}/{task}": content for (method, task), content in contents.items()}, sort_keys=False)


def _constraints_csv(cells: Sequence[Cell]) -> str:
    """Return what every task asks, as CSV: reports are made from CSV files alone."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("task", "constraint", "measure", "sense", "bound"))
    for task, requirements in dict.fromkeys((cell.task, cell.requirements) for cell in cells):
        writer.writerows((task, r.name, r.measure, r.sense, repr(r.bound)) for r in requirements)
    return text.getvalue()

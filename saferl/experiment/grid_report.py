"""The report of a benchmark, from its CSV files alone: ranked tables, normalised returns, improvements, pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from saferl.evaluation.aggregate import (
    Interval,
    Requirement,
    bootstrap,
    feasible_first,
    improvement,
    improvement_interval,
    iqm,
    normalise,
    pooled_iqm,
    pooled_mean,
)
from saferl.evaluation.curves import Panel, draw_curves, draw_improvement
from saferl.evaluation.report import POLICIES
from saferl.experiment.grid import Grid, Reference, run_name
from saferl.experiment.grid_folder import BenchmarkFolder, Result
from saferl.experiment.grid_tables import to_markdown, to_tables
from saferl_envs.errors import ConfigError

Array = np.ndarray[Any, Any]
Summary = dict[str, Any]
BASELINE = "ppo"
"""The method whose return is 1 where no published return is given: what the task pays without constraints."""


def report(folder: BenchmarkFolder, grid: Grid, console: Console) -> Summary:
    """Write ``report.md``, ``ranking.json``, ``curves.png`` and ``improvement.png`` into the folder, and print the tables.

    Raises:
        ConfigError: No run has finished, or a row is damaged.
    """
    summary = summarize(folder, grid)
    _draw(folder, grid, summary)
    (folder.path / "ranking.json").write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    (folder.path / "report.md").write_text(to_markdown(summary), encoding="utf-8")
    for table in to_tables(summary):
        console.print(table)
    console.print(f"report {folder.path / 'report.md'}, and ranking.json and pictures beside it", soft_wrap=True)
    return summary


def summarize(folder: BenchmarkFolder, grid: Grid) -> Summary:
    """Return everything the report says, as JSON data."""
    asked = folder.requirements()
    results = folder.read_results()
    if not results:
        raise ConfigError(f"{folder.results} holds no rows: no run of this benchmark has finished yet")
    expected = [run_name(m, t, s) for s in grid.seeds for t in grid.tasks for m in grid.methods]
    there = {run_name(r.method, r.task, r.seed) for r in results}
    tasks = [task for task in grid.tasks if any(r.task == task for r in results)]
    summary: Summary = {
        "grid": grid.model_dump(mode="json", by_alias=True),
        "runs": {"expected": len(expected), "found": len(there), "missing": [name for name in expected if name not in there]},
        "requirements": {
            task: [{"name": r.name, "column": r.column, "sense": r.sense, "bound": r.bound} for r in asked.get(task, ())]
            for task in tasks
        },
        "policies": {},
    }
    for policy in POLICIES:
        per_task = {}
        for task in tasks:
            runs = {m: [r for r in results if (r.task, r.method) == (task, m)] for m in grid.methods}
            runs = {m: sorted(found, key=lambda r: r.seed) for m, found in runs.items() if found}
            per_task[task] = _Task(task, policy, runs, asked.get(task, ()), grid.reference.get(task, {}))
        summary["policies"][policy] = {
            "tasks": {name: task.summary() for name, task in per_task.items()},
            "overall": _overall(list(per_task.values())),
        }
    return summary


class _Task:
    """The runs of one task under one policy.

    Attributes:
        returns: Per method (n,).
        ranks: Per method (n,): feasible-first ranks among all runs of the task.
        one: The return that is normalised to 1 and where it is from; None where nothing serves.
    """

    def __init__(
        self,
        name: str,
        policy: str,
        runs: Mapping[str, Sequence[Result]],
        asked: Sequence[Requirement],
        references: Mapping[str, Reference],
    ) -> None:
        self.name, self.runs, self._asked, self._references = name, runs, asked, references
        self.returns = {m: np.array([r.returns[policy] for r in found]) for m, found in runs.items()}
        self._measured = {
            m: {a.column: np.array([r.measured[policy][a.column] for r in found]) for a in asked} for m, found in runs.items()
        }
        excesses = {
            m: np.max([a.excess(self._measured[m][a.column]) for a in asked], axis=0) if asked else np.zeros(len(found)) - 1
            for m, found in runs.items()
        }
        self.holds = {m: excesses[m] <= 0 for m in runs}
        pooled = feasible_first(np.concatenate(list(self.returns.values())), np.concatenate(list(excesses.values())))
        self.ranks = dict(zip(runs, np.split(pooled, np.cumsum([len(found) for found in runs.values()])[:-1]), strict=True))
        self.excess = {m: max((float(a.excess(self._measured[m][a.column].mean())) for a in asked), default=-1.0) for m in runs}
        self.one = self._one()

    def _one(self) -> tuple[float, str] | None:
        """Return what is normalised to 1: the best published return within the limit, else the baseline's mean."""
        published = {name: r.returns for name, r in self._references.items() if self._within(r) and r.returns}
        if published:
            best = max(published, key=lambda name: published[name])
            return published[best], f"published: {best}"
        if BASELINE in self.returns and self.returns[BASELINE].mean() != 0:
            return float(self.returns[BASELINE].mean()), f"mean of {BASELINE}"
        return None

    def _within(self, reference: Reference) -> bool:
        """Whether a published cost is within the limit; said to be where it was not published or there are several limits."""
        limited = [a for a in self._asked if a.measure == "cost"]
        return reference.cost is None or len(limited) != 1 or float(limited[0].excess(reference.cost)) <= 0

    def summary(self) -> Summary:
        """Return the ranked table of the task."""
        methods = [self._row(m) for m in self.runs]
        ranks = feasible_first([row["return_iqm"] for row in methods], [row["excess"] for row in methods])
        order = np.argsort(-ranks, kind="stable")
        published = [
            {"name": name, "return": r.returns, "cost": r.cost, "within_limit": self._within(r) if r.cost is not None else None}
            for name, r in self._references.items()
        ]
        one = None if self.one is None else {"return": self.one[0], "source": self.one[1]}
        return {"methods": [methods[i] for i in order], "published": published, "normalised_to_1": one}

    def _row(self, method: str) -> Summary:
        returns, found = self.returns[method], self.runs[method]
        rates = [r.timesteps / r.seconds for r in found if r.seconds > 0]
        return {
            "method": method,
            "seeds": [r.seed for r in found],
            "feasible": self.excess[method] <= 0,
            "excess": self.excess[method],
            "return_iqm": float(iqm(returns)),
            "return_interval": bootstrap([returns], pooled_iqm),
            "requirements": {
                a.column: {"mean": float(values.mean()), "interval": bootstrap([values], pooled_mean)}
                for a in self._asked
                for values in [self._measured[method][a.column]]
            },
            "feasible_share": float(self.holds[method].mean()),
            "timesteps": float(np.mean([r.timesteps for r in found])),
            "steps_per_second": float(np.mean(rates)) if rates else None,
        }


def _overall(tasks: Sequence[_Task]) -> Summary:
    """Return what is said over all tasks, of the methods that have runs on each of them."""
    known = list(dict.fromkeys(m for task in tasks for m in task.runs))
    methods = [m for m in known if all(m in task.runs for task in tasks)]
    usable = [task for task in tasks if task.one is not None]
    rows = []
    for m in methods:
        scores = [normalise(task.returns[m], task.one[0]) for task in usable if task.one is not None]
        rows.append(
            {
                "method": m,
                "feasible": all(task.excess[m] <= 0 for task in tasks),
                "feasible_tasks": sum(task.excess[m] <= 0 for task in tasks),
                "excess": max(task.excess[m] for task in tasks),
                "iqm": float(pooled_iqm(scores)) if scores else None,
                "interval": bootstrap(scores, pooled_iqm) if scores else None,
                "feasible_share": float(np.concatenate([task.holds[m] for task in tasks]).mean()),
            }
        )
    ranks = feasible_first([row["iqm"] or 0.0 for row in rows], [row["excess"] for row in rows])
    return {
        "tasks": [task.name for task in tasks],
        "normalised_tasks": [task.name for task in usable],
        "methods": [rows[i] for i in np.argsort(-ranks, kind="stable")],
        "left_out": [m for m in known if m not in methods],
        "improvement": {x: {y: _improvement(tasks, x, y) for y in methods if y != x} for x in methods},
    }


def _improvement(tasks: Sequence[_Task], x: str, y: str) -> Summary:
    ours, theirs = [task.ranks[x] for task in tasks], [task.ranks[y] for task in tasks]
    interval: Interval | None = improvement_interval(ours, theirs)
    return {"probability": float(improvement(ours, theirs)), "interval": interval}


def _draw(folder: BenchmarkFolder, grid: Grid, summary: Summary) -> None:
    """Draw the learning curves, and, where there are two methods to compare, their probabilities of improvement."""
    curves = folder.read_curves()
    asked = folder.requirements()
    columns = []
    for task in (task for task in grid.tasks if task in summary["requirements"]):
        references = grid.reference.get(task, {})

        def runs(column: str, task: str = task) -> dict[str, list[tuple[Array, Array]]]:
            keys = {m: [(m, task, s) for s in grid.seeds] for m in grid.methods}
            found = {m: [curves[k][column] for k in keys[m] if column in curves.get(k, {})] for m in keys}
            return {m: series for m, series in found.items() if series}

        marks = {name: r.returns for name, r in references.items()}
        column = [Panel(task, "return per episode", runs("return"), marks=marks)]
        limited = [a for a in asked.get(task, ()) if a.measure == "cost"]
        for a in asked.get(task, ()):
            what = "cost per episode" if a.measure == "cost" else "share of steps violated"
            # a published cost is one number: with several limits nobody knows of which
            published = {n: r.cost for n, r in references.items() if r.cost is not None} if limited == [a] else {}
            column.append(Panel("", f"{a.name}\n{what}", runs(a.column), a.bound, a.sense, published))
        columns.append(column)
    draw_curves(columns, folder.path / "curves.png")
    overall = {policy: found["overall"] for policy, found in summary["policies"].items()}
    names = [row["method"] for row in next(iter(overall.values()))["methods"]]
    if len(names) < 2:
        return
    matrices = {
        policy: np.array([[found["improvement"][x][y]["probability"] if x != y else math.nan for y in names] for x in names])
        for policy, found in overall.items()
    }
    draw_improvement(names, matrices, folder.path / "improvement.png")

"""The tables of a benchmark's report, for documents and for the terminal: the same words in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

Summary = Mapping[str, Any]


@dataclass(frozen=True)
class _Sheet:
    """One table: its title, header, rows, and per row a style of the terminal."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    styles: Sequence[str | None]


def to_markdown(summary: Summary) -> str:
    """Return the report as a Markdown document."""
    grid, runs = summary["grid"], summary["runs"]
    lines = [
        "# Benchmark report",
        "",
        f"{len(grid['methods'])} methods x {len(grid['tasks'])} tasks x {len(grid['seeds'])} seeds; {runs['found']} of "
        f"{runs['expected']} runs finished. Checkpoint `{grid['checkpoint']}`, {grid['episodes']} evaluation episodes per "
        "policy and run.",
        "",
        *([f"Missing: {', '.join(runs['missing'])}.", ""] if runs["missing"] else []),
        *_explanations(summary),
        "",
        "![learning curves](curves.png)",
        "",
    ]
    for sheet in _sheets(summary):
        lines += [f"## {sheet.title}", "", *_markdown_table(sheet), ""]
    if len(next(iter(summary["policies"].values()))["overall"]["improvement"]) > 1:
        lines += ["![probability of improvement](improvement.png)", ""]
    return "\n".join(lines)


def to_tables(summary: Summary) -> list[Table]:
    """Return the report as terminal tables; infeasible methods are red, published results dim."""
    tables = []
    for sheet in _sheets(summary):
        table = Table(title=sheet.title, title_justify="left")
        for name in sheet.header:
            table.add_column(name, justify="left" if name in ("method", "row better than column") else "right")
        for row, style in zip(sheet.rows, sheet.styles, strict=True):
            table.add_row(*row, style=style)
        tables.append(table)
    return tables


def _explanations(summary: Summary) -> list[str]:
    found = next(iter(summary["policies"].values()))["tasks"]
    ones = [
        f"{task} {_figure(t['normalised_to_1']['return'])} ({t['normalised_to_1']['source']})"
        for task, t in found.items()
        if t["normalised_to_1"]
    ]
    return [
        "A method is feasible on a task if the mean over its seeds of every limited cost is within its limit (a constraint "
        "without a cost limit: of the share of steps that violate it). Feasible methods come first, by the interquartile mean "
        "(IQM) of their seeds' returns; the others follow by how much they miss. Intervals are 95 % bootstrap intervals over "
        "seeds, stratified by task where there are several; one seed has none.",
        "",
        "Published results are listed and drawn, never ranked: their protocol is not ours.",
        "",
        f"Normalised return: 1 is {'; '.join(ones) if ones else 'nothing here, no task has a published return or ppo'}.",
        "",
        "Probability of improvement: of two runs on the same task drawn at random, how often the row's is better, averaged "
        "over tasks (Agarwal et al. 2021, arXiv 2108.13264). A feasible run is better than every infeasible one; of two "
        "feasible ones the higher return is better, of two infeasible ones the one that misses by less.",
    ]


def _sheets(summary: Summary) -> list[_Sheet]:
    sheets = []
    for policy, found in summary["policies"].items():
        sheets += [_task_sheet(task, policy, summary) for task in found["tasks"]]
        if len(found["tasks"]) > 1:
            sheets.append(_overall_sheet(policy, found["overall"]))
        if len(found["overall"]["improvement"]) > 1:
            sheets.append(_improvement_sheet(policy, found["overall"]))
    return sheets


def _task_sheet(task: str, policy: str, summary: Summary) -> _Sheet:
    found, asked = summary["policies"][policy]["tasks"][task], summary["requirements"][task]
    header = ["rank", "method", "feasible", "return IQM"]
    for a in asked:
        header += [a["column"].replace("_", " ", 1), "limit"]
    header += ["feasible seeds", "steps/s"]
    rows, styles = [], []
    for rank, row in enumerate(found["methods"], start=1):
        cells = [str(rank), row["method"], _yes(row["feasible"]), _estimate(row["return_iqm"], row["return_interval"])]
        for a in asked:
            measured = row["requirements"][a["column"]]
            cells += [_estimate(measured["mean"], measured["interval"], a["column"]), _limit(a)]
        n = len(row["seeds"])
        rate = row["steps_per_second"]
        rows.append([*cells, f"{round(row['feasible_share'] * n)}/{n}", "-" if rate is None else f"{rate:,.0f}"])
        styles.append(None if row["feasible"] else "red")
    limited = [a for a in asked if a["column"].startswith("cost_")]
    for published in found["published"]:
        within = published["within_limit"]
        cells = ["-", f"published: {published['name']}", "-" if within is None else _yes(within), _figure(published["return"])]
        for a in asked:
            shown = limited == [a] and published["cost"] is not None
            cells += [_figure(published["cost"]) if shown else "-", _limit(a)]
        rows.append([*cells, "-", "-"])
        styles.append("dim")
    return _Sheet(f"{task}, {policy} policy", header, rows, styles)


def _overall_sheet(policy: str, overall: Summary) -> _Sheet:
    header = ("rank", "method", "feasible tasks", "normalised return IQM", "feasible seeds")
    n = len(overall["tasks"])
    rows = [
        (
            str(rank),
            row["method"],
            f"{row['feasible_tasks']}/{n}",
            "-" if row["iqm"] is None else _estimate(row["iqm"], row["interval"]),
            f"{100 * row['feasible_share']:.0f} %",
        )
        for rank, row in enumerate(overall["methods"], start=1)
    ]
    styles = [None if row["feasible"] else "red" for row in overall["methods"]]
    left_out = f"; left out, as they lack a task: {', '.join(overall['left_out'])}" if overall["left_out"] else ""
    return _Sheet(f"all tasks, {policy} policy{left_out}", header, rows, styles)


def _improvement_sheet(policy: str, overall: Summary) -> _Sheet:
    names = [row["method"] for row in overall["methods"]]
    found = overall["improvement"]
    rows = [
        [x, *("" if x == y else _estimate(found[x][y]["probability"], found[x][y]["interval"], digits=2) for y in names)]
        for x in names
    ]
    header = ("row better than column", *names)
    return _Sheet(f"probability of improvement, {policy} policy", header, rows, [None] * len(rows))


def _markdown_table(sheet: _Sheet) -> list[str]:
    body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (sheet.header, *sheet.rows)]
    return [body[0], "|" + "---|" * len(sheet.header), *body[1:]]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _limit(requirement: Summary) -> str:
    percent = requirement["column"].startswith("rate_")
    bound = f"{100 * requirement['bound']:g} %" if percent else f"{requirement['bound']:g}"
    return f"{requirement['sense']} {bound}"


def _estimate(value: float, interval: Sequence[float] | None, column: str = "", digits: int | None = None) -> str:
    """Return a number with its interval; shares of steps in per cent."""
    scale, unit = (100, " %") if column.startswith("rate_") else (1, "")
    texts = [_figure(scale * x, digits) for x in (value, *(interval or ()))]
    return texts[0] + unit + (f" [{texts[1]}, {texts[2]}]" if interval else "")


def _figure(value: float, digits: int | None = None) -> str:
    """Return a number with about three figures, and no exponent."""
    if digits is None:
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value + 0.0:.{digits}f}"

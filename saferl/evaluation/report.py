"""The violation report: JSON for programs, Markdown for documents, a table for the terminal; the same numbers in each."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from rich.table import Table

from saferl.evaluation.oscillation import METRICS

Report = dict[str, Any]
POLICIES = ("deterministic", "stochastic")


def to_markdown(report: Report) -> str:
    """Return the report as a Markdown document."""
    lines = [
        f"# Violation report: {report['env_id']}",
        "",
        f"Method `{report['method']}`, checkpoint `{report['checkpoint']}`, {report['episodes']} episodes per policy, "
        f"seed {report['seed']}.",
        "",
    ]
    for policy in POLICIES:
        summary = report[policy]
        lines += [
            f"## {policy.capitalize()} policy: return {mean_and_interval(summary['return_mean'], summary['return_interval'])}, "
            f"any violation on {_percent(summary['any_violation_rate'])} of steps",
            "",
            "| " + " | ".join(HEADER) + " |",
            "|" + "---|" * len(HEADER),
        ]
        lines += ["| " + " | ".join(row) + " |" for row in _rows(report, policy)]
        lines += ["", task_line(report, policy)] if report[policy].get("task") else []
        lines.append("")
    lines += training_lines(report)
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return "\n".join([*lines, f"Versions: {versions}. Commit: {report['commit']}.", ""])


HEADER = (
    "constraint",
    "limit",
    "violated steps",
    "episode cost [95 % interval]",
    "cost limit",
    "over limit",
    "worst margin",
)


def _rows(report: Report, policy: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for spec in report["constraints"]:
        found = report[policy]["constraints"][spec["name"]]
        unit = spec.get("unit", "1")
        suffix = "" if unit == "1" else f" {unit}"
        over = found["over_limit_rate"]
        rows.append(
            (
                spec["name"],
                f"{spec['limit']:g}{suffix}",
                _percent(found["violation_rate"]),
                mean_and_interval(found["cost_mean"], found["cost_interval"]),
                "-" if spec.get("cost_limit") is None else f"{spec.get('sense', '<=')} {spec['cost_limit']:g}",
                "-" if over is None else _percent(over),
                f"{found['worst_margin'] + 0.0:.3g}{suffix}",
            )
        )
    return rows


def training_lines(report: Report) -> list[str]:
    """Return how much the training swung, as a Markdown table; nothing where its log does not say."""
    if not report.get("training"):
        return []
    keys = [key for key in METRICS if any(key in metrics for metrics in report["training"].values())]
    head = ("quantity", *(METRICS[key] for key in keys))
    lines = ["## Training: reward per step and costs, iteration by iteration", ""]
    for key, part in (("training", "half"), ("training_end", "fifth")):
        rows = [f"| {name} | {' | '.join(shown(metrics, keys))} |" for name, metrics in report.get(key, {}).items()]
        lines += [f"Of its last {part}:", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head), *rows, ""]
    return lines


def task_line(report: Report, policy: str) -> str:
    """Return means of the task's outcomes in one line, empty where it has none."""
    return ", ".join(f"{name} {value:.3g}" for name, value in report[policy].get("task", {}).items())


def to_tables(report: Report) -> list[Table]:
    """Return one terminal table per policy; violated constraints are red."""
    tables = []
    for policy in POLICIES:
        summary = report[policy]
        table = Table(
            title=f"{policy} policy: return {mean_and_interval(summary['return_mean'], summary['return_interval'])}, "
            f"any violation on {_percent(summary['any_violation_rate'])} of steps",
            title_justify="left",
        )
        for name in HEADER:
            table.add_column(name, justify="left" if name == "constraint" else "right")
        for spec, row in zip(report["constraints"], _rows(report, policy), strict=True):
            found = summary["constraints"][spec["name"]]
            table.add_row(*row, style="red" if found["excess"] > 0 else None)
        tables.append(table)
    return tables


def shown(metrics: Mapping[str, float], keys: Collection[str] = tuple(METRICS)) -> list[str]:
    """Return some of a training's metrics as cells of a table, ``-`` for those that it does not have."""
    return [f"{metrics[key]:.4g}" if key in metrics else "-" for key in keys]


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def mean_and_interval(mean: float, interval: tuple[float, float] | list[float]) -> str:
    """Return a mean with its interval: one decimal, or three digits of what is small, as costs that are shares of steps are."""
    largest = max(abs(value) for value in (mean, *interval))
    digits = 1 if largest >= 10 or not largest > 1e-6 else min(6, 2 - math.floor(math.log10(largest)))
    return f"{mean:.{digits}f} [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"

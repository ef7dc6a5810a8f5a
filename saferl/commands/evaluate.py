"""``saferl evaluate RUN``: the violation report of a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saferl.commands.options import Commands, add_checkpoint, add_run, import_modules, positive, seed
from saferl_envs.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

FEW = 6
"""Constraints that have a column each in the table of disturbances."""


def add(commands: Commands) -> None:
    """Declare the command."""
    evaluate = commands.add_parser(
        "evaluate",
        help="violation report of a run",
        epilog="The environment may be changed for the evaluation: --env.limits.speed 2, --env.kwargs.play true, "
        "--env.disturbances.push 0.5; and so may the safeguard: --safeguard.name barrier, or --safeguard null for none; or "
        "both by a file, --changes FILE. The report is then called report_changed.",
    )
    add_run(evaluate)
    evaluate.add_argument("--episodes", type=positive, default=100, help="episodes per policy (default 100)")
    evaluate.add_argument("--seed", type=seed, default=0, help="seed of the evaluation (default 0)")
    add_checkpoint(evaluate)
    evaluate.add_argument(
        "--changes", metavar="FILE", help="YAML with sections env and safeguard, for any run; single options come on top"
    )
    evaluate.add_argument(
        "--disturb", action="append", metavar="all|NAME[=STRENGTH,...]",
        help="a table of the policy under disturbances (push, friction, mass, payload, motor_strength, latency); repeatable",
    )  # fmt: skip
    evaluate.set_defaults(command=run, takes_overrides=True)


def run(options: argparse.Namespace) -> None:
    """Evaluate, and print the report."""
    from rich.console import Console

    from saferl.evaluation.report import POLICIES, task_line, to_tables
    from saferl.experiment.config import merge, parse_overrides
    from saferl.experiment.evaluate import evaluate, read_changes

    import_modules(options)
    console = Console(width=max(Console().width, 120))
    changes = parse_overrides(options.rest)
    if options.changes is not None:
        changes = merge(read_changes(options.changes), changes)
    if options.disturb is not None:
        _disturb(options, changes, console)
        return
    report = evaluate(options.run, options.episodes, options.seed, options.checkpoint, changes)
    console.print(f"{report['env_id']}, {report['method']}, {report['episodes']} episodes per policy")
    for policy, table in zip(POLICIES, to_tables(report), strict=True):
        console.print(table)
        if line := task_line(report, policy):
            console.print(line, soft_wrap=True)
    name = "report_changed" if changes else "report"
    console.print(f"report {Path(options.run) / name}.json and {name}.md", soft_wrap=True)


def _disturb(options: argparse.Namespace, changes: dict[str, Any], console: Console) -> None:
    """Print the table of a policy under disturbances."""
    from rich.table import Table

    from saferl.experiment.build import make_copies
    from saferl.experiment.disturbed import cases_from, evaluate_disturbed
    from saferl.experiment.run_folder import RunFolder

    if changes:
        raise ConfigError("--disturb and changes of the environment do not go together; give one of them")
    everything = "all" in options.disturb
    cases = cases_from([] if everything else options.disturb)
    with console.status("playing") as status:
        rows, left_out, file = evaluate_disturbed(
            options.run, cases, options.episodes, options.seed, options.checkpoint,
            lambda case: status.update(f"playing {options.episodes} episodes under {case.name} {case.strength:g}"),
            leave_out=everything,
        )  # fmt: skip
    kinds = {c.name: c.kind for c in make_copies(RunFolder.open(options.run).config(), 1).constraints}
    violated = [name for name in kinds if any(row[name] > 0 for row in rows)]
    many = len(violated) > FEW
    groups = [kind for kind in ("hard", "soft", "style") if kind in kinds.values()] if many else violated
    title = f"deterministic policy, {options.episodes} episodes each; violated steps in %"
    table = Table(title=title + (", of each kind the worst constraint" if many else ""), title_justify="left")
    for name in ("disturbance", "strength", "return", "survived", "any", *groups):
        table.add_column(name, justify="left" if name == "disturbance" else "right")
    for row in rows:
        strength = "-" if row["unit"] == "-" else f"{row['strength']:g} {row['unit']}"
        rates = [_worst(row, [n for n in kinds if kinds[n] == g]) if many else f"{100 * row[g]:.2f}" for g in groups]
        shown = (f"{row['return']:.1f}", f"{100 * row['survived']:.0f} %", f"{100 * row['any_violation']:.2f}")
        table.add_row(row["disturbance"], strength, *shown, *rates)
    console.print(table)
    for reason in left_out:
        console.print(f"left out    {reason}", soft_wrap=True)
    console.print(f"all numbers {file}", soft_wrap=True)


def _worst(row: dict[str, Any], names: list[str]) -> str:
    """Return the name and the rate of the constraint that is violated most, or a dash."""
    name = max(names, key=lambda name: row[name])
    return f"{name} {100 * row[name]:.2f}" if row[name] > 0 else "-"

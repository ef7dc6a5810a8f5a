"""``saferl evaluate RUN``: the violation report of a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saferl.commands.options import Commands, add_checkpoint, add_run, import_modules, positive, seed
from saferl_envs.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console


def add(commands: Commands) -> None:
    """Declare the command."""
    evaluate = commands.add_parser(
        "evaluate",
        help="violation report of a run",
        epilog="The environment may be changed for the evaluation: --env.limits.speed 2, --env.kwargs.play true, "
        "--env.disturbances.push 0.5. The report is then called report_changed.",
    )
    add_run(evaluate)
    evaluate.add_argument("--episodes", type=positive, default=100, help="episodes per policy (default 100)")
    evaluate.add_argument("--seed", type=seed, default=0, help="seed of the evaluation (default 0)")
    add_checkpoint(evaluate)
    evaluate.add_argument(
        "--disturb", action="append", metavar="all|NAME[=STRENGTH,...]",
        help="a table of the policy under disturbances (push, friction, payload, motor_strength, latency); may be repeated",
    )  # fmt: skip
    evaluate.set_defaults(command=run, takes_overrides=True)


def run(options: argparse.Namespace) -> None:
    """Evaluate, and print the report."""
    from rich.console import Console

    from saferl.evaluation.report import POLICIES, task_line, to_tables
    from saferl.experiment.config import parse_overrides
    from saferl.experiment.evaluate import evaluate

    import_modules(options)
    console = Console(width=max(Console().width, 120))
    changes = parse_overrides(options.rest)
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

    from saferl.experiment.disturbed import cases_from, evaluate_disturbed

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
    worst = [name for name in list(rows[0])[6:-4] if any(row[name] > 0 for row in rows)]
    table = Table(title=f"deterministic policy, {options.episodes} episodes each; violated steps in %", title_justify="left")
    for name in ("disturbance", "strength", "return", "survived", "any", *worst):
        table.add_column(name, justify="left" if name == "disturbance" else "right")
    for row in rows:
        strength = "-" if row["unit"] == "-" else f"{row['strength']:g} {row['unit']}"
        rates = [f"{100 * row[name]:.2f}" for name in ("any_violation", *worst)]
        table.add_row(row["disturbance"], strength, f"{row['return']:.1f}", f"{100 * row['survived']:.0f} %", *rates)
    console.print(table)
    for reason in left_out:
        console.print(f"left out    {reason}", soft_wrap=True)
    console.print(f"all numbers {file}", soft_wrap=True)

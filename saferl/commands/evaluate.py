"""``saferl evaluate RUN``: the violation report of a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from saferl.commands.options import Commands, add_checkpoint, add_run, import_modules, positive, seed


def add(commands: Commands) -> None:
    """Declare the command."""
    evaluate = commands.add_parser("evaluate", help="violation report of a run")
    add_run(evaluate)
    evaluate.add_argument("--episodes", type=positive, default=100, help="episodes per policy (default 100)")
    evaluate.add_argument("--seed", type=seed, default=0, help="seed of the evaluation (default 0)")
    add_checkpoint(evaluate)
    evaluate.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Evaluate, and print the report."""
    from rich.console import Console

    from saferl.evaluation.report import to_tables
    from saferl.experiment.evaluate import evaluate

    import_modules(options)
    report = evaluate(options.run, options.episodes, options.seed, options.checkpoint)
    console = Console(width=max(Console().width, 120))
    console.print(f"{report['env_id']}, {report['method']}, {report['episodes']} episodes per policy")
    for table in to_tables(report):
        console.print(table)
    console.print(f"report {Path(options.run) / 'report.json'} and report.md", soft_wrap=True)

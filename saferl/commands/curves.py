"""``saferl curves RUN ...``: reward, costs and multipliers of runs side by side, and how much they swung."""

from __future__ import annotations

import argparse
from pathlib import Path

from saferl.commands.options import Commands, add_imports, import_modules
from saferl_envs.errors import SaferlError


def add(commands: Commands) -> None:
    """Declare the command."""
    curves = commands.add_parser("curves", help="reward, costs and multipliers of runs side by side, iteration by iteration")
    curves.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    curves.add_argument("--out", type=Path, default=Path("curves.png"), help="picture to write (default: curves.png)")
    add_imports(curves)
    curves.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Draw, and print the oscillation of each cost."""
    from rich.console import Console
    from rich.table import Table

    from saferl.evaluation.training_curves import draw_runs
    from saferl.experiment.evaluate import training_curves
    from saferl.experiment.run_folder import RunFolder

    import_modules(options)
    if options.out.suffix.lower() != ".png" or not options.out.parent.is_dir():
        raise SaferlError(f"--out {options.out}: must be a .png file in a folder that exists")
    found = [training_curves(RunFolder.open(name)) for name in options.runs]
    draw_runs(found, options.out)
    table = Table(title="iterations of the last half", title_justify="left")
    for name in ("run", "quantity", "mean", "last", "swing", "mean distance from limit", "mean excess", "crossings"):
        table.add_column(name, justify="left" if name in ("run", "quantity") else "right")
    for curves in found:
        for quantity, metrics in curves.oscillations().items():
            keys = ("mean", "last", "oscillation", "distance", "violation", "crossings")
            table.add_row(curves.title, quantity, *(f"{metrics[key]:.4g}" if key in metrics else "-" for key in keys))
    console = Console(width=max(Console().width, 120))
    console.print(table)
    console.print(f"curves in {options.out}", soft_wrap=True)

"""``saferl curves RUN ...``: reward, costs and multipliers of runs side by side, and how much they swung."""

from __future__ import annotations

import argparse
from pathlib import Path

from saferl.commands.options import Commands, add_imports, check_picture, import_modules, share


def add(commands: Commands) -> None:
    """Declare the command."""
    curves = commands.add_parser("curves", help="reward, costs and multipliers of runs side by side, iteration by iteration")
    curves.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    curves.add_argument("--part", type=share, default=0.5, help="share of the iterations that is measured, from the end (0.5)")
    curves.add_argument("--out", type=Path, default=Path("curves.png"), help="picture to write (default: curves.png)")
    add_imports(curves)
    curves.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Draw, and print the oscillation of each cost."""
    from rich.console import Console
    from rich.table import Table

    from saferl.evaluation.oscillation import METRICS
    from saferl.evaluation.report import shown
    from saferl.evaluation.training_curves import draw_runs, over_seeds
    from saferl.experiment.evaluate import training_curves
    from saferl.experiment.run_folder import RunFolder

    import_modules(options)
    check_picture(options.out)
    found = [training_curves(RunFolder.open(name)) for name in options.runs]
    draw_runs(found, options.out)
    table = Table(title=f"the last {options.part:.0%} of iterations", title_justify="left")
    for name in ("run", "quantity", *METRICS.values()):
        table.add_column(name, justify="left" if name in ("run", "quantity") else "right", no_wrap=name == "quantity")
    for curves in found:
        for quantity, metrics in curves.oscillations(options.part).items():
            table.add_row(curves.title, quantity, *shown(metrics))
    for kind, quantities in over_seeds(found, options.part).items():
        for quantity, quartiles in quantities.items():
            cells = [
                f"{quartiles[k][1]:.3g} [{quartiles[k][0]:.3g}, {quartiles[k][2]:.3g}]" if k in quartiles else "-"
                for k in METRICS
            ]
            table.add_row(f"median [quartiles] of {kind}", quantity, *cells)
    console = Console(width=max(Console().width, 160))
    console.print(table)
    console.print(f"curves in {options.out}", soft_wrap=True)

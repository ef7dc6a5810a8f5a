"""``saferl tabular PROBLEM``: descent-ascent and ReLOAD on a small problem whose optimum is known."""

from __future__ import annotations

import argparse
from pathlib import Path

from saferl.commands.options import Commands, check_picture, positive


def add(commands: Commands) -> None:
    """Declare the command."""
    tabular = commands.add_parser(
        "tabular",
        help="descent-ascent and ReLOAD on a small problem, beside its exact optimum",
        epilog="Problems: bandit, three_states, garnet, catch.",
    )
    tabular.add_argument("problem", help="bandit, three_states, garnet or catch")
    tabular.add_argument("--threshold", type=float, help="bound of the normalised cost, in place of the problem's own")
    tabular.add_argument("--iterations", type=positive, default=5000, help="default 5000")
    tabular.add_argument("--policy-rate", type=float, default=1.0, help="step of the policy (default 1)")
    tabular.add_argument("--multiplier-rate", type=float, default=0.5, help="step of the multipliers (default 0.5)")
    tabular.add_argument("--form", default="multiplier", help="what ReLOAD's policy extrapolates: multiplier (default) or full")
    tabular.add_argument("--out", type=Path, help="picture to write (default: tabular_PROBLEM.png)")
    tabular.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Play, print how each ended, and draw."""
    from rich.console import Console
    from rich.table import Table

    from saferl.evaluation.oscillation import both_fine, oscillation
    from saferl.tabular.draw import TITLES, draw
    from saferl.tabular.optimum import solve
    from saferl.tabular.players import ALGORITHMS
    from saferl.tabular.players import run as play
    from saferl.tabular.problems import make_problem

    cmdp = make_problem(options.problem)
    path = options.out or Path(f"tabular_{options.problem}.png")
    check_picture(path)
    if options.threshold is not None:
        cmdp = cmdp.with_thresholds([options.threshold] * len(cmdp.costs))
    optimum = solve(cmdp)
    table = Table(title=f"{cmdp.name}, {options.iterations:,} iterations; over the last half", title_justify="left")
    for name in ("algorithm", "reward", "cost", "multiplier", "swing of reward", "mean excess of cost", "near the optimum"):
        table.add_column(name, justify="left" if name == "algorithm" else "right")
    table.add_row("linear program", *(f"{x:.4f}" for x in (*optimum.returns[:2], optimum.multipliers[0])), "", "", "")
    found = {}
    for name in ALGORITHMS:
        found[name] = play(
            cmdp, name, options.iterations, options.policy_rate, options.multiplier_rate, options.form
        )  # fmt: skip
        returns, last = found[name].returns, found[name].returns[-1]
        near = both_fine(returns[:, 0], float(optimum.returns[0]), returns[:, 1:], cmdp.thresholds)
        numbers = (last[0], last[1], found[name].multipliers[-1, 0], oscillation(returns[:, 0], window=1)["oscillation"],
                   oscillation(returns[:, 1], float(cmdp.thresholds[0]))["violation"])  # fmt: skip
        table.add_row(TITLES[name], *(f"{number:.4f}" for number in numbers), f"{near:.0%}")
    draw(cmdp, optimum, found, path)
    console = Console(width=max(Console().width, 120))
    console.print(table)
    console.print(f"reward, cost and multiplier are the last iterate's; trajectories in {path}", soft_wrap=True)

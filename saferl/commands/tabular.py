"""``saferl tabular PROBLEM``: descent-ascent and ReLOAD on a small problem or game whose optimum is known."""

from __future__ import annotations

import argparse
from pathlib import Path

from saferl.commands.options import Commands, check_picture, positive


def add(commands: Commands) -> None:
    """Declare the command."""
    tabular = commands.add_parser(
        "tabular",
        help="descent-ascent and ReLOAD on a small problem, beside its exact optimum",
        epilog="Problems: bandit, three_states, garnet, catch. Games of two players: plane (min max xy; OGDA), "
        "pennies (matching pennies; OMWU).",
    )
    tabular.add_argument("problem", help="bandit, three_states, garnet or catch; or a game: plane, pennies")
    tabular.add_argument("--threshold", type=float, help="bound of the normalised cost, in place of the problem's own")
    tabular.add_argument("--iterations", type=positive, default=5000, help="default 5000")
    tabular.add_argument("--policy-rate", type=float, help="step of the policy (default 1), or of both players of a game (0.1)")
    tabular.add_argument("--multiplier-rate", type=float, help="step of the multipliers (default 0.5)")
    tabular.add_argument("--form", help="what ReLOAD's policy extrapolates: multiplier (default) or full")
    tabular.add_argument("--out", type=Path, help="picture to write (default: tabular_PROBLEM.png)")
    tabular.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Play, print how each ended, and draw."""
    from saferl.tabular.games import GAMES
    from saferl.tabular.problems import PROBLEMS
    from saferl_envs.errors import SaferlError, choose

    if options.problem not in (*PROBLEMS, *GAMES):
        raise SaferlError(choose("problem", options.problem, (*PROBLEMS, *GAMES), "saferl tabular"))
    path = options.out or Path(f"tabular_{options.problem}.png")
    check_picture(path)
    (_game if options.problem in GAMES else _problem)(options, path)


def _problem(options: argparse.Namespace, path: Path) -> None:
    from rich.table import Table

    from saferl.evaluation.oscillation import both_fine, oscillation
    from saferl.tabular.draw import TITLES, draw
    from saferl.tabular.optimum import solve
    from saferl.tabular.players import ALGORITHMS, Form
    from saferl.tabular.players import run as play
    from saferl.tabular.problems import make_problem

    cmdp = make_problem(options.problem)
    if options.threshold is not None:
        cmdp = cmdp.with_thresholds([options.threshold] * len(cmdp.costs))
    policy_rate = 1.0 if options.policy_rate is None else options.policy_rate
    multiplier_rate = 0.5 if options.multiplier_rate is None else options.multiplier_rate
    form: Form = options.form or "multiplier"
    optimum = solve(cmdp)
    table = Table(title=f"{cmdp.name}, {options.iterations:,} iterations; over the last half", title_justify="left")
    for name in ("algorithm", "reward", "cost", "multiplier", "swing of reward", "mean excess of cost", "near the optimum"):
        table.add_column(name, justify="left" if name == "algorithm" else "right")
    table.add_row("linear program", *(f"{x:.4f}" for x in (*optimum.returns[:2], optimum.multipliers[0])), "", "", "")
    found = {}
    for name in ALGORITHMS:
        found[name] = play(cmdp, name, options.iterations, policy_rate, multiplier_rate, form)
        returns, last = found[name].returns, found[name].returns[-1]
        near = both_fine(returns[:, 0], float(optimum.returns[0]), returns[:, 1:], cmdp.thresholds)
        numbers = (last[0], last[1], found[name].multipliers[-1, 0], oscillation(returns[:, 0], window=1)["oscillation"],
                   oscillation(returns[:, 1], float(cmdp.thresholds[0]))["violation"])  # fmt: skip
        table.add_row(TITLES[name], *(f"{number:.4f}" for number in numbers), f"{near:.0%}")
    draw(cmdp, optimum, found, path)
    _show(table, f"reward, cost and multiplier are the last iterate's; trajectories in {path}")


def _game(options: argparse.Namespace, path: Path) -> None:
    import numpy as np
    from rich.table import Table

    from saferl.tabular.draw import draw_game
    from saferl.tabular.games import GAMES, play_game
    from saferl_envs.errors import SaferlError

    for name in ("threshold", "multiplier_rate", "form"):
        if getattr(options, name) is not None:
            raise SaferlError(f"--{name.replace('_', '-')} is of problems with constraints, {options.problem} is a game")
    played = play_game(options.problem, options.iterations, options.policy_rate)
    table = Table(title=f"{options.problem}, {options.iterations:,} iterations", title_justify="left")
    for name in ("algorithm", "last iterate's distance from equilibrium", "average iterate's"):
        table.add_column(name, justify="left" if name == "algorithm" else "right")
    rest = GAMES[options.problem].rest
    for title, found in played.items():
        average = np.concatenate((found.x.mean(axis=0) - rest[0], found.y.mean(axis=0) - rest[1]))
        table.add_row(title, f"{found.distances[-1]:.3g}", f"{np.linalg.norm(average):.3g}")
    draw_game(f"{options.problem}: where both players are optimistic the last iterate comes to rest", played, path)
    _show(table, f"trajectories in {path}")


def _show(table: object, line: str) -> None:
    from rich.console import Console

    console = Console(width=max(Console().width, 120))
    console.print(table)
    console.print(line, soft_wrap=True)

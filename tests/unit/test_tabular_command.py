"""``saferl tabular``: one line for what is wrong, a table and a picture for what is right."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from saferl.cli import main


def test_it_prints_the_optimum_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "out.png"
    rates = ["--policy-rate", "0.5", "--iterations", "2000"]
    assert main(["tabular", "bandit", *rates, "--threshold", "0.3", "--out", str(picture)]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "│" in line]
    program, plain, reload = rows[0], rows[1], rows[-1]
    assert "0.3000" in program
    assert "100%" in reload
    assert "100%" not in plain
    with Image.open(picture) as drawn:
        assert drawn.width > 1000


@pytest.mark.parametrize(("game", "plain", "optimistic"), [("plane", "descent-ascent", "OGDA"), ("pennies", "weights", "OMWU")])
def test_games_come_to_rest_where_both_players_are_optimistic(game, plain, optimistic, tmp_path, capsys):
    picture = tmp_path / "out.png"
    assert main(["tabular", game, "--iterations", "2000", "--out", str(picture)]) == 0
    last = {row.split("│")[1].strip(): float(row.split("│")[2]) for row in capsys.readouterr().out.splitlines() if "│" in row}
    # multiplicative weights end on the edge of the simplex, descent-ascent far away
    assert min(value for name, value in last.items() if name.endswith(plain)) > 0.5
    assert last[optimistic] < 1e-3
    with Image.open(picture) as drawn:
        assert drawn.width > 600


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["bandits"], "did you mean 'bandit'"),
        (["bandit", "--threshold", "-1"], "no policy meets the thresholds"),
        (["bandit", "--form", "x"], "valid: full, multiplier"),
        (["bandit", "--iterations", "0"], "--iterations"),
        (["plane", "--threshold", "0.5"], "plane is a game"),
        (["pennies", "--policy-rate", "0"], "the policy rate must be a positive number"),
        (["bandit", "--policy-rate", "-1"], "the policy rate must be a positive number"),
        (["bandit", "--out", "x.foo"], "must be a .png file"),
        (["bandit", "--out", "missing/x.png"], "in a folder that exists"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tabular", *arguments]) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1

"""Curves of single runs: read from the log, measured, drawn, and part of the report."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from saferl.cli import main
from saferl.evaluation.training_curves import over_seeds, read_curves
from saferl.experiment.config import build_config
from saferl.experiment.evaluate import evaluate, training_curves
from saferl.experiment.train import train

TINY = {
    "env": {"id": "saferl/CartPoleBalance-v0", "num_envs": 4, "max_episode_steps": 15, "limits": {"cart_position": 0.05}},
    "method": {"name": "reload", "n_steps": 16, "batch_size": 32, "n_epochs": 1, "net_arch": [8]},
    "total_timesteps": 64 * 8,
    "evaluation": {"times": 0, "episodes": 2},
    "video": {"seconds": 0},
    "threads": 1,
    "torch_threads": 1,
}
SPECS = [
    {"name": "low", "cost_limit": 2.0},
    {"name": "free"},
    {"name": "high", "cost_limit": 1.0, "sense": ">="},
    {"name": "same", "cost_limit": 1.0, "sense": "=="},
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(build_config(TINY, "test"), tmp_path_factory.mktemp("curves") / "run")


def write(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_what_is_logged_is_the_rollout_alone(run):
    """Four copies, sixteen steps: the present cost is the share of violating steps times the length of episodes."""
    curves = training_curves(run)
    assert set(curves.costs) == set(curves.limits) == set(curves.multipliers) == {"cart_position", "pole_angle"}
    with run.progress.open() as file:
        rows = [row for row in csv.DictReader(file) if row["rollout/reward_per_step"]]
    assert len(rows) == len(curves.steps) == 8
    # episodes are 15 steps long unless the pole falls, which it does not in so few
    rates = np.array([float(row["constraint/cart_position/violation_rate"]) for row in rows])
    np.testing.assert_allclose(curves.costs["cart_position"], 15 * rates, rtol=1e-6)
    assert (np.diff(curves.steps) == 64).all()
    assert (np.abs(curves.reward) <= 1.0).all()  # raw, where the learner sees normalised ones


def test_oscillations_know_the_side_of_the_limit(tmp_path):
    path = tmp_path / "progress.csv"
    low, high = [3.0, 1.0, 3.0, 1.0], [0.5, 0.5, 2.0, 0.0]
    write(path, [
        {"time/total_timesteps": 10 * k, "rollout/reward_per_step": k, "constraint/low/present_cost": low[k],
         "constraint/high/present_cost": high[k], "constraint/free/present_cost": 0, "constraint/same/present_cost": 0}
        for k in range(4)
    ])  # fmt: skip
    found = read_curves(path, SPECS).oscillations()
    assert found.keys() == {"reward", "low", "high", "same"}
    assert found["same"]["violation"] == 1.0
    assert (found["low"]["mean"], found["low"]["last"], found["low"]["violation"], found["low"]["crossings"]) == (2, 1, 0.5, 1)
    # the last half is 2 and 0: at least 1 is wanted, so only the second falls short, by 1
    assert (found["high"]["mean"], found["high"]["last"], found["high"]["violation"]) == (1, 0, 0.5)
    assert found["high"]["distance"] == 1.0
    # `same` is never within its limit, so no iterate is fine
    assert found["reward"]["both_fine"] == 0.0


def test_iterates_near_the_best_within_the_limits(tmp_path):
    path = tmp_path / "progress.csv"
    rewards, costs = [9.0, 1.0, 2.0, 2.0, 1.99, 3.0, 1.0, 2.0], [9.0, 2.0, 2.0, 2.03, 2.0, 2.5, 1.0, 2.05]
    write(path, [
        {"time/total_timesteps": k, "rollout/reward_per_step": rewards[k], "constraint/low/present_cost": costs[k]}
        for k in range(8)
    ])  # fmt: skip
    curves = read_curves(path, SPECS[:1])
    # the best within the limit of 2, or 2 % above it, is 2: of the last half 1.99 is near it; 3 and the last are above
    assert curves.oscillations()["reward"]["both_fine"] == 0.25
    assert curves.oscillations(1.0)["reward"]["both_fine"] == 3 / 8


def test_quartiles_over_seeds_need_three_runs_of_a_kind(tmp_path):
    path = tmp_path / "progress.csv"

    def run(kind, level):
        write(path, [{"time/total_timesteps": k, "rollout/reward_per_step": level,
                      "constraint/low/present_cost": level} for k in range(4)])  # fmt: skip
        return read_curves(path, SPECS[:1], kind=kind)

    found = over_seeds([run("a", 1.0), run("b", 9.0), run("a", 2.0), run("b", 9.0), run("a", 4.0)], 0.5)
    assert list(found) == ["a"]
    assert found["a"]["low"]["mean"] == (1.5, 2.0, 3.0)
    assert found["a"]["low"]["violation"] == (0.0, 0.0, 1.0)


def test_logs_that_do_not_say_it(tmp_path):
    path = tmp_path / "progress.csv"
    write(path, [{"time/total_timesteps": 1, "rollout/ep_rew_mean": 2}] * 3)
    assert read_curves(path, SPECS) is None
    write(path, [{"time/total_timesteps": 1, "rollout/reward_per_step": 2, "constraint/low/present_cost": 1}] * 3)
    assert read_curves(path, SPECS) is None


def test_the_report_and_the_command(run, tmp_path, capsys):
    report = evaluate(run.path, episodes=2)
    assert report["training"].keys() == {"reward", "cart_position", "pole_angle"}
    written = json.loads(run.report.read_text())
    assert (written["training"], written["training_end"]) == (report["training"], report["training_end"])
    assert "both_fine" in report["training_end"]["reward"]
    assert "## Training" in run.report.with_suffix(".md").read_text()
    picture = tmp_path / "two.png"
    assert main(["curves", *[str(run.path)] * 3, "--part", "0.2", "--out", str(picture)]) == 0
    printed = capsys.readouterr().out
    assert "cart_position" in printed
    assert "median" in printed
    assert main(["curves", str(run.path), "--part", "0"]) == 2
    assert "above 0" in capsys.readouterr().err
    with Image.open(picture) as image:
        assert image.width > image.height
    assert main(["curves", str(tmp_path / "nothing")]) == 2
    assert "does not exist" in capsys.readouterr().err
    for wrong in ("x.foo", "missing/x.png"):
        assert main(["curves", str(run.path), "--out", str(tmp_path / wrong)]) == 2
        assert "--out" in capsys.readouterr().err


def test_a_log_that_does_not_say_it_or_is_damaged_costs_no_report(run, capsys):
    log = run.progress.read_bytes()
    try:
        run.progress.write_text("a,b\n1,2\n")
        assert main(["curves", str(run.path)]) == 2
        assert "does not hold rewards and costs" in capsys.readouterr().err
        lines = log.decode().splitlines()
        column = lines[0].split(",").index("rollout/reward_per_step")
        cells = lines[2].split(",")
        cells[column] = "0.5abc"
        run.progress.write_text("\n".join([*lines[:2], ",".join(cells), *lines[3:]]) + "\n")
        with pytest.warns(UserWarning, match="is damaged"):
            report = evaluate(run.path, episodes=2)
        assert "training" not in report
        assert run.report.is_file()
        assert main(["curves", str(run.path)]) == 2
        assert "is damaged" in capsys.readouterr().err
    finally:
        run.progress.write_bytes(log)


def test_a_limit_that_the_method_alone_gives_is_drawn(tmp_path):
    edge = {"family": "signal_limit", "name": "edge", "signal": "joint_position", "components": ["slider"],
            "bound": "absolute", "limit": 0.05}  # fmt: skip
    env = {"id": "saferl/CartPoleBalance-v0", "num_envs": 4, "max_episode_steps": 15, "constraints": [edge]}
    method = {**TINY["method"], "cost_limits": {"edge": 3.0}}
    run = train(build_config({**TINY, "env": env, "method": method}, "test"), tmp_path / "run")
    curves = training_curves(run)
    assert curves.limits == {"edge": (3.0, "<=")}
    assert set(curves.costs) == set(curves.multipliers) == {"edge"}
    assert "edge" in evaluate(run.path, episodes=2)["training"]


def test_an_exported_folder_has_no_curves(run, tmp_path, capsys):
    assert main(["export", str(run.path), str(tmp_path / "small")]) == 0
    capsys.readouterr()
    assert main(["curves", str(tmp_path / "small")]) == 2
    assert "progress.csv" in capsys.readouterr().err

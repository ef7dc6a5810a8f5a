"""Evaluations in a changed environment and under disturbances, through the command."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from saferl.cli import main

from saferl_envs.engine import Engine
from saferl_envs.errors import TaskError
from saferl_envs.tasks.solo12 import Solo12Flat


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "solo"
    config = folder.with_suffix(".yaml")
    config.write_text(
        "{env: {id: saferl/Solo12Flat-v0, num_envs: 4, max_episode_steps: 40}, method: {name: cat, n_steps: 8, batch_size: 32,"
        " net_arch: [8]}, total_timesteps: 64, evaluation: {times: 0}, video: {seconds: 0}}"
    )
    assert main(["train", str(config), "--run-dir", str(folder), "--quiet"]) == 0
    return folder


def test_a_changed_environment_has_a_report_of_its_own(run, capsys):
    assert main(["evaluate", str(run), "--episodes", "4", "--env.limits.torque", "0.001"]) == 0
    assert "report_changed" in capsys.readouterr().out
    report = json.loads((run / "report_changed.json").read_text())
    assert report["changes"] == {"env": {"limits": {"torque": 0.001}}}
    assert report["deterministic"]["constraints"]["torque"]["violation_rate"] == 1.0
    assert set(report["deterministic"]["reward_terms"]) == {"tracking", "turning"}
    assert not (run / "report.json").exists()
    assert main(["evaluate", str(run), "--episodes", "4"]) == 0
    assert json.loads((run / "report.json").read_text())["deterministic"]["constraints"]["torque"]["violation_rate"] < 1.0


def test_the_table_of_disturbances(run, capsys):
    assert main(["evaluate", str(run), "--episodes", "4", "--disturb", "friction=0.5", "--disturb", "payload"]) == 0
    assert "disturbances.csv" in capsys.readouterr().out
    rows = list(csv.DictReader((run / "disturbances.csv").open()))
    found = [(row["disturbance"], float(row["strength"])) for row in rows]
    assert found == [("none", 0.0), ("friction", 0.5), ("payload", 0.1), ("payload", 0.2), ("payload", 0.4)]
    assert len({row["return"] for row in rows}) == 5
    assert all(0 <= float(row["torque"]) <= float(row["any_violation"]) <= 1 for row in rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method.gamma", "0.9"], "an evaluation can only change the environment"),
        (["--env.limits.torqe", "3"], "torqe"),
        (["--env.kwargs.command-grid", "[2, 2]"], "three whole numbers"),
        (["--env.num-envs", "3"], "unknown key 'num_envs'"),
        (["--env.id", "saferl/HalfCheetahVelocity-v0"], "the policy was trained on"),
        (["--disturb", "wind"], "unknown disturbance 'wind'"),
        (["--disturb", "payload=0.1", "--disturb", "motor_strength=-1"], "must be a number >= 0"),
        (["--disturb", "push=hard"], "expected numbers such as push=0.25"),
        (["--disturb", "latency=0.0011"], "multiple of the physics step"),
        (["--disturb", "push", "--env.limits.torque", "3"], "do not go together"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(run, capsys, options, message):
    assert main(["evaluate", str(run), "--episodes", "2", *options]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error


def test_a_grid_of_commands_is_covered_once_by_successive_seeds_and_kept():
    engine = Engine(Solo12Flat(play=True, command_grid=(3, 2, 2)), 12, threads=1)
    engine.seed(np.arange(7, 19))
    engine.reset()
    command = engine.memory["command"].copy()
    assert len({tuple(row) for row in command.tolist()}) == 12
    np.testing.assert_allclose(np.unique(command[:, 0]), [-0.3, 0.35, 1.0])
    assert np.unique(command[:, 1]).tolist() == [-0.7, 0.7]
    for _ in range(300):
        engine.step(np.zeros((12, 12)))
    np.testing.assert_array_equal(engine.memory["command"], command)
    with pytest.raises(TaskError, match="three whole numbers"):
        Solo12Flat(command_grid=(3, 0, 1))


def test_disturbances_are_refused_for_training(tmp_path, capsys):
    assert main(["train", "cat/solo12_flat", "--run-dir", str(tmp_path / "run"), "--env.disturbances.push", "0.5"]) == 2
    assert "are for evaluations" in capsys.readouterr().err

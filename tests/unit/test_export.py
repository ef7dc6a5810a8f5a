"""An exported run plays and evaluates as the run does, and holds nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from saferl.cli import main
from saferl.experiment.build import load_model, predictor
from saferl.experiment.checkpoint import read_checkpoint
from saferl.experiment.config import build_config
from saferl.experiment.evaluate import evaluate
from saferl.experiment.export import export
from saferl.experiment.run_folder import RunFolder
from saferl.experiment.train import train

from saferl_envs.errors import CheckpointError

CONFIG = {
    "env": {"id": "saferl/CartPoleBalance-v0", "num_envs": 4, "max_episode_steps": 30},
    "method": {"name": "ppo_lag", "n_steps": 16, "batch_size": 32, "net_arch": [16], "cost_limits": {"cart_position": 3}},
    "total_timesteps": 128,
    "evaluation": {"times": 1, "episodes": 2},
    "video": {"seconds": 0},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(build_config(CONFIG, "test"), tmp_path_factory.mktemp("runs") / "run")


def test_the_exported_policy_is_the_runs(run: RunFolder, tmp_path: Path) -> None:
    report = evaluate(run.path, episodes=3, which="last")
    made, left_out = export(run.path, tmp_path / "out", "last")
    assert left_out == []
    assert sorted(file.name for file in made.path.iterdir()) == sorted(
        ["config.yaml", "last.pt", "meta.json", "report.json", "report.md", made.digests.name]
    )
    observations = np.random.default_rng(0).normal(size=(50, 5))
    first, second = (
        predictor(load_model(folder.config(), folder.checkpoint("last")), True)(observations) for folder in (run, made)
    )
    np.testing.assert_array_equal(first, second)
    again = evaluate(made.path, episodes=3)
    assert again["deterministic"] == report["deterministic"]
    assert made.last.stat().st_size < 0.6 * run.last.stat().st_size


def test_it_holds_neither_moments_nor_training_state_and_cannot_be_resumed(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run.path), str(tmp_path / "out"), "--checkpoint", "last"]) == 0
    assert "cannot be resumed" in capsys.readouterr().out
    state = read_checkpoint(tmp_path / "out/last.pt")
    assert state["training"] is None
    for name in ("policy.optimizer", "cost_critics.optimizer"):
        assert state["states"][name]["state"] == {}
    assert main(["resume", str(tmp_path / "out")]) == 2
    assert "made by saferl export and holds no training state" in capsys.readouterr().err


def test_reports_on_another_checkpoint_and_the_command_line_stay_behind(run: RunFolder, tmp_path: Path) -> None:
    evaluate(run.path, episodes=2, which="best")
    report = json.loads((run.path / "report.json").read_text())
    assert report["checkpoint"] == "best.pt"
    made, left_out = export(run.path, tmp_path / "last", "last")
    assert left_out == ["report.json", "report.md"]
    assert not (made.path / "report.json").exists()
    meta = json.loads((made.path / "meta.json").read_text())
    assert "command" in json.loads((run.path / "meta.json").read_text())
    assert "command" not in meta
    assert meta["exported"] == {"checkpoint": "last.pt", "timesteps": 128, "finished": True}
    best, nothing = export(run.path, tmp_path / "best", "best")
    assert nothing == []
    assert best.checkpoint("best").name == "best.pt"
    assert evaluate(best.path, episodes=2)["return_mean"] == report["return_mean"]


def test_nothing_is_overwritten_and_a_changed_run_is_refused(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="not an empty folder"):
        export(run.path, tmp_path / "out")
    evaluate(run.path, episodes=2)
    (run.path / "report.md").write_text("better than it was")
    with pytest.raises(CheckpointError, match=r"report\.md is not the file that was sealed"):
        export(run.path, tmp_path / "other")
    assert not (tmp_path / "other").exists()

"""The trained policy in the repository still plays as its report says."""

import json
import shutil
from pathlib import Path

import pytest
from saferl.experiment.evaluate import evaluate

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/solo12_flat"


def test_the_shipped_policy_walks_within_its_limits(tmp_path: Path) -> None:
    run = shutil.copytree(EXAMPLE, tmp_path / "run")
    known = json.loads((run / "report.json").read_text())["deterministic"]
    report = evaluate(run, episodes=30)["deterministic"]
    assert report["return_mean"] == pytest.approx(known["return_mean"], rel=0.1)
    assert report["length_mean"] == 500
    for name in ("torque", "joint_velocity", "joint_acceleration", "action_rate", "foot_force", "front_hip_pitch"):
        assert report["constraints"][name]["violation_rate"] < 0.005


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in EXAMPLE.iterdir()) < 500_000

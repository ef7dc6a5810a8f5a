"""The page on your own quadruped: its robot stands, its blocks run, and its configuration trains."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs/your_quadruped.md"
STANDS = """
import numpy as np
import my_robot
from saferl_envs.make import make_engine

engine = make_engine("me/WalkerPlay-v0", 2)
heights, names = [], engine.constraints.names
assert engine.observation_space.shape == (45,) and engine.action_space.shape == (12,) and len(names) == 14
for _ in range(300):
    t = engine.step(np.zeros((2, 12)))
    heights.append(engine.simulation.qpos[:, 2].copy())
assert not t.terminated.any() and not t.diverged.any()
assert abs(heights[-1] - heights[-100]).max() < 5e-3  # soft contacts creep
assert heights[-1].min() > 0.25, heights[-1]
held = dict(zip(names, t.violated[0].tolist(), strict=True))
assert not any(held[name] for name in ("torque", "joint_velocity", "foot_force", "knee_contact", "hip_roll")), held
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def run(command: list[str], place: Path) -> str:
    environment = {**os.environ, "MUJOCO_GL": "off", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(place)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def place(tmp_path: Path) -> Path:
    robot, _ = blocks("python")
    (tmp_path / "my_robot.py").write_text(robot)
    return tmp_path


def test_the_robot_is_short_and_stands_within_its_limits(place: Path) -> None:
    assert len([line for line in (place / "my_robot.py").read_text().splitlines() if line.strip()]) < 40
    run([sys.executable, "-c", STANDS], place)


def test_the_second_block_makes_a_batch(place: Path) -> None:
    code = "import my_robot\n" + blocks("python")[1]
    assert run([sys.executable, "-c", code], place).startswith("(64, 45) ('torque', ")


def test_the_configuration_trains_and_is_disturbed(place: Path) -> None:
    (text,) = blocks("yaml")
    (place / "my_robot.yaml").write_text(text.replace("num_envs: 256", "num_envs: 8").replace("3072", "96"))
    cli = [sys.executable, "-m", "saferl.cli"]
    small = ["--total-timesteps", "192", "--evaluation.episodes", "1", "--evaluation.times", "1", "--video.seconds", "0"]
    run([*cli, "train", "my_robot.yaml", "--run-dir", "runs/walker", "--quiet", *small], place)
    played = ["--import", "my_robot", "--disturb", "push=0.5", "--episodes", "2"]
    assert "push" in run([*cli, "evaluate", "runs/walker", *played], place)

"""The how-to page: every block runs, the robot is short, and what it registers keeps the contract of an environment."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml
from saferl.experiment.config import build_config

PAGE = Path(__file__).resolve().parents[2] / "docs/your_own_environment.md"
CONTRACT = """
import warnings
import gymnasium, numpy as np
from gymnasium.utils.env_checker import check_env
import saferl_envs
from saferl_envs.constraints import ConstraintSet

ID = "me/Arm-v0"
assert ID in saferl_envs.task_ids()
with warnings.catch_warnings():
    warnings.simplefilter("error")
    for expected in (".*observation space m(in|ax)imum value is", "no window: ", "compiler attribute"):
        warnings.filterwarnings("ignore", message=expected)
    check_env(gymnasium.make(ID).unwrapped)
env, batch = gymnasium.make(ID), gymnasium.make_vec(ID, num_envs=3, threads=1)
constraints = env.get_wrapper_attr("constraints")
assert isinstance(constraints, ConstraintSet) and constraints.names == ("joint_speed", "lamp")
first, again, other = env.reset(seed=3)[0], env.reset(seed=3)[0], env.reset(seed=4)[0]
assert (first == again).all() and (first != other).any()
single, info = env.reset(seed=7)
assert info["cost"] == 0 and not info["constraint_costs"].any()
together, _ = batch.reset(seed=6)
rng = np.random.default_rng(0)
violated, total, done, k = np.zeros(2, int), 0.0, False, 0
while not done:
    k += 1
    actions = (np.sign(np.sin(k / 12)) * rng.uniform(0.5, 1, (3, 2))).astype(np.float32)  # it swings to and fro
    single, reward, terminated, done, info = env.step(actions[1])
    together, rewards, _, _, infos = batch.step(actions)
    assert (single == together[1]).all() and reward == rewards[1] == info["reward_height"]
    assert (info["constraint_values"] == infos["constraint_values"][1]).all()
    worst = [max(info["constraint_values"][:2]), info["constraint_values"][2]]
    assert (info["constraint_costs"] == (np.array(worst) > 0)).all()
    total += info["cost_joint_speed"]
    assert info["episode_cost"] == total and np.isfinite(single).all() and not terminated
    violated += info["constraint_violation"]
assert (violated > 0).all() and (violated < 250).all(), violated
assert not {"torch", "stable_baselines3"} & set(__import__("sys").modules)
"""


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def run(code, tmp_path):
    """Run code in a process of its own: ids can be registered once only."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "MUJOCO_GL": "off", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_python_block_runs_alone(tmp_path):
    found = blocks("python")
    assert len(found) == 5
    for code in found[:-1]:
        run(code, tmp_path)


def test_an_environment_is_constrained_in_ten_lines(tmp_path):
    lines = [line for line in blocks("python")[0].splitlines() if line.strip()]
    assert len(lines) <= 10
    assert "('slow',)" in run(blocks("python")[0], tmp_path)


def test_the_robot_takes_less_than_forty_lines_and_keeps_the_contract(tmp_path):
    robot = blocks("python")[-1]
    assert len([line for line in robot.splitlines() if line.strip()]) < 40
    run(robot + CONTRACT, tmp_path)


def test_the_configuration_is_valid_and_its_constraints_bind():
    from saferl_envs.make import make_copies

    (text,) = blocks("yaml")
    config = build_config(yaml.safe_load(text), "the page")
    copies = make_copies(config.env.id, 2, **config.env.arguments())
    assert copies.constraints.names == ("slow", "gentle")
    assert copies.step([[2.0], [-2.0]]).values.shape == (2, 2)

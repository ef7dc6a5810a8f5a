"""Tiny tasks with facts that can be computed by hand, and copies of the suite's own to try things on."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from saferl_envs import make_task
from saferl_envs.constraints import AxisSpeed, JointPosition
from saferl_envs.engine import Engine
from saferl_envs.task import State, Task

SLIDER = """
<mujoco><option timestep="0.01"/>
  <worldbody><body name="block"><joint name="slide" type="slide" axis="1 0 0"/><geom name="block" size=".1" mass="1"/>
  <body name="arm" pos="0 0 .3"><joint name="swing" type="hinge" axis="0 1 0"/><geom name="arm" size=".05" pos="0 0 .2"/>
  <site name="tip" pos="0 0 .2"/></body></body></worldbody>
  <actuator><motor name="push" joint="slide" gear="5" ctrllimited="true" ctrlrange="-1 1"/></actuator></mujoco>
"""


class Slider(Task):
    """A block on a rail with a swinging arm; randomises its mass, remembers a counter, ends far from the origin."""

    control_timestep = 0.02
    max_episode_steps = 50
    requires = ("qpos", "qvel", "action", "base_velocity")
    base_body = "block"
    base_joints = ("slide",)

    def __init__(self, push: float = 0.0) -> None:
        self.push = push

    def spec(self):
        return mujoco.MjSpec.from_string(SLIDER)

    @property
    def constraints(self):
        return (
            AxisSpeed(name="speed", limit=0.5, cost_limit=5.0),
            JointPosition(name="swing", limit=0.3, components=("swing",)),
        )

    def initial_state(self, noise, model):
        return State(noise.uniform("qpos", 2, -0.2, 0.2), noise.normal("qvel", 2, 0.5))

    def initial_memory(self, noise):
        return {"age": np.zeros((noise.n, 1)), "wind": noise.uniform("wind", 1, -1.0, 1.0)}

    def advance(self, memory, signals, noise):
        gust = noise.normal("gust", 1, 0.1)
        return {"age": memory["age"] + 1.0, "wind": 0.9 * memory["wind"] + gust}

    def randomize(self, noise, model, memory):
        mass = np.tile(model.body_mass, (noise.n, 1))
        mass[:, 1:2] *= noise.uniform("mass", 1, 0.5, 2.0)
        return {"body_mass": mass}

    def observe(self, signals, memory):
        return np.concatenate((signals["qpos"], signals["qvel"], memory["wind"], memory["age"]), axis=1)

    def reward(self, signals, memory):
        return {"forward": signals["base_velocity"][:, 0], "effort": -0.1 * np.square(signals["action"]).sum(axis=-1)}

    def terminated(self, signals, memory):
        return np.abs(signals["qpos"][:, 0]) > 0.6


def engine(name: str, n: int, **kwargs: Any) -> Engine:
    """Return copies of a task, seeded 0 ... n - 1 and reset."""
    made = Engine(make_task(f"saferl/{name}", **kwargs), n, threads=1)
    made.seed(np.arange(n))
    made.reset()
    return made


def random_actions(copies: Engine, rng: np.random.Generator, branches: int = 1) -> np.ndarray[Any, Any]:
    """Return actions (N, branches, na), uniform within their bounds."""
    low, high = copies.action_space.low, copies.action_space.high
    return rng.uniform(low, high, (branches, copies.num_envs, len(low))).swapaxes(0, 1)

"""Circle: run about a circle that reaches beyond walls one may not pass, two of them (level 1) or four (level 2).

Levels, sizes, costs and rewards are those of Safety-Gymnasium's Circle tasks.
Version history: v0, first version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from saferl_envs.constraints import Constraint, SignalLimit
from saferl_envs.signals import FloatArray, Signals
from saferl_envs.task import Memory
from saferl_envs.tasks.navigation import KEEPOUT, Navigation, add_marker, check_level, flat
from saferl_envs.tasks.navigation_robots import Car, Point
from saferl_envs.tasks.registry import register_task

RADIUS, WALL, START, REACH = 1.5, 1.125, 0.8, 6.0
"""m: of the circle, distance of the walls from the middle, half-width of where robots start, reach of the lidar."""
SHARE = 0.1
LEVELS = (0, 1, 2)


class Circle(Navigation):
    """Position (2), velocity (2), turning speed, cos and sin of the heading, speeds of the car's wheels, lidars; m, m/s, rad/s.

    The first lidar sees the circle's middle, others what is added of hazards, vases and pillars, 16 bins each.
    The reward is the speed about the middle over one plus the distance from the circle. Walls only cost.
    At level 0 the walls are measured and not limited.

    Args:
        level: 0, 1 or 2; obstacles of `Navigation` may be added to any.
        cost_limit: Bound on the number of steps beyond a wall per episode.
        **numbers: See `Navigation`.
    """

    max_episode_steps = 500

    def __init__(self, level: int = 1, cost_limit: float | None = 25.0, **numbers: Any) -> None:
        check_level(level, LEVELS)
        super().__init__(**{"cost_limit": cost_limit, "extent": 2.0, **numbers})
        self.level = level

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        walls = SignalLimit(
            name="walls", signal="position", components=("x",) if self.level == 1 else ("x", "y"), bound="absolute", limit=WALL,
            unit="m", cost_limit=self.cost_limit if self.level else None,
        )  # fmt: skip
        return (walls, *super().constraints)

    def furnish(self, spec: mujoco.MjSpec) -> None:
        add_marker(spec, "circle", [RADIUS, 0.01, 0], (0.1, 0.8, 0.2, 0.35))
        walls = [(1, 0), (-1, 0), (0, 1), (0, -1)][: 2 * self.level]
        for i, (x, y) in enumerate(walls):
            spec.worldbody.add_geom(
                name=f"wall{i}", type=mujoco.mjtGeom.mjGEOM_BOX, pos=[WALL * x, WALL * y, 0.15], contype=0, conaffinity=0,
                size=[0.01 if x else 3.0, 0.01 if y else 3.0, 0.15], rgba=[0.9, 0.7, 0.1, 0.3],
            )  # fmt: skip

    @property
    def start_extent(self) -> float:
        return START + KEEPOUT["robot"]

    def markers(self, memory: Memory) -> Mapping[str, FloatArray]:
        return {**super().markers(memory), "circle": flat(np.zeros((len(memory["robot"]), 2)), 0.01)}

    def sights(self, signals: Signals, memory: Memory) -> list[tuple[FloatArray, float]]:
        return [(np.zeros((len(signals["qpos"]), 1, 2)), REACH), *super().sights(signals, memory)]

    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        return np.concatenate((signals["position"], super().observe(signals, memory)), axis=1)

    def reward(self, signals: Signals, memory: Memory) -> Mapping[str, FloatArray]:
        (x, y), (u, v) = signals["position"].T, signals["qvel"][:, :2].T
        radius = np.maximum(np.hypot(x, y), 1e-9)
        return {"circle": SHARE * (v * x - u * y) / radius / (1.0 + np.abs(radius - RADIUS))}


@register_task("saferl/PointCircle0-v0", level=0)
@register_task("saferl/PointCircle1-v0", level=1)
@register_task("saferl/PointCircle2-v0", level=2)
class PointCircle(Circle):
    """The point runs about the circle."""

    robot = Point()
    control_timestep = 0.02


@register_task("saferl/CarCircle0-v0", level=0)
@register_task("saferl/CarCircle1-v0", level=1)
@register_task("saferl/CarCircle2-v0", level=2)
class CarCircle(Circle):
    """The car runs about the circle."""

    robot = Car()
    control_timestep = 0.04

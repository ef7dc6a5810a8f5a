"""Solo-12 crosses boxes, slopes and stairs as commanded, seeing a height scan; the ground grows harder with its success.

Chane-Sane et al. 2024 (CaT, arXiv 2403.18765, released code): ten levels, start at the lowest; one up after more than 3 m from
the start, one down where the robot neither got there nor covered a quarter of what was commanded; from the top to the lowest.
Version history: v0, first version.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import mujoco
import numpy as np

from saferl_envs.constraints import Constraint, Gate
from saferl_envs.noise import Noise
from saferl_envs.signals import FloatArray, SignalInfo, Signals
from saferl_envs.task import Memory, State
from saferl_envs.tasks.registry import register_task
from saferl_envs.tasks.solo12 import Solo12Flat
from saferl_envs.terrain import TYPES, terrain_from

SCAN_X, SCAN_Y = np.linspace(-0.24, 0.72, 13), np.linspace(-0.4, 0.4, 11)
"""Points of the height scan in front of and beside the base, m: 8 cm apart."""
SCAN_NOISE, SCAN_SCALE, SCAN_OFFSET = 0.01, 5.0, 0.3
FLAT = 1e-3  # m^2; variance of the scan below which style constraints apply
PROMOTION = 0.75  # of half a field's width, from its middle: 3 m


@register_task("saferl/Solo12Terrain-v0")
@register_task("saferl/Solo12TerrainPlay-v0", play=True)
class Solo12Terrain(Solo12Flat):
    """As `Solo12Flat`, with 143 heights more to see, on terrain; style constraints hold on flat ground only.

    Args:
        play: See `Quadruped`; implies `curriculum` false.
        curriculum: Begin at the lowest level and rise; else copies stand on all levels and columns, chosen by their seed.
        action_limit: See `Quadruped`.
        command_grid: See `Quadruped`.
        terrain: Keyword arguments of `Terrain` that differ from its defaults.
    """

    requires: ClassVar = (*Solo12Flat.requires, "base_yaw", "base_position", "terrain_variance", "height_scan")
    derived_signals: ClassVar = {
        "height_scan": SignalInfo(tuple(f"{x:.2f}_{y:.2f}" for x in SCAN_X for y in SCAN_Y), "m"),
        "terrain_variance": SignalInfo(("variance",), "m^2"),
    }
    camera = "track"

    def __init__(
        self,
        play: bool = False,
        action_limit: float = 5.0,
        command_grid: Sequence[int] | None = None,
        terrain: Mapping[str, Any] | None = None,
        curriculum: bool = True,
    ) -> None:
        super().__init__(play, action_limit, command_grid)
        self.curriculum = curriculum and not play
        self.terrain = terrain_from(terrain or {})
        self.ground = self.terrain.build()
        self._points = np.stack(np.meshgrid(SCAN_X, SCAN_Y, indexing="ij"), axis=-1).reshape(-1, 2)
        self._noise = np.concatenate((self._noise, np.full(len(self._points), 0.0 if play else SCAN_NOISE)))

    def spec(self) -> mujoco.MjSpec:
        spec = super().spec()
        heights, (length, width) = self.ground.heights, self.ground.extent
        low, high = float(heights.min()), float(heights.max())
        field = spec.add_hfield(name="ground", nrow=heights.shape[1], ncol=heights.shape[0])
        field.size = [length / 2, width / 2, high - low, 1.0]
        # MuJoCo's rows run along y, and its data from 0 to 1
        field.userdata = ((heights.T - low) / (high - low)).astype(np.float32).ravel()
        floor = spec.geom("floor")
        floor.type, floor.hfieldname = mujoco.mjtGeom.mjGEOM_HFIELD, "ground"
        floor.pos = [length / 2, width / 2, low]
        # drawn from 1 cm to 60 m away: these are multiples of the extent, which would be the ground's, and cut the robot off
        spec.stat.extent, spec.visual.map.znear, spec.visual.map.zfar = 1.0, 0.01, 60.0
        return spec

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        flat = Gate(signal="terrain_variance", below=FLAT)
        found = super().constraints
        return tuple(dataclasses.replace(c, when=(*c.when, flat)) if c.kind == "style" else c for c in found)

    def derive(self, signals: Signals) -> Mapping[str, FloatArray]:
        cosine, sine = np.cos(signals["base_yaw"]), np.sin(signals["base_yaw"])
        base, (ahead, beside) = signals["base_position"], self._points.T
        found = self.ground.height(base[:, :1] + cosine * ahead - sine * beside, base[:, 1:2] + sine * ahead + cosine * beside)
        return {"height_scan": found, "terrain_variance": found.var(axis=1, keepdims=True)}

    def initial_memory(self, noise: Noise) -> Memory:
        levels, columns = self.ground.origins.shape[:2]
        cell = (noise.seeds % np.uint64(levels * columns)).astype(np.int64)
        # a stride that shares no factor with the cells: few successive seeds still see many levels and columns
        cell = cell * 77 % (levels * columns) if not self.curriculum else cell
        level = np.zeros(noise.n, np.int64) if self.curriculum else cell // columns
        place = np.stack((level, cell % columns, np.zeros(noise.n)), axis=1).astype(np.float64)
        return {**super().initial_memory(noise), "place": place}

    def next_memory(self, noise: Noise, last: Memory, signals: Signals) -> Memory:
        memory = self.initial_memory(noise)
        if not self.curriculum:
            return memory
        level, column, farthest = last["place"].T
        wanted = 0.25 * np.linalg.norm(last["command"][:, :2], axis=1) * self.max_episode_steps * self.control_timestep
        up = farthest > PROMOTION * self.terrain.size / 2
        down = ~up & (self._distance(last, signals) < wanted)
        level = np.maximum(level + up - down, 0.0) % self.ground.origins.shape[0]
        return {**memory, "place": np.stack((level, column, np.zeros(noise.n)), axis=1)}

    def advance(self, memory: Memory, signals: Signals, noise: Noise) -> Memory:
        place = memory["place"].copy()
        place[:, 2] = np.maximum(place[:, 2], self._distance(memory, signals))
        return {**super().advance(memory, signals, noise), "place": place}

    def _origin(self, memory: Memory) -> FloatArray:
        level, column = memory["place"][:, :2].astype(np.intp).T
        origin: FloatArray = self.ground.origins[level, column]
        return origin

    def _distance(self, memory: Memory, signals: Signals) -> FloatArray:
        away = signals["base_position"][:, :2] - self._origin(memory)
        return np.asarray(np.sqrt(np.einsum("nk,nk->n", away, away)))

    def place(self, noise: Noise, model: mujoco.MjModel, memory: Memory) -> State:
        qpos, qvel = self.initial_state(noise, model)
        origin, yaw = self._origin(memory), noise.uniform("yaw", 1, -np.pi, np.pi)[:, 0]
        qpos[:, :2] = origin
        qpos[:, 2] += self.ground.height(origin[:, 0], origin[:, 1])
        qpos[:, 3], qpos[:, 6] = np.cos(yaw / 2), np.sin(yaw / 2)
        return State(qpos, qvel)

    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        seen = super().observe(signals, memory)
        below = signals["base_position"][:, 2:3] - SCAN_OFFSET - signals["height_scan"]
        noise = memory["noise"][:, -len(self._points) :]
        return np.concatenate((seen, SCAN_SCALE * np.clip(below + noise, -1.0, 1.0)), axis=1)

    def metrics(self, memory: Memory) -> Mapping[str, float]:
        level, column = memory["place"][:, :2].astype(np.intp).T
        kinds = np.array(self.terrain.columns)[column]
        by_type = {f"level/{kind}": float(level[kinds == kind].mean()) for kind in sorted(set(kinds.tolist()))}
        return {"level": float(level.mean()), **by_type}

    def outcomes(self, memory: Memory) -> Mapping[str, FloatArray]:
        level, column = memory["place"][:, :2].astype(np.intp).T
        kinds = np.array(self.terrain.columns)[column]
        crossed = np.asarray(memory["place"][:, 2] > PROMOTION * self.terrain.size / 2, np.float64)
        found = {"crossed": crossed}
        found |= {f"crossed/{kind}": np.where(kinds == kind, crossed, np.nan) for kind in TYPES}
        return found | {f"crossed/level_{k}": np.where(level == k, crossed, np.nan) for k in range(self.terrain.levels)}

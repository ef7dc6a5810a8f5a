"""What navigation tasks share: a robot among hazards, vases and pillars on a floor, seen by pseudo-lidar.

Geometry, costs and levels are those that Safety-Gymnasium 1.0 publishes (arXiv 2310.12567, after Ray, Achiam and Amodei 2019);
observations are of our choosing: velocity, turning speed and heading of the robot, then a lidar for each kind of thing.
Layouts are drawn anew for every episode, or given in parts or whole::

    env.reset(options={"layout": {"robot": (0.0, 0.0, 1.57), "goal": (1.0, 0.5)}})
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import mujoco
import numpy as np

from saferl_envs.constraints import Constraint, SignalLimit
from saferl_envs.errors import TaskError, choose
from saferl_envs.lidar import REACH, in_frame, lidar
from saferl_envs.noise import Noise
from saferl_envs.placement import place
from saferl_envs.signals import BoolArray, FloatArray, SignalInfo, Signals
from saferl_envs.task import Memory, State, Task
from saferl_envs.tasks.navigation_robots import Robot

HAZARD, VASE, PILLAR, PILLAR_HEIGHT = 0.2, 0.1, 0.2, 0.5
"""m: radius of a hazard, half the edge of a vase, radius and half the height of a pillar."""
KEEPOUT = {"robot": 0.4, "hazards": 0.18, "vases": 0.15, "pillars": 0.3, "goal": 0.305}
"""m: how far from each the others begin."""
VASE_SINK, VASE_DENSITY, STILL = 4e-5, 1e-3, 1e-4
"""m and kg/m^3: how deep a vase stands and how light it is; m/s: a vase that is slower stands still."""
RESTING = 0.02
"""m/s: a robot that brakes and is slower is taken to stand; the point's heading servo alone shakes it at half of this."""
COLORS = {"hazards": (0.1, 0.1, 0.9, 0.35), "vases": (0.1, 0.8, 0.8, 1.0), "pillars": (0.4, 0.4, 0.45, 1.0)}


class Navigation(Task):
    """A robot among things; a subclass gives it something to do.

    Args:
        hazards: Number of hazards: discs not to be entered.
        vases: Number of vases: light boxes not to be touched.
        pillars: Number of pillars: posts not to be touched.
        extent: Half the width of the square in which things are placed, m.
        cost_limit: Bound on the number of violating steps per episode, of each constraint; None only measures.

    Raises:
        TaskError: A number is invalid.
    """

    robot: ClassVar[Robot]
    base_body = "robot"
    camera = "track"

    def __init__(
        self, hazards: int = 0, vases: int = 0, pillars: int = 0, extent: float = 2.0, cost_limit: float | None = 25.0
    ) -> None:
        self.counts = {"hazards": hazards, "vases": vases, "pillars": pillars}
        for name, count in self.counts.items():
            if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 0:
                raise TaskError(f"{type(self).__name__}: {name} must be a whole number from 0 on, got {count!r}")
        if isinstance(extent, bool) or not isinstance(extent, (int, float)) or not 0.6 <= extent <= 4.0:
            raise TaskError(f"{type(self).__name__}: extent must be a number from 0.6 to 4 (m), got {extent!r}")
        self.extent, self.cost_limit = extent, cost_limit
        self.contact_groups = {  # type: ignore[misc]  # of this very task
            kind: tuple(f"{kind}{i}" for i in range(self.counts[kind])) for kind in ("vases", "pillars") if self.counts[kind]
        }
        self.contact_partners = dict.fromkeys(self.contact_groups, "robot")  # type: ignore[misc]
        self.requires = ("qpos", "qvel", *(f"contact_force/{kind}" for kind in self.contact_groups))  # type: ignore[misc]
        named = {kind: tuple(f"{kind}{i}" for i in range(count)) for kind, count in self.counts.items()}
        self.derived_signals = {  # type: ignore[misc]
            "position": SignalInfo(("x", "y"), "m"),
            **({"hazard_distance": SignalInfo(named["hazards"], "m")} if hazards else {}),
            **({"vase_speed": SignalInfo(named["vases"], "m/s")} if vases else {}),
        }
        self.memory_signals = (  # type: ignore[misc]
            {"hazards": SignalInfo(tuple(f"{n}_{axis}" for n in named["hazards"] for axis in "xy"), "m")} if hazards else {}
        )

    def spec(self) -> mujoco.MjSpec:
        spec = self.robot.spec()
        spec.visual.global_.offwidth, spec.visual.global_.offheight = 640, 480
        world = spec.worldbody
        world.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[5, 5, 0.1], condim=6, rgba=[0.9, 0.92, 0.9, 1])
        world.add_light(type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=[0, 0, 5], dir=[0.2, 0.3, -1.0], diffuse=[0.6] * 3)
        width = 1.5 * self.extent + 1.0
        world.add_camera(name="track", pos=[0, -width, 1.4 * width], xyaxes=[1, 0, 0, 0, 0.8, 0.6])
        for i in range(self.counts["hazards"]):
            add_marker(spec, f"hazards{i}", [HAZARD, 0.01, 0], COLORS["hazards"])
        for i in range(self.counts["vases"]):
            vase = world.add_body(name=f"vases{i}", pos=[0, 0, VASE - VASE_SINK])
            vase.add_freejoint(name=f"vases{i}")
            vase.add_geom(
                name=f"vases{i}", type=mujoco.mjtGeom.mjGEOM_BOX, size=[VASE] * 3, density=VASE_DENSITY, condim=6,
                rgba=COLORS["vases"],
            )  # fmt: skip
        for i in range(self.counts["pillars"]):
            pillar = world.add_body(name=f"pillars{i}", pos=[-4.0, 0.5 * i, PILLAR_HEIGHT])
            pillar.add_geom(
                name=f"pillars{i}", type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[PILLAR, PILLAR_HEIGHT, 0], condim=6,
                rgba=COLORS["pillars"],
            )  # fmt: skip
        self.furnish(spec)
        return spec

    def furnish(self, spec: mujoco.MjSpec) -> None:
        """Add what the task has beside obstacles."""

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        found: list[Constraint] = []
        limit = self.cost_limit
        if self.counts["hazards"]:
            found.append(
                SignalLimit(name="hazards", signal="hazard_distance", bound="lower", limit=HAZARD, unit="m", cost_limit=limit)
            )
        found += [
            SignalLimit(name=kind, signal=f"contact_force/{kind}", bound="upper", limit=0.0, unit="N", cost_limit=limit)
            for kind in self.contact_groups
        ]
        if self.counts["vases"]:
            found.append(
                SignalLimit(name="moved_vases", signal="vase_speed", bound="upper", limit=STILL, unit="m/s", cost_limit=limit)
            )
        return tuple(found)

    @property
    @abstractmethod
    def start_extent(self) -> float:
        """Half the width of the square in which robots start, their keep-out included, m."""

    def things(self) -> list[tuple[str, int]]:
        """Return the kinds of things in the order in which they get their places, and how many there are of each."""
        return [("robot", 1), *self.counts.items()]

    def lay_out(self, noise: Noise, given: Memory) -> Memory:
        """Return where things are, those that are not given clear of each other and of those that are.

        Args:
            noise: Of the n copies.
            given: What has its place, by kind: ``robot`` (n, 3) with the heading, others (n, 2 times their number).
        """
        n, memory = noise.n, dict(given)
        kinds = self.things()
        taken = [(given[k][:, : 2 * count].reshape(n, count, 2), KEEPOUT[k]) for k, count in kinds if k in given]
        for kind, count in kinds:
            if kind in given:
                continue
            extent = self.start_extent if kind == "robot" else self.extent
            found = place(noise, kind, count, extent, KEEPOUT[kind], taken)
            taken.append((found, KEEPOUT[kind]))
            memory[kind] = found.reshape(n, 2 * count)
            if kind == "robot":
                memory[kind] = np.concatenate((memory[kind], noise.uniform("heading", 1, 0.0, 2.0 * np.pi)), axis=1)
        return memory

    def initial_memory(self, noise: Noise) -> Memory:
        return self.lay_out(noise, {})

    def arrange(self, noise: Noise, memory: Memory, options: Mapping[str, Any]) -> Memory:
        for key in options:
            if key != "layout":
                raise TaskError(choose("option", key, ["layout"], f"{type(self).__name__}.reset"))
        where, layout = f"layout of {type(self).__name__}", options["layout"]
        counts = {kind: count for kind, count in self.things() if count}
        if not isinstance(layout, Mapping):
            raise TaskError(f"{where}: expected a mapping of {', '.join(counts)} to positions, got {layout!r}")
        given = {}
        for kind, value in layout.items():
            if kind not in counts:
                raise TaskError(choose("thing", kind, counts, where))
            given[kind] = np.tile(_positions(value, kind, counts[kind], where), (noise.n, 1))
        return self.lay_out(noise, given)

    def place(self, noise: Noise, model: mujoco.MjModel, memory: Memory) -> State:
        qpos = np.zeros((noise.n, model.nq))
        qpos[:, : self.robot.nq] = self.robot.at(memory["robot"])
        count = self.counts["vases"]
        turn = 0.5 * noise.uniform("vase_heading", count, 0.0, 2.0 * np.pi)
        vases = qpos[:, self.robot.nq :].reshape(noise.n, count, 7)
        vases[..., :2] = memory["vases"].reshape(noise.n, count, 2)
        vases[..., 2] = VASE - VASE_SINK
        vases[..., 3], vases[..., 6] = np.cos(turn), np.sin(turn)
        return State(qpos, np.zeros((noise.n, model.nv)))

    def initial_state(self, noise: Noise, model: mujoco.MjModel) -> State:
        return self.place(noise, model, self.initial_memory(noise))

    def randomize(self, noise: Noise, model: mujoco.MjModel, memory: Memory) -> Mapping[str, FloatArray]:
        count = self.counts["pillars"]
        if not count:
            return {}
        positions = np.tile(model.body_pos, (noise.n, 1, 1))
        first = model.body("pillars0").id
        positions[:, first : first + count, :2] = memory["pillars"].reshape(noise.n, count, 2)
        return {"body_pos": positions}

    def brake(self, qpos: FloatArray, qvel: FloatArray) -> FloatArray:
        return self.robot.brake(self.robot.motion(qpos, qvel))

    def at_rest(self, qpos: FloatArray, qvel: FloatArray) -> BoolArray:
        velocity = self.robot.motion(qpos, qvel).velocity
        vases = qvel[:, self.robot.nv :].reshape(len(qvel), self.counts["vases"], 6)[..., :3]
        still = np.square(vases).sum(axis=2).max(axis=1, initial=0.0) < STILL**2
        return np.asarray(still & (np.hypot(velocity[:, 0], velocity[:, 1]) < RESTING))

    def swerves(self, actions: FloatArray) -> FloatArray:
        return self.robot.swerves(actions)

    def markers(self, memory: Memory) -> Mapping[str, FloatArray]:
        hazards = memory["hazards"].reshape(len(memory["hazards"]), self.counts["hazards"], 2)
        return {f"hazards{i}": flat(hazards[:, i], 0.01) for i in range(hazards.shape[1])}

    def derive(self, signals: Signals) -> Mapping[str, FloatArray]:
        position = signals["qpos"][:, :2].copy()
        found = {"position": position}
        n = len(position)
        if self.counts["hazards"]:
            away = signals["hazards"].reshape(n, self.counts["hazards"], 2) - position[:, np.newaxis]
            found["hazard_distance"] = np.hypot(away[..., 0], away[..., 1])
        if self.counts["vases"]:
            moving = signals["qvel"][:, self.robot.nv :].reshape(n, self.counts["vases"], 6)[..., :3]
            found["vase_speed"] = np.sqrt(np.square(moving).sum(axis=2))
        return found

    def sights(self, signals: Signals, memory: Memory) -> list[tuple[FloatArray, float]]:
        """Return what lidars see: positions (N, K, 2) of each kind of thing, and how far its lidar reaches, m."""
        now = self.present(signals, memory)
        return [(now[kind], REACH) for kind, count in self.counts.items() if count]

    def present(self, signals: Signals, memory: Memory) -> dict[str, FloatArray]:
        """Return where the things of each kind are now, (N, K, 2) in m; vases may have been moved."""
        n = len(signals["qpos"])
        found = {kind: memory[kind].reshape(n, count, 2) for kind, count in self.counts.items()}
        found["vases"] = signals["qpos"][:, self.robot.nq :].reshape(n, self.counts["vases"], 7)[..., :2]
        return found

    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        motion = self.robot.motion(signals["qpos"], signals["qvel"])
        heading = motion.heading[:, np.newaxis]
        own = (motion.velocity, motion.turning[:, np.newaxis], np.cos(heading), np.sin(heading), motion.joints)
        seen = (
            lidar(in_frame(things, motion.position, motion.heading), reach=reach)
            for things, reach in self.sights(signals, memory)
        )
        return np.concatenate((*own, *seen), axis=1)


def check_level(level: int, levels: Sequence[int]) -> None:
    """Refuse a level that there is not.

    Raises:
        TaskError: With those that there are.
    """
    if isinstance(level, bool) or not isinstance(level, int) or level not in levels:
        raise TaskError(f"navigation: level must be one of the numbers {', '.join(map(str, levels))}, got {level!r}")


def _positions(value: Any, kind: str, count: int, where: str) -> FloatArray:
    """Return given positions as one row.

    Raises:
        TaskError: They are not so many finite numbers.
    """
    try:
        found = np.array(value)
    except ValueError:  # ragged
        found = np.zeros(0)
    shapes = [(3,)] if kind == "robot" else [(count, 2), (2 * count,)]
    if found.shape not in shapes or found.dtype.kind not in "iuf" or not np.isfinite(found).all():
        wanted = "x, y and heading" if kind == "robot" else f"{count} times x and y"
        raise TaskError(f"{where}: {kind} needs {wanted}, finite numbers, got {value!r}")
    row: FloatArray = found.astype(np.float64).ravel()
    return row


def flat(points: FloatArray, height: float) -> FloatArray:
    """Return points (N, 3) at a height above points (N, 2) of the floor."""
    return np.concatenate((points, np.full((len(points), 1), height)), axis=1)


def add_marker(spec: mujoco.MjSpec, name: str, size: list[float], rgba: tuple[float, ...]) -> None:
    """Add a cylinder that is only seen; where it stands is told by `Task.markers`."""
    body = spec.worldbody.add_body(name=name, mocap=True)
    body.add_geom(
        name=name, type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=size, contype=0, conaffinity=0, mass=0.0, rgba=list(rgba)
    )

"""The signals a simulated task offers, computed for all copies at once and only where something reads them.

Names: ``qpos``, ``qvel``, ``action``, ``previous_action``; ``joint_position``, ``joint_velocity``, ``joint_acceleration``,
``joint_torque`` (the robot's scalar joints, without the base joints); ``base_position``, ``base_height``, ``base_velocity``,
``projected_gravity``, ``base_linear_velocity`` and ``base_angular_velocity`` (in the base's frame), ``base_yaw``;
``joint_position_rate`` (mean velocity over the control step); ``com_velocity`` and what `saferl_envs.whole_body` adds;
``body_position/<body>``, ``body_velocity/<body>``, ``site_position/<site>``; what `saferl_envs.contact_signals` adds for each
group; and what the task remembers (`memory_signals`) or derives (`derived_signals`).

State signals are current. Signals from derived fields (``joint_torque``, ``body_*``, ``site_*``, contacts) lag one physics
substep; see `saferl_envs.simulation`. Velocities and accelerations are differences over one control step and zero in the
first observation of an episode.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from saferl_envs.base_pose import BasePose, is_free
from saferl_envs.contact_signals import ContactSignals, contact_offers
from saferl_envs.errors import SignalError, TaskError, choose
from saferl_envs.signals import FloatArray, IntArray, SignalInfo, Signals, check_arrays
from saferl_envs.simulation import Simulation
from saferl_envs.task import Task
from saferl_envs.whole_body import whole_body_offers, whole_body_signal

_XYZ = ("x", "y", "z")


class MujocoSignals(ContactSignals):
    """Source of the signals of one task on one simulation. Call `before_step`, step, then `update`.

    Args:
        task: Says what the base, the contact groups and the base joints are.
        simulation: The copies to read.
        required: Names to keep up to date; others cannot be read.

    Raises:
        SignalError: A required signal is not on offer.
    """

    def __init__(self, task: Task, simulation: Simulation, required: Collection[str]) -> None:
        self._task, self._sim = task, simulation
        self._model, self._n = simulation.model, simulation.num
        self._joints = _scalar_joints(self._model, task.base_joints)
        self._whole_body = whole_body_offers(self._model)
        self._arrays: dict[str, FloatArray] = {}
        self._hidden: dict[str, NDArray[Any]] = {}
        self._before: list[Callable[[], None]] = []
        self._updates: list[Callable[[], None]] = []
        self._resets: list[Callable[[IntArray], None]] = []
        self._offers = self._make_offers()
        low, _ = task.action_bounds(self._model)
        self.set_action(np.zeros((self._n, low.shape[0])))
        for name in sorted({*required, *task.derived_signals}):
            self._require(name, type(task).__name__)
        self.view: Signals = MappingProxyType(self._arrays)

    def offers(self) -> Mapping[str, SignalInfo]:
        """Return every signal the task can deliver, required or not."""
        return self._offers

    def read(self, names: Collection[str]) -> Signals:
        """Return the named signals, (N, d) each, valid until the next step."""
        return {name: self._arrays[name] for name in names}

    def set_action(self, action: FloatArray) -> None:
        """Note the action of the step to come; the one before becomes `previous_action`.

        The action keeps its floating type, as in Gymnasium's environments, whose control cost is computed in it.
        """
        self._arrays["previous_action"] = self._arrays.get("action", action)
        self._arrays["action"] = action

    def show_memory(self, memory: Mapping[str, FloatArray]) -> None:
        """Deliver what the task remembers and names in `memory_signals`, (N, d) each."""
        declared = {name: self._offers[name] for name in self._task.memory_signals}
        check_arrays("memory", {name: memory[name] for name in declared if name in memory}, declared, self._n)
        for name in declared:
            self._arrays[name] = memory[name]

    def before_step(self) -> None:
        """Remember what differences over the coming step need."""
        for note in self._before:
            note()

    def update(self) -> None:
        """Compute all required signals from the simulation's present state."""
        self._compute()
        self._derive()

    def _compute(self) -> None:
        for compute in self._updates:
            compute()

    def _derive(self) -> None:
        if not self._task.derived_signals:
            return
        found = self._task.derive(self.view)
        check_arrays("derive", found, {name: self._offers[name] for name in self._task.derived_signals}, self._n)
        self._arrays.update(found)

    def reset(self, ids: IntArray) -> None:
        """Begin an episode for some copies: no previous action, no velocity by difference, no time in the air."""
        for name in ("action", "previous_action"):
            self._arrays[name][ids] = 0.0
        self._compute()
        for reset in self._resets:
            reset(ids)
        self._derive()

    def rows(self, ids: IntArray) -> dict[str, NDArray[Any]]:
        """Return copies of what belongs to some copies, to be given back with `put_back`."""
        return {name: array[ids] for name, array in self.state().items()}

    def put_back(self, ids: IntArray, rows: Mapping[str, NDArray[Any]]) -> None:
        """Let copies that were not stepped have what they had."""
        for name, array in self.state().items():
            if array.flags.writeable:
                array[ids] = rows[name]

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all required signals, and what some remember between steps under names that begin with ``_``; live arrays."""
        return {**self._arrays, **self._hidden}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` returned, from signals of the same task."""
        for name, array in self.state().items():
            if name in self._task.memory_signals:
                continue  # comes back with the memory
            if name in self._task.derived_signals:
                self._arrays[name] = state[name].copy()
                continue
            if name in ("action", "previous_action"):
                self._arrays[name] = state[name].copy()  # each step brings a new array, in the policy's precision
            elif array.flags.writeable:  # live views of derived fields have come back with the physics
                array[...] = state[name]

    def _make_offers(self) -> Mapping[str, SignalInfo]:
        m, joints = self._model, tuple(self._joints)
        actions = tuple(m.actuator(i).name or m.joint(m.actuator_trnid[i, 0]).name for i in range(m.nu))
        width = self._task.action_bounds(m)[0].shape[0]
        if len(actions) != width:
            actions = tuple(f"action_{i}" for i in range(width))
        offers = {
            "qpos": SignalInfo(tuple(f"qpos_{i}" for i in range(m.nq)), "1"),
            "qvel": SignalInfo(tuple(f"qvel_{i}" for i in range(m.nv)), "1"),
            "action": SignalInfo(actions, "1"),
            "previous_action": SignalInfo(actions, "1"),
        }
        for name, unit in (("position", ""), ("velocity", "/s"), ("acceleration", "/s^2")):
            offers[f"joint_{name}"] = SignalInfo(joints, "rad" + unit)
        offers["joint_position_rate"] = SignalInfo(joints, "rad/s")
        offers["joint_torque"] = SignalInfo(joints, "Nm")
        if self._task.base_body is not None:
            offers["base_position"] = SignalInfo(_XYZ, "m")
            offers["base_velocity"] = SignalInfo(_XYZ, "m/s")
            offers["base_height"] = SignalInfo(("height",), "m")
            offers["projected_gravity"] = SignalInfo(_XYZ, "1")
            if is_free(m, self._task.base_body):
                offers["base_linear_velocity"] = SignalInfo(_XYZ, "m/s")
                offers["base_angular_velocity"] = SignalInfo(_XYZ, "rad/s")
                offers["base_yaw"] = SignalInfo(("yaw",), "rad")
        offers |= self._whole_body | {"com_velocity": SignalInfo(_XYZ, "m/s")}
        # mocap bodies are only seen: where they stand is told to the renderer
        for body in filter(None, (m.body(i).name for i in range(1, m.nbody) if m.body_mocapid[i] < 0)):
            offers[f"body_position/{body}"] = SignalInfo(_XYZ, "m")
            offers[f"body_velocity/{body}"] = SignalInfo(_XYZ, "m/s")
        for site in filter(None, (m.site(i).name for i in range(m.nsite))):
            offers[f"site_position/{site}"] = SignalInfo(_XYZ, "m")
        offers |= contact_offers(self._task.contact_groups)
        own = {**self._task.memory_signals, **self._task.derived_signals}
        for name in own:
            if name in offers:
                raise TaskError(f"memory_signals, derived_signals: {name!r} is the name of a signal of the simulation")
        return MappingProxyType(offers | own)

    def _require(self, name: str, who: str) -> FloatArray:
        """Return the array of a signal, arranging for it to be kept up to date."""
        if name not in self._offers:
            raise SignalError(choose("signal", name, self._offers, who))
        own = name in self._task.memory_signals or name in self._task.derived_signals
        if own and name not in self._arrays:
            self._arrays[name] = np.zeros((self._n, len(self._offers[name].components)))
        if name in self._whole_body and name not in self._arrays:
            self._arrays[name] = whole_body_signal(self._sim, name)
        if name not in self._arrays:
            kind, _, item = name.partition("/")
            build = getattr(self, f"_build_{kind}")
            self._arrays[name] = build(item) if item else build()
        return self._arrays[name]

    def _computed(self, compute: Callable[[FloatArray], None], width: int) -> FloatArray:
        """Return a new array that `compute` refills in place at every update."""
        out = np.zeros((self._n, width))
        self._updates.append(lambda: compute(out))
        compute(out)
        return out

    def _columns(self, field: FloatArray, columns: list[int]) -> FloatArray:
        """Return columns of a live array: a live view where they are contiguous, else a copy refilled at updates."""
        first = columns[0]
        if columns == list(range(first, first + len(columns))):
            return field[:, first : first + len(columns)]

        def take(out: FloatArray) -> None:
            np.take(field, columns, axis=1, out=out)

        return self._computed(take, len(columns))

    def _difference(self, name: str) -> FloatArray:
        """Return the rate of change of a signal over one control step, per second."""
        now = self._require(name, "")
        before, rate = now.copy(), np.zeros((self._n, now.shape[1]))
        self._hidden[f"_before/{name}"] = before
        timestep = self._sim.control_timestep

        def compute() -> None:
            np.subtract(now, before, out=rate)
            np.divide(rate, timestep, out=rate)

        def restart(ids: IntArray) -> None:
            before[ids] = now[ids]
            rate[ids] = 0.0

        self._before.append(lambda: np.copyto(before, now))
        self._updates.append(compute)
        self._resets.append(restart)
        return rate

    def _build_qpos(self) -> FloatArray:
        return self._sim.qpos

    def _build_qvel(self) -> FloatArray:
        return self._sim.qvel

    def _build_joint_position(self) -> FloatArray:
        return self._columns(self._sim.qpos, [int(self._model.jnt_qposadr[j]) for j in self._joints.values()])

    def _build_joint_velocity(self) -> FloatArray:
        return self._columns(self._sim.qvel, self._dofs())

    def _build_joint_position_rate(self) -> FloatArray:
        return self._difference("joint_position")

    def _build_joint_acceleration(self) -> FloatArray:
        return self._difference("joint_velocity")

    def _build_joint_torque(self) -> FloatArray:
        return self._columns(self._sim.field("qfrc_actuator"), self._dofs())

    def _dofs(self) -> list[int]:
        return [int(self._model.jnt_dofadr[j]) for j in self._joints.values()]

    def _build_base_position(self) -> FloatArray:
        return self._computed(self._base().position, 3)

    def _build_base_height(self) -> FloatArray:
        return self._computed(self._base().height, 1)

    def _build_projected_gravity(self) -> FloatArray:
        return self._computed(self._base().projected_gravity, 3)

    def _build_base_linear_velocity(self) -> FloatArray:
        return self._computed(partial(self._base().linear_velocity, qvel=self._sim.qvel), 3)

    def _build_base_angular_velocity(self) -> FloatArray:
        return self._base().angular_velocity(self._sim.qvel)

    def _build_base_yaw(self) -> FloatArray:
        return self._computed(self._base().yaw, 1)

    def _build_base_velocity(self) -> FloatArray:
        return self._difference("base_position")

    def _build_com_velocity(self) -> FloatArray:
        return self._difference("com_position")

    def _base(self) -> BasePose:
        return BasePose(self._model, self._task.base_body or "", self._sim.qpos)

    def _build_body_position(self, body: str) -> FloatArray:
        return self._sim.field("xpos")[:, self._model.body(body).id]

    def _build_body_velocity(self, body: str) -> FloatArray:
        return self._difference(f"body_position/{body}")

    def _build_site_position(self, site: str) -> FloatArray:
        return self._sim.field("site_xpos")[:, self._model.site(site).id]


def _scalar_joints(model: mujoco.MjModel, base_joints: Collection[str]) -> dict[str, int]:
    """Return the hinges and slides that are not base joints, by name."""
    scalar = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
    joints = {model.joint(j).name or f"joint_{j}": j for j in range(model.njnt)}
    for name in base_joints:
        if name not in joints:
            raise TaskError(choose("joint", name, joints, "base_joints"))
    return {name: j for name, j in joints.items() if int(model.jnt_type[j]) in scalar and name not in base_joints}

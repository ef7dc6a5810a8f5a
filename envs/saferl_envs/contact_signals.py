"""The signals of contact that a simulated task offers for each of its groups of geoms, mixed into `MujocoSignals`.

``contact_force/<group>`` (N) and its ``horizontal_`` and ``vertical_`` parts in the world, those of the last physics step;
``peak_contact_force/<group>``, the largest of the control step; ``swing_time/<group>`` (s) and ``touchdown/<group>``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saferl_envs.compile_model import SENSORS, sensor_name
from saferl_envs.signals import FloatArray, IntArray, SignalInfo
from saferl_envs.simulation import Simulation
from saferl_envs.task import Task

_CONTACT_THRESHOLD = 1.0  # N; below it a foot counts as in the air (Chane-Sane et al. 2024, released code)


def contact_offers(groups: Mapping[str, tuple[str, ...]]) -> dict[str, SignalInfo]:
    """Return what is on offer for each contact group; its geoms are the components."""
    offers = {}
    for group, geoms in groups.items():
        for part in ("", "peak_", "horizontal_", "vertical_"):
            offers[f"{part}contact_force/{group}"] = SignalInfo(tuple(geoms), "N")
        offers[f"swing_time/{group}"] = SignalInfo(tuple(geoms), "s")
        offers[f"touchdown/{group}"] = SignalInfo(tuple(geoms), "1")
    return offers


class ContactSignals:
    """What builds them; the attributes are those of `MujocoSignals`."""

    _task: Task
    _sim: Simulation
    _n: int
    _arrays: dict[str, FloatArray]
    _hidden: dict[str, NDArray[Any]]
    _before: list[Callable[[], None]]
    _updates: list[Callable[[], None]]
    _resets: list[Callable[[IntArray], None]]
    _watches: list[Callable[[], None]]
    _restores: list[Callable[[IntArray], None]]
    _computed: Callable[[Callable[[FloatArray], None], int], FloatArray]
    _first_sensor: int
    _require: Callable[[str, str], FloatArray]

    def _forces(self, group: str) -> FloatArray:
        """Return the live net contact forces of a group's members, (N, G, 3)."""
        geoms = self._task.contact_groups[group]
        first = self._address(group)
        forces = self._sim.field("sensordata")[:, first : first + 3 * len(geoms)]
        return forces.reshape(self._n, len(geoms), 3)

    def _address(self, group: str) -> int:
        """Return where a group's first force begins in MuJoCo's sensor data."""
        return int(self._sim.model.sensor(sensor_name(group, self._task.contact_groups[group][0])).adr[0])

    def _build_contact_force(self, group: str) -> FloatArray:
        forces = self._forces(group)

        def magnitude(out: FloatArray) -> None:
            np.sqrt(np.einsum("ngi,ngi->ng", forces, forces), out=out)

        return self._computed(magnitude, forces.shape[1])

    def _build_horizontal_contact_force(self, group: str) -> FloatArray:
        forces = self._forces(group)

        def magnitude(out: FloatArray) -> None:
            np.hypot(forces[..., 0], forces[..., 1], out=out)

        return self._computed(magnitude, forces.shape[1])

    def _build_vertical_contact_force(self, group: str) -> FloatArray:
        forces = self._forces(group)

        def magnitude(out: FloatArray) -> None:
            np.abs(forces[..., 2], out=out)

        return self._computed(magnitude, forces.shape[1])

    def _build_peak_contact_force(self, group: str) -> FloatArray:
        watched, size = self._largest, len(self._task.contact_groups[group])
        first = (self._address(group) - self._first_sensor) // 3
        largest = watched[:, first : first + size]

        def magnitude(out: FloatArray) -> None:
            np.sqrt(largest, out=out)

        peak = self._computed(magnitude, largest.shape[1])

        def restart(ids: IntArray) -> None:
            peak[ids] = 0.0
            largest[ids] = 0.0

        self._resets.append(restart)
        return peak

    @cached_property
    def _largest(self) -> FloatArray:
        """Largest squared force on every sensed geom since the step began, (N, G); all groups at once, since it is watched."""
        name = self._sim.model.sensor
        sensors = [name(i) for i in range(self._sim.model.nsensor) if name(i).name.startswith(SENSORS)]
        self._first_sensor = int(sensors[0].adr[0])
        forces = self._sim.field("sensordata")[:, self._first_sensor : self._first_sensor + 3 * len(sensors)]
        largest, squares = np.zeros((self._n, len(sensors))), np.zeros(forces.shape)
        parts, now = squares.reshape(self._n, -1, 3), np.zeros(largest.shape)

        def watch() -> None:
            # in place and in one block: this runs after every physics step
            np.multiply(forces, forces, out=squares)
            np.add(parts[..., 0], parts[..., 1], out=now)
            np.add(now, parts[..., 2], out=now)
            np.maximum(largest, now, out=largest)

        def restore(ids: IntArray) -> None:
            largest[ids] = np.square(forces[ids]).reshape(len(ids), -1, 3).sum(axis=2)

        self._hidden["_largest_force"] = largest
        self._restores.append(restore)
        self._before.append(partial(largest.fill, 0.0))
        self._watches.append(watch)
        return largest

    def _build_swing_time(self, group: str) -> FloatArray:
        """Time in the air up to now; zeroed in the step after the touchdown, once constraints have read it."""
        force = self._require(f"contact_force/{group}", "")
        swing, touchdown = np.zeros_like(force), np.zeros_like(force)
        airborne = np.zeros_like(force, np.bool_)
        self._arrays[f"touchdown/{group}"] = touchdown
        self._hidden[f"_airborne/{group}"] = airborne
        timestep = self._sim.control_timestep

        def settle() -> None:
            swing[force > _CONTACT_THRESHOLD] = 0.0
            np.greater(swing, 0.0, out=airborne)
            np.add(swing, timestep, out=swing)

        def compute() -> None:
            # adds no time: it also runs when other copies are reset
            np.multiply(force > _CONTACT_THRESHOLD, airborne, out=touchdown)

        def restart(ids: IntArray) -> None:
            swing[ids] = 0.0
            airborne[ids] = False
            touchdown[ids] = 0.0

        self._before.append(settle)
        self._updates.append(compute)
        self._resets.append(restart)
        return swing

    def _build_touchdown(self, group: str) -> FloatArray:
        self._require(f"swing_time/{group}", "")
        return self._arrays[f"touchdown/{group}"]

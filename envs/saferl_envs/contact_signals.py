"""The signals of contact that a simulated task offers for each of its groups of geoms, mixed into `MujocoSignals`.

``contact_force/<group>`` (N) and its ``horizontal_`` and ``vertical_`` parts in the world, those of the last physics step;
``peak_contact_force/<group>``, the largest of the control step; ``swing_time/<group>`` (s) and ``touchdown/<group>``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saferl_envs.compile_model import sensor_name
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
    _computed: Callable[[Callable[[FloatArray], None], int], FloatArray]
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
        """Read from the sensors' histories, which hold one sample for each physics step of a control step."""
        model, geoms = self._sim.model, self._task.contact_groups[group]
        sensors = [model.sensor(sensor_name(group, geom)).id for geom in geoms]
        samples, first = int(model.sensor_history[sensors[0], 0]), int(model.sensor_historyadr[sensors[0]])
        # of each sensor: two numbers of MuJoCo's own, the samples' times, the samples
        head, size = 2 + samples, 2 + samples + 3 * samples
        block = self._sim.field("history")[:, first : first + size * len(sensors)].reshape(self._n, len(sensors), size)
        forces = block[:, :, head:].reshape(self._n, len(sensors), samples, 3)

        def magnitude(out: FloatArray) -> None:
            squares = forces * forces
            np.sqrt((squares[..., 0] + squares[..., 1] + squares[..., 2]).max(axis=2), out=out)

        peak = self._computed(magnitude, len(sensors))

        def restart(ids: IntArray) -> None:
            peak[ids] = 0.0

        self._resets.append(restart)
        return peak

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

"""N copies of a MuJoCo model stepped together by `mujoco.batch`.

One decision, made here once: **derived fields and sensors lag.** After `step`, state fields (`qpos`, `qvel`) are current;
everything MuJoCo derives from them (`xpos`, `sensordata`, `qfrc_actuator`, ...) describes the state one physics substep
earlier (with the Runge-Kutta integrator, fields other than sensors are those of its last stage, nearly current), exactly as
after `mj_step` and as in Gymnasium's own environments. Refreshing them would cost further
forward passes. After `reset` both are current.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mujoco
import mujoco.batch
import numpy as np
from numpy.typing import NDArray

from saferl_envs.errors import TaskError
from saferl_envs.signals import FloatArray, IntArray

_BAD = slice(int(mujoco.mjtWarning.mjWARN_BADQPOS), int(mujoco.mjtWarning.mjWARN_BADCTRL) + 1)

_STEPPED, _RESTORED, _BEGUN = 0, 1, 2
"""How a copy came to its present state: by a step, put back after divergence, or at the beginning of an episode."""


class Divergence(UserWarning):
    """A copy's physics produced a non-finite or absurd state and was reset alone."""


class Simulation:
    """N copies of one model.

    Args:
        model: Compiled model. It is copied; the copy never resets a diverged state by itself.
        num: Number of copies.
        substeps: Physics steps per control step.
        threads: Threads for physics, 0 for all cores. Results do not depend on it by a bit.
        dump_dir: Folder for the last good state of a copy that diverges, or None to write none.

    Attributes:
        qpos: (N, nq) live positions; a write is the state at the next call.
        qvel: (N, nv) live velocities.
        ctrl: (N, nu) live controls.
    """

    def __init__(
        self, model: mujoco.MjModel, num: int, substeps: int, threads: int = 0, dump_dir: str | Path | None = None
    ) -> None:
        if num < 1:
            raise TaskError(f"number of copies must be at least 1, got {num}")
        if threads < 0:
            raise TaskError(f"threads must be 0 (all cores) or more, got {threads}")
        self.model: mujoco.MjModel = copy.copy(model)
        # mj_step would silently put a diverged copy back to its initial state; we want to see it.
        self.model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        self.batch = mujoco.batch.Batch(self.model, num, min(threads, num))
        self.num, self.substeps = num, substeps
        self.control_timestep: float = self.model.opt.timestep * substeps
        self.dump_dir = Path(dump_dir) if dump_dir is not None else None
        self._varied: list[str] = []
        self.qpos: FloatArray = self.field("qpos")
        self.qvel: FloatArray = self.field("qvel")
        self.ctrl: FloatArray = self.field("ctrl")
        self._before = self.batch.state.copy()
        self._cause = np.full(num, _BEGUN, np.int8)

    def field(self, name: str) -> FloatArray:
        """Return a live (N, ...) array over an `MjData` field; see the module's note on lag."""
        field: FloatArray = self.batch.bind(name)
        return field

    def step(
        self,
        ids: IntArray | None = None,
        late: tuple[int, FloatArray] | None = None,
    ) -> IntArray:
        """Advance one control step with the controls in `ctrl`; return the ids of the copies that diverged.

        A diverged copy is put back to its state before the step, so that everything read from it is finite.

        Args:
            ids: Sorted copies to advance, or None for all.
            late: For so many physics steps these controls (N, nu) hold, and those in `ctrl` only then.

        Raises:
            TaskError: A control is not finite.
        """
        if ids is None:
            np.copyto(self._before, self.batch.state)
            self._cause[:] = _STEPPED
        else:
            self._before[ids] = self.batch.state[ids]
            self._cause[ids] = _STEPPED
        failed: IntArray = np.empty(0, np.intp)
        # the batch is entered once where it can be: threads meet at every return
        ctrl = self.ctrl.copy() if late is not None else None
        for k in range(1 if late is None else self.substeps):
            if late is not None and ctrl is not None:
                self.ctrl[:] = late[1] if k < late[0] else ctrl
            try:
                self.batch.step(ids, nstep=self.substeps if late is None else 1)
            except mujoco.batch.SimulationError as error:
                failed = np.union1d(failed, np.asarray(error.ids, np.intp))
        counters = self.batch.warning[:, _BAD, 1]
        if not counters.any() and not failed.size:
            return failed
        if counters[:, -1].any():
            culprits = np.flatnonzero(counters[:, -1]).tolist()
            counters[...] = 0
            raise TaskError(f"actions of copies {culprits[:5]} are not finite")
        bad = np.union1d(failed, np.flatnonzero(counters.any(axis=1)))
        counters[...] = 0
        self.batch.state[bad] = self._before[bad]
        self.batch.forward(bad)
        self._cause[bad] = _RESTORED
        counters[...] = 0
        return bad

    def set_state(self, ids: IntArray, qpos: FloatArray, qvel: FloatArray) -> None:
        """Reset copies to the given positions (n, nq) and velocities (n, nv), and compute their derived fields.

        Raises:
            TaskError: A shape is wrong or a number is not finite.
        """
        for name, array, width in (("qpos", qpos, self.model.nq), ("qvel", qvel, self.model.nv)):
            if array.shape != (len(ids), width):
                raise TaskError(f"initial {name} has shape {array.shape}, expected {(len(ids), width)}")
            if not np.isfinite(array).all():
                raise TaskError(f"initial {name} holds numbers that are not finite")
        self.batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        self.qpos[ids] = qpos
        self.qvel[ids] = qvel
        self.batch.forward(ids)
        self._cause[ids] = _BEGUN

    def set_model_fields(self, ids: IntArray, fields: Mapping[str, FloatArray]) -> None:
        """Give copies their own values of model fields, e.g. ``{"geom_friction": (n, ngeom, 3)}``.

        Constants that MuJoCo derives from inertial fields are recomputed.

        Raises:
            TaskError: A field does not exist, cannot vary between copies, or a shape is wrong.
        """
        derived = False
        for name, values in fields.items():
            try:
                rows = self.batch.expand(name)
            except ValueError as error:
                # MuJoCo's own words name what is near; all valid fields would be hundreds
                raise TaskError(f"randomised model field {name!r}: {error}") from error
            if rows.dtype.kind != "f" or not np.isfinite(values).all():
                raise TaskError(f"model field {name!r} cannot vary between copies: only fields of finite numbers can")
            if values.shape != (len(ids), *rows.shape[1:]):
                raise TaskError(f"model field {name!r}: got {values.shape}, expected {(len(ids), *rows.shape[1:])}")
            rows[ids] = values
            if name not in self._varied:
                self._varied.append(name)
            derived |= name in mujoco.MjModel._setconst_inputs
        if derived:
            self.batch.set_const(ids)

    def own_field(self, name: str, copy: int) -> FloatArray | None:
        """Return one copy's value of a model field, or None where all copies have the model's."""
        return self.batch.expand(name)[copy] if name in self._varied else None

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the physics' state, how each copy came to it, and the model fields that vary between copies; live arrays."""
        varied = {f"model/{name}": self.batch.expand(name) for name in self._varied}
        return {"state": self.batch.state, "before": self._before, "cause": self._cause, **varied}

    def load_state(self, state: Mapping[str, NDArray[Any]], exact: bool = True) -> None:
        """Take over what `state` returned, from a simulation of the same model and number of copies.

        Derived fields lag and cannot be written, so each copy takes its last step again, or begins its episode again.

        Args:
            state: What was returned.
            exact: Insist that this gives the same state to the last bit. Else the state is written in any case, and fields
                that lag are nearly what they were where the last step cannot be taken as it was (under disturbances).

        Raises:
            TaskError: The state does not come out the same.
        """
        varied = {key.removeprefix("model/"): saved for key, saved in state.items() if key.startswith("model/")}
        self.set_model_fields(np.arange(self.num), varied)
        cause = state["cause"]
        stepped, restored, begun = (np.flatnonzero(cause == kind) for kind in (_STEPPED, _RESTORED, _BEGUN))
        self.batch.state[:] = state["state"]
        qpos, qvel = self.qpos[begun].copy(), self.qvel[begun].copy()
        if stepped.size:
            self.batch.state[stepped] = state["before"][stepped]
            self.batch.step(stepped, nstep=self.substeps)
        if restored.size:
            self.batch.state[restored] = state["before"][restored]
            self.batch.forward(restored)
        if begun.size:
            self.set_state(begun, qpos, qvel)
        self._before[:], self._cause[:] = state["before"], cause
        if not exact:
            self.batch.state[:] = state["state"]
        elif not np.array_equal(self.batch.state, state["state"]):
            raise TaskError("the saved physics cannot be continued bit for bit: it is of another model, machine or MuJoCo")

    def report_divergence(self, index: int, step: int, seed: int) -> Path | None:
        """Warn about one diverged copy and dump its last good state; return the file, if any."""
        path = None
        if self.dump_dir is not None:
            self.dump_dir.mkdir(parents=True, exist_ok=True)
            path = self.dump_dir / f"diverged_seed{seed}_step{step}_copy{index}_{time.time_ns()}.npz"
            np.savez(
                path, state=self._before[index], qpos=self.qpos[index], qvel=self.qvel[index],
                ctrl=self.ctrl[index], copy=index, step=step, seed=seed,
            )  # fmt: skip
        where = f"; last good state in {path}" if path else ""
        message = f"physics diverged in copy {index} at step {step} of its episode (seed {seed}); only it is reset{where}"
        warnings.warn(message, Divergence, stacklevel=2)
        return path

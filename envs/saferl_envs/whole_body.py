"""Signals of a whole robot at once: inertia, motion and load of every body, the actuators' forces, the centre of mass.

All are live views of MuJoCo's derived fields with one flat row per copy, the world's (zeros) first among the bodies. They
lag as derived fields do: after a step they are what the integrator computed last, which is the state before the last physics
substep with Euler's method, and the estimate of the state after it with the Runge-Kutta method. ``external_wrench`` is the
exception: it is a sensor's by-product, and sensors see the state before the last substep with either method.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import mujoco

from saferl_envs.signals import FloatArray, SignalInfo
from saferl_envs.simulation import Simulation

_XYZ = ("x", "y", "z")
_SPATIAL = ("rx", "ry", "rz", *_XYZ)
# signal: (MjData field, its columns per body), about the centre of mass of the body's kinematic tree, world's axes
_BODIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    # kg m^2 (6 of the symmetric matrix), kg m (mass times offset), kg
    "body_inertia": ("cinert", ("xx", "yy", "zz", "xy", "xz", "yz", "mx", "my", "mz", "m")),
    # rad/s, m/s
    "body_twist": ("cvel", _SPATIAL),
    # Nm, N: what contacts and applied forces exert on the body
    "external_wrench": ("cfrc_ext", _SPATIAL),
}


def whole_body_offers(model: mujoco.MjModel) -> dict[str, SignalInfo]:
    """Return the signals that `whole_body_signal` can build, for any model."""
    bodies = [model.body(i).name or f"body_{i}" for i in range(model.nbody)]
    # unit "1" stands for mixed ones, as with qpos
    offers = {
        signal: SignalInfo(tuple(f"{body}/{column}" for body in bodies for column in columns), "1")
        for signal, (_, columns) in _BODIES.items()
    }
    offers["dof_actuator_force"] = SignalInfo(tuple(f"dof_{i}" for i in range(model.nv)), "1")
    offers["com_position"] = SignalInfo(_XYZ, "m")
    return offers


def whole_body_signal(simulation: Simulation, name: str) -> FloatArray:
    """Return the live (N, d) array of a signal that `whole_body_offers` names."""
    if name == "com_position":
        return simulation.field("subtree_com")[:, 0]  # the world's subtree is everything
    if name == "dof_actuator_force":
        return simulation.field("qfrc_actuator")
    field = simulation.field(_BODIES[name][0])
    return field.reshape(field.shape[0], -1)


def add_whole_body_sensors(spec: mujoco.MjSpec, required: Collection[str]) -> None:
    """Add the sensor without which MuJoCo does not compute external wrenches, where they are required."""
    if "external_wrench" in required:
        # any acceleration sensor will do; the world's own costs nothing and needs no name of the model's
        spec.add_sensor(
            name="saferl_external_wrench",
            type=mujoco.mjtSensor.mjSENS_FRAMELINACC,
            objtype=mujoco.mjtObj.mjOBJ_BODY,
            objname="world",
        )

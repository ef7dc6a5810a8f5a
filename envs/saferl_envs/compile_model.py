"""From a task's model to a compiled one, with the sensors that what is read of it needs."""

from __future__ import annotations

from collections.abc import Collection

import mujoco

from saferl_envs.errors import TaskError, choose
from saferl_envs.task import Task
from saferl_envs.whole_body import add_whole_body_sensors

SENSORS = "saferl_contact/"
"""What the names of contact sensors begin with; they are added last, so that their data are one block."""
_CONTACTS = (
    "contact_force/",
    "peak_contact_force/",
    "horizontal_contact_force/",
    "vertical_contact_force/",
    "swing_time/",
    "touchdown/",
)


def compile_model(task: Task, required: Collection[str]) -> mujoco.MjModel:
    """Compile the task's model with the sensors that the required signals need.

    Raises:
        TaskError: A contact group names a geom that the model does not have, or the model does not compile.
    """
    spec = task.spec()
    add_whole_body_sensors(spec, required)
    geoms = [g.name for g in spec.geoms if g.name]
    substeps = round(task.control_timestep / spec.option.timestep)
    for group in sorted({s.split("/", 1)[1] for s in required if s.startswith(_CONTACTS)}):
        partner = task.contact_partners.get(group)
        for geom in task.contact_groups.get(group, ()):
            if geom not in geoms:
                raise TaskError(choose("geom", geom, geoms, f"contact group {group!r} of {type(task).__name__}"))
            sensor = spec.add_sensor(
                name=sensor_name(group, geom),
                type=mujoco.mjtSensor.mjSENS_CONTACT,
                objtype=mujoco.mjtObj.mjOBJ_GEOM,
                objname=geom,
                # the body and all that hangs on it, or anything
                **({"reftype": mujoco.mjtObj.mjOBJ_XBODY, "refname": partner} if partner else {}),
                # the force of the sum of all contacts of the geom, one slot: data bits, reduction "netforce", number
                intprm=[1 << int(mujoco.mjtConDataField.mjCONDATA_FORCE), 3, 1],
            )
            if f"peak_contact_force/{group}" in required:
                sensor.nsample = max(substeps, 1)  # MuJoCo keeps what it read at every physics step of a control step
    try:
        return spec.compile()
    except ValueError as error:
        raise TaskError(f"model of {type(task).__name__} does not compile: {error}") from error


def sensor_name(group: str, geom: str) -> str:
    """Return the name of the sensor of a contact group's member."""
    return f"{SENSORS}{group}/{geom}"

"""The robot models that Gymnasium ships, as editable specifications."""

from __future__ import annotations

import warnings
from pathlib import Path

import gymnasium
import mujoco

from saferl_envs.errors import TaskError, choose


def gymnasium_spec(xml: str) -> mujoco.MjSpec:
    """Return the specification of one of Gymnasium's MuJoCo models, e.g. ``"ant.xml"``.

    Raises:
        TaskError: The installed Gymnasium has no such file.
    """
    folder = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
    if not (folder / xml).is_file():
        raise TaskError(choose("Gymnasium model", xml, [p.name for p in folder.glob("*.xml")]))
    # MuJoCo calls `settotalmass` in half_cheetah.xml deprecated; parity with Gymnasium needs the file as it is
    warnings.filterwarnings("ignore", message="compiler attribute 'settotalmass'")
    return mujoco.MjSpec.from_file(str(folder / xml))

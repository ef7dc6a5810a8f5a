"""Solo-12 walks on flat ground as commanded: CaT's own robot and constraint table (Chane-Sane et al. 2024, arXiv 2403.18765).

Version history: v0, first version.
"""

from __future__ import annotations

from importlib import resources
from typing import ClassVar

import mujoco

from saferl_envs.tasks.quadruped import Quadruped
from saferl_envs.tasks.registry import register_task

LEGS = ("FL", "FR", "HL", "HR")


@register_task("saferl/Solo12Flat-v0")
@register_task("saferl/Solo12FlatPlay-v0", play=True)
class Solo12Flat(Quadruped):
    """45 observations, 12 position servos, 50 Hz policy over a 200 Hz controller, 14 constraints."""

    standing: ClassVar = tuple(angle for leg in LEGS for angle in (0.05 if leg[1] == "L" else -0.05, 0.4, -0.8))
    height = 0.315
    hips: ClassVar = tuple(f"{leg}_HAA" for leg in LEGS)
    front_hips: ClassVar = ("FL_HFE", "FR_HFE")
    contact_groups: ClassVar = {"feet": LEGS, "knees": tuple(f"{leg}_knee" for leg in LEGS), "base": ("base",)}

    def spec(self) -> mujoco.MjSpec:
        return mujoco.MjSpec.from_string((resources.files("saferl_envs.assets") / "solo12/solo12.xml").read_text())

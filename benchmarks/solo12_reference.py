"""Recompute ``tests/reference/solo12.json``, against which our model of Solo-12 is held.

``python -m benchmarks.solo12_reference URDF``, where URDF is ``robots/solo_description/robots/solo12.urdf`` of
example-robot-data 6.0.0. Masses, inertias and gravity torques come from it through pinocchio (``pip install pin==4.1.0``),
which is wanted here only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

OUT = Path(__file__).resolve().parent.parent / "tests/reference/solo12.json"
LEGS = ("FL", "FR", "HL", "HR")
JOINTS = tuple(f"{leg}_{joint}" for leg in LEGS for joint in ("HAA", "HFE", "KFE"))


def poses() -> list[tuple[list[float], list[float]]]:
    """Return three poses: the base's quaternion (w, x, y, z), and joint angles in the order of `JOINTS`."""
    rng = np.random.default_rng(0)
    turned = rng.normal(size=4)
    standing = [angle for leg in LEGS for angle in (0.05 if leg[1] == "L" else -0.05, 0.4, -0.8)]
    leaning = [np.cos(0.2), 0.6 * np.sin(0.2), 0.8 * np.sin(0.2), 0.0]
    return [
        ([1.0, 0.0, 0.0, 0.0], standing),
        (list(map(float, leaning)), [0.3, -0.6, 1.2] * 4),
        ((turned / np.linalg.norm(turned)).tolist(), rng.uniform(-1.5, 1.5, 12).tolist()),
    ]


def main() -> None:
    """Write the file."""
    import pinocchio

    model = pinocchio.buildModelFromUrdf(sys.argv[1], pinocchio.JointModelFreeFlyer())
    data = model.createData()
    indices = [model.joints[model.getJointId(name)] for name in JOINTS]
    links: dict[str, Any] = {}
    for joint in range(1, model.njoints):
        inertia = model.inertias[joint]  # of all links fixed to each other behind a joint
        links[model.names[joint]] = {
            "mass": inertia.mass, "com": inertia.lever.tolist(), "inertia": inertia.inertia.tolist(),
        }  # fmt: skip
    found = []
    for quaternion, angles in poses():
        q = pinocchio.neutral(model)
        w, x, y, z = quaternion
        q[3:7] = (x, y, z, w)
        for joint, angle in zip(indices, angles, strict=True):
            q[joint.idx_q] = angle
        torque = pinocchio.computeGeneralizedGravity(model, data, q)
        found.append({"quaternion": quaternion, "angles": angles, "gravity": [float(torque[j.idx_v]) for j in indices]})
    OUT.write_text(
        json.dumps({"total_mass": pinocchio.computeTotalMass(model), "links": links, "poses": found}, indent=1) + "\n"
    )
    print(f"wrote {OUT.name}")


if __name__ == "__main__":
    main()

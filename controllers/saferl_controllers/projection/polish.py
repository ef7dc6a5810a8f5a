"""What makes an interior-point answer exact: the rows and bounds that bind are told by it, and solved for as equalities.

The last step of OSQP (Stellato et al. 2020, Mathematical Programming Computation 12, section 5.2), for projections.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from saferl_controllers.projection.problem import Box, Projected
from saferl_envs.signals import FloatArray

_RIGHT = 1e-9
"""What a polished point may exceed rows of length 1 by, and its distance miss what multipliers push."""


def polished(box: Box, point: FloatArray, rows: FloatArray, offsets: FloatArray, found: Projected) -> Projected | None:
    """Return the exact projection, or None where the answer given does not tell which rows and bounds bind.

    Args:
        box: Bounds and metric.
        point: (n,) what was projected.
        rows: (m, n).
        offsets: (m,).
        found: A feasible answer, good to a few digits, without a first axis.
    """
    n, m = box.size, len(rows)
    root = np.sqrt(np.ones(n) if box.weights is None else box.weights)
    # all in the metric's own coordinates, rows and bounds alike: normals of length 1, and multipliers of these
    normals = np.concatenate((rows, np.eye(n), -np.eye(n))) / root
    limits = np.concatenate((offsets, box.high, -box.low))
    pushes = np.concatenate((found.row_multipliers, found.box_multipliers.clip(0.0), (-found.box_multipliers).clip(0.0)))
    lengths = np.linalg.norm(normals, axis=1)
    lengths = np.where(lengths > 0.0, lengths, 1.0)
    normals, limits, pushes = normals / lengths[:, np.newaxis], limits / lengths, pushes * lengths
    room = limits - normals @ (root * found.point)
    (binding,) = (pushes > np.maximum(room, 0.0)).nonzero()
    target = root * point
    active = normals[binding]
    moved = target - np.linalg.pinv(active) @ (active @ target - limits[binding]) if len(binding) else target
    multipliers = np.zeros(len(limits))
    if len(binding):
        multipliers[binding], missed = nnls(active.T, target - moved)
    else:
        missed = 0.0
    if (normals @ moved - limits).max() > _RIGHT or missed > _RIGHT * (1.0 + np.abs(target).max()):
        return None
    multipliers /= lengths
    return found._replace(
        point=np.clip(moved / root, box.low, box.high),
        row_multipliers=multipliers[:m],
        box_multipliers=multipliers[m : m + n] - multipliers[m + n :],
    )

"""What makes an interior-point answer exact: of the rows and bounds it touches, an active-set method finds those that bind.

For a projection that is a least-distance problem, which non-negative least squares solves exactly (Lawson and Hanson 1974,
Solving Least Squares Problems, chapter 23). It is told nothing of the answer but what lies near it.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from saferl_controllers.projection.problem import Box, Projected
from saferl_envs.signals import FloatArray

_NEAR = 1e-4
"""Room of rows of length 1 that an interior-point answer may leave where it touches."""
_RIGHT = 1e-9
"""What a polished point may exceed rows of length 1 by."""


def polished(box: Box, point: FloatArray, rows: FloatArray, offsets: FloatArray, found: Projected) -> Projected | None:
    """Return the exact projection, or None where rows and bounds that bind are not near the answer given.

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
    lengths = np.linalg.norm(normals, axis=1)
    lengths = np.where(lengths > 0.0, lengths, 1.0)
    normals, limits, target = normals / lengths[:, np.newaxis], limits / lengths, root * point
    near = limits - normals @ (root * found.point) < _NEAR
    # the shortest step s with  normals s <= limits - normals target
    system = np.vstack((-normals[near].T, normals[near] @ target - limits[near]))
    wanted = np.zeros(n + 1)
    wanted[n] = 1.0
    shares = nnls(system, wanted)[0] if near.any() else np.zeros(0)
    rest = system @ shares - wanted
    moved = target - rest[:n] / rest[n]
    if not (normals @ moved - limits).max() <= _RIGHT:
        return None
    multipliers = np.zeros(len(limits))
    multipliers[near] = -shares / rest[n]
    multipliers /= lengths
    return found._replace(
        point=np.clip(moved / root, box.low, box.high),
        row_multipliers=multipliers[:m],
        box_multipliers=multipliers[m : m + n] - multipliers[m + n :],
    )

"""Closeness of things around a robot in angular bins: the pseudo-lidar of Safety Gym, for all copies at once.

Ray, Achiam and Amodei 2019, "Benchmarking Safe Exploration in Deep Reinforcement Learning", appendix; the arrangement of its
bins is Safety-Gymnasium's (arXiv 2310.12567).
"""

from __future__ import annotations

import numpy as np

from saferl_envs.signals import FloatArray

BINS = 16
REACH = 3.0
"""m; what is farther away reads 0."""


def lidar(relative: FloatArray, bins: int = BINS, reach: float = REACH) -> FloatArray:
    """Return how close the nearest thing in each bin is, (N, bins): 1 at the robot, 0 from `reach` on.

    Bin k sees angles from ``2 pi k / bins`` to ``2 pi (k + 1) / bins`` about the robot, counted from its x axis. Where in
    its bin a thing lies shows in the bins beside it, which read its closeness times how near their common edge it is.

    Args:
        relative: (N, K, 2) positions of K things in the robot's frame, m; K may be 0.
        bins: Number of bins.
        reach: m.
    """
    n, things, _ = relative.shape
    if not things:
        return np.zeros((n, bins))
    x, y = relative[..., 0], relative[..., 1]
    close = np.maximum(reach - np.hypot(x, y), 0.0) / reach
    place = np.mod(np.arctan2(y, x), 2.0 * np.pi) * (bins / (2.0 * np.pi))
    # a tiny negative angle is rounded up to a whole turn
    bin_ = np.minimum(place.astype(np.intp), bins - 1)
    along = np.minimum(place - bin_, 1.0)
    found = np.zeros((n, bins))
    copies = np.arange(n)
    for k in range(things):
        for shift, share in ((0, 1.0), (1, along[:, k]), (-1, 1.0 - along[:, k])):
            seen = (bin_[:, k] + shift) % bins
            found[copies, seen] = np.maximum(found[copies, seen], share * close[:, k])
    return found


def in_frame(points: FloatArray, position: FloatArray, heading: FloatArray) -> FloatArray:
    """Return points (N, K, 2) of the world in the frames of robots at positions (N, 2) with headings (N,) in rad."""
    away = points - position[:, np.newaxis]
    cosine, sine = np.cos(heading)[:, np.newaxis], np.sin(heading)[:, np.newaxis]
    return np.stack((cosine * away[..., 0] + sine * away[..., 1], cosine * away[..., 1] - sine * away[..., 0]), axis=2)

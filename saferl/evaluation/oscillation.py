"""How much a training oscillates about its limits: of single runs, never smoothed over seeds, which hides it.

The protocol of ReLOAD's specification: over the last half of the iterates, the violation and distance from the limit, the
range of a short moving average, and how often the curve crosses the limit; and the last iterate itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
WINDOW = 10
METRICS = {
    "mean": "mean",
    "last": "last",
    "oscillation": "swing",
    "deviation": "deviation",
    "distance": "distance from limit",
    "violation": "excess",
    "crossings": "crossings",
    "both_fine": "near the best",
}
"""What is reported of a training, and what tables call it."""


def oscillation(values: Array, limit: float | None = None, part: float = 0.5, window: int = WINDOW) -> dict[str, float]:
    """Return the metrics of one quantity over the last part of a run.

    Args:
        values: (K,) of the present policy at each iteration.
        limit: Upper bound, or None for a quantity without one (the reward).
        part: Share of the iterations that counts, from the end.
        window: Iterations of the moving average whose range is the oscillation.

    Returns:
        ``mean``, ``last``, ``oscillation`` (largest minus smallest moving average), ``deviation`` (standard deviation); with
        a limit also ``violation`` (mean excess), ``distance`` (mean absolute distance) and ``crossings``.
    """
    tail = np.asarray(values, np.float64)[first_of(part, len(values)) :]
    width = min(window, len(tail))
    smooth = np.convolve(tail, np.ones(width) / width, "valid")
    found = {
        "mean": float(tail.mean()),
        "last": float(tail[-1]),
        "oscillation": float(np.ptp(smooth)),
        "deviation": float(tail.std()),
    }
    if limit is None:
        return found
    off = tail - limit
    sides = np.sign(off[off != 0])
    return found | {
        "violation": float(np.maximum(off, 0.0).mean()),
        "distance": float(np.abs(off).mean()),
        "crossings": float((sides[1:] != sides[:-1]).sum()),
    }


def first_of(part: float, iterates: int) -> int:
    """Return the index of the first iterate that counts, where the last `part` of them do; at least one does."""
    return iterates - max(1, round(part * iterates))


def both_fine(reward: Array, best: float, costs: Array, limits: Array, slack: float = 0.02, part: float = 0.5) -> float:
    """Return the share of iterates whose reward is at most `slack` below the best and whose costs are at most that above.

    Args:
        reward: (K,).
        best: The optimum, or the best feasible reward known.
        costs: (K, N).
        limits: (N,).
        slack: Relative to the best reward and to each limit.
        part: Share of the iterations that counts, from the end.
    """
    first = first_of(part, len(reward))
    good = reward[first:] >= best - slack * abs(best)
    held = (costs[first:] <= limits + slack * np.abs(limits)).all(axis=1)
    return float((good & held).mean())

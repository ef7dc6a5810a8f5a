"""Random problems of projecting points onto polytopes, and what is found about them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linprog

KINDS = ("plain", "parallel", "opposite", "redundant", "degenerate", "no room")


class Finding(NamedTuple):
    """A claim's own part: name, what is measured, target, value, unit and what else there is to say."""

    name: str
    text: str
    target: str
    measured: float
    unit: str
    note: str = ""


class Problem(NamedTuple):
    """Two points (2, n), and rows (m, n) and offsets (m,) in a box with weights."""

    points: np.ndarray[Any, Any]
    rows: np.ndarray[Any, Any]
    offsets: np.ndarray[Any, Any]


class Space(NamedTuple):
    """Bounds and metric of problems of one size."""

    low: np.ndarray[Any, Any]
    high: np.ndarray[Any, Any]
    weights: np.ndarray[Any, Any] | None


def space(rng: np.random.Generator, n: int) -> Space:
    """Return a random box in n dimensions, every second time with weights."""
    weights = rng.uniform(0.1, 10.0, n) if rng.random() < 0.5 else None
    return Space(-rng.uniform(0.2, 2.0, n), rng.uniform(0.2, 2.0, n), weights)


def problem(rng: np.random.Generator, box: Space, m: int, kind: str) -> Problem:
    """Return a random problem of a kind."""
    n, half = len(box.low), m // 2
    points = rng.normal(size=(2, n)) * rng.choice([0.5, 3.0])
    rows = rng.normal(size=(m, n))
    if kind == "parallel":
        rows[half:] = rows[: m - half] * rng.uniform(0.5, 2.0, (m - half, 1))
    if kind == "opposite":
        rows[half:] = -rows[: m - half]
    inside = rng.uniform(box.low, box.high)
    room = rng.choice([0.1, 1.0]) * rng.uniform(0.0, 1.0, m)
    if kind == "redundant":
        rows[half:] = rows[: m - half]
        room[half:] = room[: m - half] + 0.5
    if kind == "degenerate":  # all rows through one point
        room[:] = 0.0
    if kind == "no room":
        room -= rng.uniform(0.0, 1.5)
    return Problem(points, rows, rows @ inside + room)


def missing_room(box: Space, p: Problem) -> float:
    """Return the radius of the largest ball between the rows, about a point of the box; negative where there is no point."""
    if not len(p.rows):
        return 1.0
    n, lengths = len(box.low), np.linalg.norm(p.rows, axis=1, keepdims=True)
    bounds = [*zip(box.low, box.high, strict=True), (None, 1.0)]
    return float(-linprog(np.r_[np.zeros(n), -1.0], np.c_[p.rows, lengths], p.offsets, bounds=bounds).fun)

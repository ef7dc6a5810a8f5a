"""Projections on random problems: conditions of optimality, cvxpy's answers, feasibility by a linear program."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np

from benchmarks.evidence import Row
from benchmarks.projection_problems import KINDS, Finding, missing_room, problem, space
from saferl_controllers.projection.fast import PolytopeProjection
from saferl_controllers.projection.half_space import project_half_space_in_box
from saferl_controllers.projection.problem import Box, Projected, residuals
from saferl_controllers.projection.reference import ChanceProjection, ConvexProjection
from saferl_envs.errors import ConfigError

CHANCE_EACH = 10
"""Problems with rows that hold with a probability, of each size."""
DOUBT = 1e-7
"""Where a linear program finds less room, or less missing, than this, either answer about feasibility counts."""


def check(seed: int, each: int) -> dict[str, Any]:
    """Return the worst of some problems of one random size."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 31)), int(rng.integers(0, 61))
    box = space(rng, n)
    fast = PolytopeProjection(*box)
    reference = ConvexProjection(box.low, box.high, m, box.weights) if m else None
    worst = {"residual": 0.0, "relaxed_residual": 0.0, "distance": 0.0, "again": 0.0, "expansion": 0.0}
    wrong = clear = infeasible = unknown = 0
    scale = np.ones(n) if box.weights is None else box.weights
    for k in range(each):
        p = problem(rng, box, m, KINDS[k % len(KINDS)])
        found = fast(p.points, p.rows, p.offsets)
        room = missing_room(box, p)
        if abs(room) > DOUBT:
            clear += 1
            infeasible += room < 0.0
            wrong += int((found.feasible != (room > 0.0)).any())
        off = residuals(fast.box, p.points, p.rows, p.offsets, found).worst()
        for feasible, value in zip(found.feasible, off, strict=True):
            key = "residual" if feasible else "relaxed_residual"
            worst[key] = max(worst[key], float(value))
        if not found.feasible.all():
            continue
        if reference is not None:
            try:
                exact = reference(p.points, p.rows, p.offsets).point
            except ConfigError:  # the reference's solver fails, about which this one's answer says nothing
                unknown += 1
            else:
                worst["distance"] = max(worst["distance"], float(np.abs(found.point - exact).max()))
        again = fast(found.point, p.rows, p.offsets).point
        worst["again"] = max(worst["again"], float(np.abs(again - found.point).max()))
        after, before = (float(np.sqrt(scale @ np.square(pair[0] - pair[1]))) for pair in (found.point, p.points))
        worst["expansion"] = max(worst["expansion"], after - before)
    counts = {"problems": each, "clear": clear, "infeasible": infeasible, "wrongly_flagged": wrong}
    counts["no_reference"] = unknown
    return {"seed": seed, "n": n, "m": m, **counts, **worst}


def check_closed(n: int, each: int) -> dict[str, Any]:
    """Return the worst of the closed form of one half-space in a box in n dimensions, the form that ACS projects by."""
    rng = np.random.default_rng(n)
    worst = {"distance": 0.0, "excess": 0.0, "residual": 0.0}
    wrong = infeasible = 0
    for k in range(each):
        box = space(rng, n)
        p = problem(rng, box, 1, "no room" if k % 8 == 7 else "plain")
        points = np.clip(p.points, box.low, box.high) if k % 2 else p.points
        # outside of the half-space as a rule
        offsets = np.full(2, min(float(p.offsets[0]), float((points @ p.rows[0]).min()) - rng.uniform(0.0, 0.5)))
        found = project_half_space_in_box(points, p.rows, offsets, box.low, box.high, box.weights)
        least = float(np.minimum(p.rows[0] * box.low, p.rows[0] * box.high).sum())
        infeasible += least > offsets[0]
        wrong += int((found.feasible != (least <= offsets[0])).any()) if abs(least - offsets[0]) > DOUBT else 0
        if not found.feasible.all():
            continue
        exact = ConvexProjection(box.low, box.high, 1, box.weights)
        wanted = exact(points, p.rows, offsets[:1]).point
        worst["distance"] = max(worst["distance"], float(np.abs(found.point - wanted).max()))
        worst["excess"] = max(worst["excess"], float((found.point @ p.rows[0] - offsets).max()))
        scale = np.ones(n) if box.weights is None else box.weights
        rest = scale * (points - found.point) - found.multiplier[:, np.newaxis] * p.rows[0]
        answer = Projected(found.point, found.feasible, np.zeros((2, 1)), found.multiplier[:, np.newaxis], rest)
        off = residuals(Box(*box), points, p.rows, offsets[:, np.newaxis], answer).worst()
        worst["residual"] = max(worst["residual"], float(off.max()))
    return {"n": n, "problems": each, "infeasible": infeasible, "wrongly_flagged": wrong, **worst}


def check_chance(seed: int) -> dict[str, Any]:
    """Return the worst of some projections of one random size onto rows that are to hold with a probability."""
    rng = np.random.default_rng(seed)
    n, m, level = int(rng.integers(1, 9)), int(rng.integers(1, 5)), float(rng.uniform(0.5, 0.999))
    project = ChanceProjection(-np.ones(n), np.ones(n), m, level)
    met, short, off = 0, 0.0, 0.0
    for _ in range(CHANCE_EACH):
        means, roots = rng.normal(size=(m, n)), 0.3 * np.tril(rng.normal(size=(m, n, n)))
        offsets = rng.uniform(-0.2, 1.0, m)
        found = project(rng.normal(size=n) * 1.5, means, roots, offsets)
        if found.feasible:
            met += 1
            spread = np.linalg.norm(np.einsum("jki,k->ji", roots, found.point), axis=1)
            room = offsets - means @ found.point
            held = [NormalDist().cdf(r / s) if s > 0.0 else float(r >= 0.0) for r, s in zip(room, spread, strict=True)]
            short, off = max(short, level - min(held)), max(off, found.residual)
    return {
        "seed": seed,
        "n": n,
        "m": m,
        "level": level,
        "problems": CHANCE_EACH,
        "met": met,
        "shortfall": short,
        "residual": off,
    }


def findings(rows: list[Row]) -> list[Finding]:
    """Return what rows of `check` say."""
    total, none, wrong, clear, unknown = (
        sum(int(row[key]) for row in rows) for key in ("problems", "infeasible", "wrongly_flagged", "clear", "no_reference")
    )
    worst = {key: _worst(rows, key) for key in ("residual", "relaxed_residual", "distance", "again", "expansion")}
    compared = f"compared where cvxpy's solver answers; it fails on {unknown} problems"
    flagged = f"{none} of {clear} problems have no point, by a linear program; {total - clear} are within {DOUBT:g} of either"
    optimal = "worst residual of the conditions of optimality where feasible"
    return [
        Finding("problems", "random problems, n 1 to 30, m 0 to 60, of six kinds", ">= 10000", total, "problems"),
        Finding("residual", optimal, "<= 1e-8", worst["residual"], "1"),
        Finding("relaxed", "worst residual where rows had to be relaxed", "<= 1e-5", worst["relaxed_residual"], "1"),
        Finding("distance", "largest distance from cvxpy's answer", "<= 1e-6", worst["distance"], "1", compared),
        Finding("idempotent", "largest move of a projection that is projected again", "<= 1e-8", worst["again"], "1"),
        Finding("expansion", "largest growth of the distance of two points", "<= 1e-8", worst["expansion"], "1"),
        Finding("flags", "problems whose feasibility is told wrongly", "== 0", wrong, "problems", flagged),
    ]


def findings_closed(rows: list[Row]) -> list[Finding]:
    """Return what rows of `check_closed` say."""
    total, wrong = (sum(int(row[key]) for row in rows) for key in ("problems", "wrongly_flagged"))
    title = f"one half-space in a box, {total:,} problems"
    each = ", ".join(f"n = {row['n']}: {float(row['distance']):.2g}" for row in rows)
    optimal = f"{title}: worst residual of the conditions of optimality"
    return [
        Finding(
            "closed-distance", f"{title}: largest distance from cvxpy's answer", "<= 1e-6", _worst(rows, "distance"), "1", each
        ),
        Finding("closed-excess", f"{title}: largest excess over the half-space", "<= 1e-8", _worst(rows, "excess"), "1"),
        Finding("closed-residual", optimal, "<= 1e-8", _worst(rows, "residual"), "1"),
        Finding("closed-flags", f"{title}: feasibility told wrongly", "== 0", wrong, "problems"),
    ]


def findings_chance(rows: list[Row]) -> list[Finding]:
    """Return what rows of `check_chance` say."""
    total, met = (sum(int(row[key]) for row in rows) for key in ("problems", "met"))
    title = f"rows that hold with a probability, {total:,} problems"
    short, off = _worst(rows, "shortfall"), _worst(rows, "residual")
    return [
        Finding("chance-level", f"{title}: largest shortfall of the probability where met", "<= 1e-6", short, "1"),
        Finding("chance-residual", f"{title}: worst residual of stationarity where met", "<= 1e-4", off, "1"),
        Finding("chance-met", f"{title}: problems that can be met (reported, no target)", ">= 0", met, "problems"),
    ]


def _worst(rows: list[Row], key: str) -> float:
    return max(float(row[key]) for row in rows)

"""Projections onto polytopes: right on ten thousand random problems, and how long they take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import torch as th
from rich.progress import track
from saferl.experiment.build import make_model, make_vec_env
from saferl.experiment.config import load_config
from scipy.optimize import linprog

from benchmarks.evidence import Claim, append_row, folder, read_rows
from saferl_controllers import BoxSafeguard
from saferl_controllers.projection.fast import PolytopeProjection
from saferl_controllers.projection.half_space import project_half_space_in_box
from saferl_controllers.projection.problem import Box, Projected, residuals
from saferl_controllers.projection.reference import ChanceProjection, ConvexProjection
from saferl_envs.errors import ConfigError

TOPIC = "projection"
RIGHT, CLOSED, CHANCE, FAST = "right.csv", "half_space.csv", "chance.csv", "fast.csv"
COMMAND = "python scripts/benchmark.py projection"
QUICK = f"{COMMAND} --quick"
KINDS = ("plain", "parallel", "opposite", "redundant", "degenerate", "no room")
SIZES, EACH, QUICK_SIZES = 1000, 10, 20
"""Random sizes, problems of each (two points are projected in each)."""
CLOSED_SIZES = (2, 6, 8, 12, 20, 30)
CLOSED_EACH, QUICK_CLOSED_EACH = 400, 20
"""Dimensions, and problems of each, half of them from inside the box, of one half-space in a box."""
CHANCE_SIZES, CHANCE_EACH, QUICK_CHANCE_SIZES = 100, 10, 5
"""Random sizes of problems with rows that hold with a probability, and problems of each."""
DOUBT = 1e-7
"""Where a linear program finds less room, or less missing, than this, either answer about feasibility counts."""
N, M, BATCH, REPEATS = 12, 8, 256, 2000


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


def _check(seed: int, each: int) -> dict[str, Any]:
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


def _check_closed(n: int, each: int) -> dict[str, Any]:
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


def _check_chance(seed: int) -> dict[str, Any]:
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


def timed(call: Callable[[], Any], actions: int, repeats: int) -> dict[str, float]:
    """Return median and 99th percentile of a call in microseconds per action."""
    for _ in range(50):
        call()
    took = []
    for _ in range(repeats):
        began = time.perf_counter_ns()
        call()
        took.append((time.perf_counter_ns() - began) / 1e3 / actions)
    return {"median_us": round(statistics.median(took), 4), "p99_us": round(float(np.quantile(took, 0.99)), 4)}


def _fast(repeats: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    box = Space(-np.ones(N), np.ones(N), None)
    problems = [problem(rng, box, M, "plain") for _ in range(BATCH)]
    # proposals that break a row, as those that a safeguard has to correct: clipped to the box, as it is handed them
    outside = np.stack([p.rows[0] / np.linalg.norm(p.rows[0]) * 2.0 for p in problems])
    points = np.clip(outside, box.low, box.high)
    rows, offsets = np.stack([p.rows for p in problems]), np.stack([p.offsets for p in problems])
    offsets[:, 0] = np.minimum(offsets[:, 0], 0.5)
    fast, reference = PolytopeProjection(*box), ConvexProjection(box.low, box.high, M)
    turn = iter(range(10**9))

    def single() -> None:
        k = next(turn) % BATCH
        fast(points[k : k + 1], rows[k : k + 1], offsets[k : k + 1])

    def single_row() -> None:
        k = next(turn) % BATCH
        project_half_space_in_box(points[k : k + 1], rows[k : k + 1, 0], offsets[k : k + 1, 0], box.low, box.high)

    def convex() -> None:
        k = next(turn) % BATCH
        reference(points[k : k + 1], rows[k], offsets[k])

    def outside_row() -> None:
        k = next(turn) % BATCH
        project_half_space_in_box(outside[k : k + 1], rows[k : k + 1, 0], offsets[k : k + 1, 0], box.low, box.high)

    loose, guard = offsets + 100.0, BoxSafeguard(box.low, box.high)
    ways: dict[str, tuple[Callable[[], Any], int, int]] = {
        "qp_single": (single, 1, repeats),
        "qp_batch": (lambda: fast(points, rows, offsets), BATCH, repeats // 10),
        "half_space_single": (single_row, 1, repeats),
        "half_space_batch": (
            lambda: project_half_space_in_box(points, rows[:, 0], offsets[:, 0], box.low, box.high), BATCH, repeats
        ),
        "half_space_outside_single": (outside_row, 1, repeats),
        "half_space_outside_batch": (
            lambda: project_half_space_in_box(outside, rows[:, 0], offsets[:, 0], box.low, box.high), BATCH, repeats
        ),
        "inactive_single": (lambda: fast(points[:1] * 0.1, rows[:1], loose[:1]), 1, repeats),
        "inactive_batch": (lambda: fast(points * 0.1, rows, loose), BATCH, repeats),
        "inactive_safeguard_single": (lambda: guard.filter({}, points[:1] * 0.1), 1, repeats),
        "inactive_safeguard_batch": (lambda: guard.filter({}, points * 0.1), BATCH, repeats),
        "cvxpy_single": (convex, 1, repeats // 10),
    }  # fmt: skip
    return [
        {"way": way, **timed(call, actions, max(times, 20)), "feasible": ""} for way, (call, actions, times) in ways.items()
    ]


def _corrections(repeats: int) -> list[dict[str, Any]]:
    """Time ACS's correction of one action beside the loop of gradient steps, behind the same untrained critic.

    One projection, with the critic's slope before and its check after; all twenty gradient steps of the loop, towards a limit
    that cannot be reached; then both as they are used, with all rungs and with stops where they may.
    """
    th.set_num_threads(1)
    rows = []
    for way, options, reachable in (
        ("acs_projection", ["--method.rounds", "1", "--method.samples", "0"], True),
        ("acs_loop", ["--method.correction", "gradient"], False),
        ("acs_ladder", [], True),
        ("acs_loop_stops", ["--method.correction", "gradient"], True),
    ):
        config = load_config("acs/halfcheetah_velocity", ["--env.num-envs", "1", "--method.alpha", "1", *options])
        copies = make_vec_env(config)
        th.manual_seed(0)
        model: Any = make_model(config, copies)
        last = model.safety_target.network[-1]
        th.nn.init.normal_(last.weight, std=0.02)
        th.nn.init.constant_(last.bias, 0.5)  # risks of 0.44 to 0.56
        rng = np.random.default_rng(0)
        observations = th.as_tensor(rng.normal(size=(1000, 17)), dtype=th.float32)
        actions = rng.uniform(-1.0, 1.0, (1000, 6))
        with th.no_grad():
            risk = model.safety_target(th.cat((observations, th.as_tensor(actions, dtype=th.float32)), dim=1))[:, 0]
        limit = float(risk.median())
        unsafe = np.flatnonzero((risk > limit).numpy())
        model.tolerance = limit if reachable else 0.0
        feasible = float(model.correct(observations[unsafe], actions[unsafe]).feasible.mean())
        turn = iter(range(10**9))

        def correct(
            model: Any = model, turn: Any = turn, unsafe: Any = unsafe, seen: Any = observations, a: Any = actions
        ) -> None:
            k = unsafe[next(turn) % len(unsafe)]
            model.correct(seen[k : k + 1], a[k : k + 1])

        rows.append({"way": way, **timed(correct, 1, max(repeats // 4, 20)), "feasible": round(feasible, 4)})
        copies.close()
    return rows


def run(quick: bool) -> None:
    """Check and time. Quick: two hundred problems, fewer repetitions."""
    sizes, repeats = (QUICK_SIZES, 200) if quick else (SIZES, REPEATS)
    prefix = "quick_" if quick else ""
    if quick:
        for name in (RIGHT, CLOSED, CHANCE, FAST):
            (folder(TOPIC) / f"{prefix}{name}").unlink(missing_ok=True)
    done = {name: len(read_rows(TOPIC, prefix + name)) for name in (RIGHT, CLOSED, CHANCE, FAST)}
    if not done[FAST]:  # all at once, under the same conditions
        for row in _fast(repeats) + _corrections(repeats):
            append_row(TOPIC, prefix + FAST, row)
            print(", ".join(f"{key} {value}" for key, value in row.items()))
    for n in track(CLOSED_SIZES[done[CLOSED] :], "one half-space in a box"):
        append_row(TOPIC, prefix + CLOSED, _check_closed(n, QUICK_CLOSED_EACH if quick else CLOSED_EACH))
    for seed in track(range(done[CHANCE], QUICK_CHANCE_SIZES if quick else CHANCE_SIZES), "rows with a probability"):
        append_row(TOPIC, prefix + CHANCE, _check_chance(seed))
    for seed in track(range(done[RIGHT], sizes), "random problems"):
        append_row(TOPIC, prefix + RIGHT, _check(seed, EACH))


def claims() -> list[Claim]:
    """Return the claims that the raw rows support."""
    rows, times = read_rows(TOPIC, RIGHT), {row["way"]: row for row in read_rows(TOPIC, FAST)}
    found: list[Claim] = []

    def claim(name: str, text: str, target: str, measured: float, unit: str, raw: str, note: str = "") -> None:
        found.append(Claim(f"projection-{name}", text, target, measured, unit, "none", [], COMMAND, QUICK, 15, raw, note))

    if len(rows) == SIZES:
        total = sum(int(row["problems"]) for row in rows)
        keys = ("residual", "relaxed_residual", "distance", "again", "expansion")
        worst = {key: max(float(row[key]) for row in rows) for key in keys}
        claim("problems", "random problems, n 1 to 30, m 0 to 60, of six kinds", ">= 10000", total, "problems", RIGHT)
        claim(
            "residual",
            "worst residual of the conditions of optimality where feasible",
            "<= 1e-8",
            worst["residual"],
            "1",
            RIGHT,
        )
        text = "worst residual where rows had to be relaxed"
        claim("relaxed", text, "<= 1e-5", worst["relaxed_residual"], "1", RIGHT)
        wrong, clear, unknown = (sum(int(row[key]) for row in rows) for key in ("wrongly_flagged", "clear", "no_reference"))
        note = f"compared where cvxpy's solver answers; it fails on {unknown} problems"
        claim("distance", "largest distance from cvxpy's answer", "<= 1e-6", worst["distance"], "1", RIGHT, note)
        claim("idempotent", "largest move of a projection that is projected again", "<= 1e-8", worst["again"], "1", RIGHT)
        claim("expansion", "largest growth of the distance of two points", "<= 1e-8", worst["expansion"], "1", RIGHT)
        none = sum(int(row["infeasible"]) for row in rows)
        note = f"{none} of {clear} problems have no point, by a linear program; {total - clear} are within {DOUBT:g} of either"
        claim("flags", "problems whose feasibility is told wrongly", "== 0", wrong, "problems", RIGHT, note)
    closed = read_rows(TOPIC, CLOSED)
    if len(closed) == len(CLOSED_SIZES):
        worst = {key: max(float(row[key]) for row in closed) for key in ("distance", "excess", "residual")}
        total, wrong = (sum(int(row[key]) for row in closed) for key in ("problems", "wrongly_flagged"))
        title = f"one half-space in a box, {total:,} problems"
        each = ", ".join(f"n = {row['n']}: {float(row['distance']):.2g}" for row in closed)
        claim(
            "closed-distance", f"{title}: largest distance from cvxpy's answer", "<= 1e-6", worst["distance"], "1", CLOSED, each
        )
        claim("closed-excess", f"{title}: largest excess over the half-space", "<= 1e-8", worst["excess"], "1", CLOSED)
        claim(
            "closed-residual",
            f"{title}: worst residual of the conditions of optimality",
            "<= 1e-8",
            worst["residual"],
            "1",
            CLOSED,
        )
        claim("closed-flags", f"{title}: feasibility told wrongly", "== 0", wrong, "problems", CLOSED)
    if times:
        cvxpy = float(times["cvxpy_single"]["median_us"])
        for way, text, limit in (
            ("qp_single", f"{M} rows, one action", 20.0),
            ("qp_batch", f"{M} rows, batch of {BATCH}", 10.0),
            ("half_space_single", "one half-space in a box, one action in the box", 40.0),
            ("half_space_batch", f"one half-space in a box, batch of {BATCH} in the box", 0.5),
            ("inactive_single", f"{M} rows, nothing to correct, one action", 10.0),
            ("inactive_batch", f"{M} rows, nothing to correct, batch of {BATCH}", 0.2),
            ("inactive_safeguard_single", "a safeguard that has nothing to correct, one action", 10.0),
            ("inactive_safeguard_batch", f"a safeguard that has nothing to correct, batch of {BATCH}", 0.2),
        ):
            median, p99 = (float(times[way][key]) for key in ("median_us", "p99_us"))
            note = f"{way}: 99th percentile {p99:.3g} us"
            if way.startswith("half_space"):
                outside = float(times[way.replace("space", "space_outside")]["median_us"])
                note += f"; {outside:.3g} us for points outside the box"
            note += f"; cvxpy takes {cvxpy:.0f} us for one action with {M} rows, {cvxpy / median:.0f} times as long"
            claim(way, f"n = {N}, median per action: {text}", f"<= {limit:g}", median, "us", FAST, note)
        loop, projected, ladder, stops = (
            float(times[way]["median_us"]) for way in ("acs_loop", "acs_projection", "acs_ladder", "acs_loop_stops")
        )
        met, met_by_loop = (100 * float(times[way]["feasible"]) for way in ("acs_ladder", "acs_loop_stops"))
        note = (
            f"20 gradient steps {loop:.0f} us, one projection {projected:.0f} us, each with the critic's slopes and checks. As "
            f"they are used, behind a critic that bends: all of ACS's rungs {ladder:.0f} us, the safe action found for "
            f"{met:.0f} %; the loop, which stops where it may, {stops:.0f} us, found for {met_by_loop:.0f} %"
        )
        text = "ACS, one unsafe action behind a 128-wide critic: 20 gradient steps' time over that of a projection"
        claim("acs-loop", text, ">= 5", loop / projected, "1", FAST, note)
        text = "ACS behind that critic: unsafe actions for which its ladder finds a safe one, less those of the loop"
        claim("acs-met", text, ">= 0", met - met_by_loop, "%", FAST)
    chance = read_rows(TOPIC, CHANCE)
    if len(chance) == CHANCE_SIZES:
        total, met = (sum(int(row[key]) for row in chance) for key in ("problems", "met"))
        title = f"rows that hold with a probability, {total:,} problems"
        short = max(float(row["shortfall"]) for row in chance)
        claim("chance-level", f"{title}: largest shortfall of the probability where met", "<= 1e-6", short, "1", CHANCE)
        off = max(float(row["residual"]) for row in chance)
        claim("chance-residual", f"{title}: worst residual of stationarity where met", "<= 1e-4", off, "1", CHANCE)
        claim("chance-met", f"{title}: problems that can be met (reported, no target)", ">= 0", met, "problems", CHANCE)
    return found

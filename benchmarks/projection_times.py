"""How long projections, safeguards with nothing to correct and ACS's correction take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th
from saferl.experiment.build import make_model, make_vec_env
from saferl.experiment.config import load_config

from benchmarks.evidence import Row
from benchmarks.projection_problems import Finding, Space, problem
from saferl_controllers import BoxSafeguard
from saferl_controllers.projection.fast import PolytopeProjection
from saferl_controllers.projection.half_space import project_half_space_in_box
from saferl_controllers.projection.reference import ConvexProjection

N, M, BATCH = 12, 8, 256
LIMITS = {
    "qp_single": (f"{M} rows, one action", 20.0),
    "qp_batch": (f"{M} rows, batch of {BATCH}", 10.0),
    "half_space_single": ("one half-space in a box, one action in the box", 40.0),
    "half_space_batch": (f"one half-space in a box, batch of {BATCH} in the box", 0.5),
    "inactive_single": (f"{M} rows, nothing to correct, one action", 10.0),
    "inactive_batch": (f"{M} rows, nothing to correct, batch of {BATCH}", 0.2),
    "inactive_safeguard_single": ("a safeguard that has nothing to correct, one action", 10.0),
    "inactive_safeguard_batch": (f"a safeguard that has nothing to correct, batch of {BATCH}", 0.2),
}
"""Way to what it is and the microseconds per action that it may take."""


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


def time_projections(repeats: int) -> list[dict[str, Any]]:
    """Time projections and safeguards, one action at a time and in batches, and cvxpy's model."""
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


def time_corrections(repeats: int) -> list[dict[str, Any]]:
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


def findings(rows: list[Row]) -> list[Finding]:
    """Return what the rows of both timings say."""
    times = {row["way"]: row for row in rows}
    medians = {way: float(row["median_us"]) for way, row in times.items()}
    found, cvxpy = [], medians["cvxpy_single"]
    for way, (text, limit) in LIMITS.items():
        median, p99 = medians[way], float(times[way]["p99_us"])
        note = f"{way}: 99th percentile {p99:.3g} us"
        if way.startswith("half_space"):
            note += f"; {medians[way.replace('space', 'space_outside')]:.3g} us for points outside the box"
        note += f"; cvxpy takes {cvxpy:.0f} us for one action with {M} rows, {cvxpy / median:.0f} times as long"
        found.append(Finding(way, f"n = {N}, median per action: {text}", f"<= {limit:g}", median, "us", note))
    loop, projected = medians["acs_loop"], medians["acs_projection"]
    met, met_by_loop = (100 * float(times[way]["feasible"]) for way in ("acs_ladder", "acs_loop_stops"))
    ladder, stops = medians["acs_ladder"], medians["acs_loop_stops"]
    note = (
        f"20 gradient steps {loop:.0f} us, one projection {projected:.0f} us, each with the critic's slopes and checks. As "
        f"they are used, behind a critic that bends: all of ACS's rungs {ladder:.0f} us, the safe action found for "
        f"{met:.0f} %; the loop, which stops where it may, {stops:.0f} us, found for {met_by_loop:.0f} %"
    )
    text = "ACS, one unsafe action behind a 128-wide critic: 20 gradient steps' time over that of a projection"
    better = "ACS behind that critic: unsafe actions for which its ladder finds a safe one, less those of the loop"
    return [
        *found,
        Finding("acs-loop", text, ">= 5", loop / projected, "1", note),
        Finding("acs-met", better, ">= 0", met - met_by_loop, "%"),
    ]

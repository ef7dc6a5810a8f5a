"""The barrier safeguard under a policy that acts at random, and under one that always pushes at the limits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from rich.progress import Progress

from benchmarks.evidence import Claim, Row, append_row, folder, read_rows
from saferl_controllers.registry import safeguards
from saferl_envs.engine import Engine
from saferl_envs.foresight import Foresight
from saferl_envs.make import make_engine

TOPIC = "barrier"
RAW = "rows.csv"
COMMAND = "python scripts/benchmark.py barrier"
QUICK = f"{COMMAND} --quick"
STEPS, QUICK_STEPS, COPIES, SEED = 100_000, 2_000, 128, 0
TOLERANCE = 1e-3
"""What counts as a violation, in the unit of the constraint."""
PUSH = 5
"""Steps for which the adversary holds each candidate in its look-ahead."""
Array = np.ndarray[Any, Any]


class Setup(NamedTuple):
    """A task, its title, and the safeguard's settings."""

    title: str
    env_id: str
    safeguard: Mapping[str, Any]


TASKS = {
    "cart_pole": Setup("cart-pole", "saferl/CartPoleBalance-v0", {"name": "barrier", "horizon": 40}),
    "quadrotor": Setup("quadrotor", "saferl/QuadrotorCircle-v0", {"name": "barrier", "horizon": 40}),
    "arm": Setup("arm", "saferl/PandaReach-v0", {"name": "barrier", "backup": "returning", "gain": 6.0}),
}


class Policy(Protocol):
    """What proposes actions."""

    def __call__(self) -> Array:
        """Return actions (N, na) for the copies' present state."""
        ...


class Random:
    """Uniform over the actions' range, anew at every step."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._rng = engine, np.random.default_rng(SEED)

    def __call__(self) -> Array:
        """Return actions (N, na)."""
        space: Any = self._engine.action_space
        actions: Array = self._rng.uniform(space.low, space.high, (self._engine.num_envs, *space.shape))
        return actions


class Adversary:
    """Attacks one constraint per copy and episode, all in turn, always with actions at their bounds.

    Every action is at that one of its bounds which, held for a while, makes the worst value of that constraint the greater.
    Bounds are compared one action at a time, with the others in the middle of their ranges; where they do not differ, either.
    """

    def __init__(self, engine: Engine) -> None:
        space: Any = engine.action_space
        self._low, self._high, na = space.low.astype(float), space.high.astype(float), space.shape[0]
        self._ahead = Foresight(engine, 2 * na, threads=engine.simulation.batch.nthread)
        middle = np.tile(0.5 * (self._low + self._high), (2 * na, 1))
        middle[np.arange(na), np.arange(na)] = self._low
        middle[na + np.arange(na), np.arange(na)] = self._high
        self._candidates = np.broadcast_to(middle, (engine.num_envs, 2 * na, na))
        self._engine, self._rng = engine, np.random.default_rng(SEED)

    def __call__(self) -> Array:
        """Return actions (N, na)."""
        constraints, copies = self._engine.constraints, np.arange(self._engine.num_envs)
        self._ahead.begin()
        values = np.max([self._ahead.step(self._candidates) for _ in range(PUSH)], axis=0)
        each = np.stack([values[..., part].max(axis=2) for part in constraints.slices], axis=2)
        attacked = (copies + self._engine.episodes.astype(np.int64)) % len(constraints.slices)
        low, high = np.split(each[copies, :, attacked], 2, axis=1)
        either = self._rng.random(low.shape) < 0.5
        return np.where((high > low) | ((high == low) & either), self._high, self._low)


POLICIES = {"random": Random, "adversarial": Adversary}


def run(quick: bool) -> None:
    """Drive every task with both policies, behind the safeguard and without it; rows that exist are kept."""
    raw, steps = (f"quick_{RAW}", QUICK_STEPS) if quick else (RAW, STEPS)
    if quick:
        (folder(TOPIC) / raw).unlink(missing_ok=True)
    done = {(row["task"], row["policy"], row["guarded"]) for row in read_rows(TOPIC, raw)}
    for task in TASKS:
        for policy in POLICIES:
            for guarded in (True, False):
                if (task, policy, str(int(guarded))) not in done:
                    append_row(TOPIC, raw, drive(task, policy, guarded, steps))


def drive(task: str, policy: str, guarded: bool, steps: int) -> dict[str, Any]:
    """Return the row of `steps` steps, over all copies, that a policy takes on a task."""
    setup = TASKS[task]
    engine = make_engine(setup.env_id, COPIES, threads=0)
    engine.seed(np.arange(COPIES) + SEED)
    engine.reset()
    proposes: Policy = POLICIES[policy](engine)
    safeguard = safeguards()["barrier"].settings.model_validate(setup.safeguard).build(engine) if guarded else None
    calls = -(-steps // COPIES)
    sums = dict.fromkeys(("violated", "verified", "violated_verified", "intervened", "episodes"), 0)
    worst = {"worst": -np.inf, "worst_verified": -np.inf}
    names, parts = engine.constraints.names, engine.constraints.slices
    worst |= {f"worst_{name}": -np.inf for name in names}
    seconds = 0.0
    with Progress() as bar:
        for _ in bar.track(range(calls), description=f"{task}, {policy}{', guarded' if guarded else ''}"):
            actions, verified = proposes(), np.zeros(COPIES, np.bool_)
            if safeguard is not None:
                began = time.perf_counter()
                found = safeguard.filter(engine.present(), actions)
                seconds += time.perf_counter() - began
                actions, verified = found.action, found.verified
                sums["intervened"] += int(found.intervened.sum())
            taken = engine.step(actions)
            values = taken.values.max(axis=1)
            sums["violated"] += int((values > TOLERANCE).sum())
            sums["verified"] += int(verified.sum())
            sums["violated_verified"] += int((values > TOLERANCE)[verified].sum())
            worst["worst"] = max(worst["worst"], float(values.max()))
            worst["worst_verified"] = max(worst["worst_verified"], float(values[verified].max(initial=-np.inf)))
            for name, part in zip(names, parts, strict=True):
                worst[f"worst_{name}"] = max(worst[f"worst_{name}"], float(taken.values[:, part].max()))
            ended = np.flatnonzero(taken.terminated | taken.truncated)
            if ended.size:
                sums["episodes"] += ended.size
                engine.reset(ended)
    engine.close()
    row = {"task": task, "policy": policy, "guarded": int(guarded), "steps": calls * COPIES, **sums}
    each = "; ".join(f"{name} {worst.pop(f'worst_{name}'):.3g}" for name in names)
    numbers = {key: round(value, 8) for key, value in worst.items()}
    return {**row, **numbers, "worst_each": each, "ms_per_action": round(1e3 * seconds / (calls * COPIES), 4)}


def table() -> list[str]:
    """Return the lines of a Markdown table of tasks and policies, of those whose rows are there."""
    lines = [
        "| task, policy | violating without it | behind it | verified | worst value on verified steps | corrected "
        "| ms per action |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = read_rows(TOPIC, RAW)
    others = {(row["task"], row["policy"]): row for row in rows if row["guarded"] == "0"}
    for row in rows:
        free = others.get((row["task"], row["policy"]))
        if row["guarded"] == "1" and free is not None:
            shares = [
                f"{int(of[key]) / int(of['steps']):.2%}"
                for of, key in ((free, "violated"), (row, "violated"), (row, "verified"), (row, "intervened"))
            ]
            cells = [*shares[:3], f"{float(row['worst_verified']):.2g}", shares[3], f"{float(row['ms_per_action']):.2g}"]
            lines.append(f"| {TASKS[row['task']].title}, {row['policy']} | {' | '.join(cells)} |")
    return lines


def claims() -> list[Claim]:
    """Return the claims that the raw rows support."""
    rows = read_rows(TOPIC, RAW)
    if len(rows) < 2 * len(TASKS) * len(POLICIES):
        return []
    return [claim for row in rows if row["guarded"] == "1" for claim in _of(row, rows)]


def _of(row: Row, rows: list[Row]) -> list[Claim]:
    task, policy = row["task"], row["policy"]
    free = next(r for r in rows if (r["task"], r["policy"], r["guarded"]) == (task, policy, "0"))
    steps = int(row["steps"])
    title = f"{TASKS[task].title}, {policy} policy"

    def share(of: Row, what: str) -> float:
        return 100.0 * int(of[what]) / int(of["steps"])

    note = (
        f"{title}: {steps:,} steps in {row['episodes']} episodes, {share(row, 'verified'):.2f} % verified, corrected "
        f"{share(row, 'intervened'):.1f} %, violating {share(row, 'violated'):.3f} %, worst value on verified steps "
        f"{float(row['worst_verified']):.2g} (of all steps, by constraint: {row['worst_each']}), {row['ms_per_action']} ms per "
        f"action; without the safeguard "
        f"{share(free, 'violated'):.1f} % violating"
    )

    def claim(name: str, text: str, target: str, measured: float, unit: str) -> Claim:
        return Claim(f"barrier-{task}-{policy}-{name}", f"{title}: {text}", target, measured, unit, "none", [SEED],
                     COMMAND, QUICK, 30, RAW, note)  # fmt: skip

    return [
        claim("verified", f"violations above {TOLERANCE} on verified steps", "<= 0", int(row["violated_verified"]), "steps"),
        claim("share", "share of steps that are verified (reported, no target)", ">= 0", share(row, "verified"), "%"),
        claim("all", "share of steps that violate (reported, no target)", ">= 0", share(row, "violated"), "%"),
        claim("free", "share of steps that violate without it", "> 0", share(free, "violated"), "%"),
    ]

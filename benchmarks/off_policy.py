"""ReLOAD on SAC beside the same agent without optimism, on two small tasks: limits at the last iterate, and swings."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from saferl.evaluation.training_curves import draw_runs
from saferl.experiment.evaluate import evaluate, training_curves
from saferl.experiment.run_folder import RunFolder

from benchmarks.campaign import Job, campaign
from benchmarks.evidence import Claim, Row, folder, read_rows
from benchmarks.optimism import PLAYERS, TITLES, keep_curves, kept_curves

TOPIC = "off_policy"
RAW, CURVES, PLOT = "rows.csv", "curves.csv", "curves.png"
COMMAND = "python scripts/benchmark.py off_policy"
QUICK = f"{COMMAND} --quick"
SEEDS, EPISODES = (0, 1, 2), 100
TASKS = {
    "pendulum": ("Pendulum, action rate", "pendulum_smooth", 160_000),
    "cartpole": ("cart-pole, position", "cartpole_position", 240_000),
}
"""Title, configuration and steps."""
CONSTRAINTS = {"pendulum": "jump", "cartpole": "cart_position"}


def row(path: Path) -> dict[str, Any]:
    """Return the last iterate's return and cost with its limit, and how much reward and cost swung in the last half."""
    report = evaluate(path, episodes=EPISODES, which="last")
    (spec,) = (spec for spec in report["constraints"] if spec["cost_limit"] is not None)
    found: dict[str, Any] = {"limit": spec["cost_limit"]}
    for policy in ("deterministic", "stochastic"):
        found[f"return_{policy}"] = round(report[policy]["return_mean"], 4)
        found[f"cost_{policy}"] = round(report[policy]["constraints"][spec["name"]]["cost_mean"], 5)
    curves = training_curves(RunFolder.open(path)).oscillations()
    swings = {"swing": curves[spec["name"]]["oscillation"], "reward_swing": curves["reward"]["oscillation"]}
    return found | {key: round(value, 6) for key, value in swings.items()}


def row_and_curves(path: Path) -> dict[str, Any]:
    """Return the same, and keep the run's curves."""
    task = path.name.partition("-")[0]
    keep_curves(TOPIC, CURVES, path, CONSTRAINTS[task], "cost")
    return row(path)


def run(quick: bool) -> None:
    """Train and judge what has no row yet, and draw the cart-pole's runs. Quick: the cart-pole, one seed, 5,000 steps."""
    runs = folder(TOPIC) / "runs"
    if quick:
        _, config, _ = TASKS["cartpole"]
        jobs = [_job("quick_cartpole", config, 0, 5_000, players) for players in PLAYERS]
        campaign(TOPIC, f"quick_{RAW}", runs, jobs, row)
        return
    tasks = [(task, config, steps) for task, (_, config, steps) in TASKS.items()]
    jobs = [_job(task, config, s, steps, players) for s in SEEDS for task, config, steps in tasks for players in PLAYERS]
    campaign(TOPIC, RAW, runs, jobs, row_and_curves)
    limit = next(float(r["limit"]) for r in read_rows(TOPIC, RAW) if r["arm"].startswith("cartpole"))
    pairs = [(seed, player) for seed in SEEDS for player in PLAYERS]
    curves = [
        kept_curves(TOPIC, CURVES, f"cartpole-{p}-s{s}", f"{TITLES[p]}, seed {s}", CONSTRAINTS["cartpole"], "cost", limit)
        for s, p in pairs
    ]
    draw_runs(curves, folder(TOPIC) / PLOT)


def _job(task: str, config: str, seed: int, steps: int, players: str) -> Job:
    return Job(f"{task}-{players}", f"reload_sac/{config}", seed, steps, ("--method.optimistic", PLAYERS[players]))


def claims() -> list[Claim]:
    """Return the claims that the raw rows support, of means over seeds."""
    rows, found = read_rows(TOPIC, RAW), []
    for task, (title, _, steps) in TASKS.items():
        arms = {p: [r for r in rows if r["arm"] == f"{task}-{p}"] for p in PLAYERS}
        if all(sorted(int(r["seed"]) for r in mine) == list(SEEDS) for mine in arms.values()):
            found += _of(task, f"{title}, SAC, {steps:,} steps", arms)
    return found


def _of(task: str, title: str, arms: dict[str, list[Row]]) -> list[Claim]:
    def mean(players: str, key: str) -> float:
        return statistics.mean(float(r[key]) for r in arms[players])

    def claim(name: str, text: str, target: str, measured: float, policy: str, key: str) -> Claim:
        each = "; ".join(f"{p} {', '.join(f'{float(r[key]):.4g}' for r in mine)}" for p, mine in arms.items())
        return Claim(f"off-policy-{task}-{name}", f"{title}: {text}", target, measured, "1", policy, list(SEEDS), COMMAND,
                     QUICK, 40, RAW, f"per seed: {each}")  # fmt: skip

    limit = float(arms["reload"][0]["limit"])
    swings = {p: {int(r["seed"]): float(r["swing"]) for r in mine} for p, mine in arms.items()}
    calmer = sum(swings["reload"][seed] < swings["gda"][seed] for seed in SEEDS)
    return [
        claim("cost", "ReLOAD's cost at the last iterate", f"<= {limit:g}", mean("reload", "cost_stochastic"), "stochastic",
              "cost_stochastic"),
        claim("swing", "swing of the cost in the last half, ReLOAD's over descent-ascent's", "< 1",
              mean("reload", "swing") / max(mean("gda", "swing"), 1e-9), "stochastic", "swing"),
        claim("calmer", "seeds in which ReLOAD's swing is the smaller one", ">= 2", calmer, "stochastic", "swing"),
        claim("return", "return at the last iterate, ReLOAD's less descent-ascent's (reported, no target)", ">= -1000000",
              mean("reload", "return_stochastic") - mean("gda", "return_stochastic"), "stochastic", "return_stochastic"),
    ]  # fmt: skip

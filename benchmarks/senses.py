"""Equality and lower-bound limits under PID-Lagrangian on cart-pole: by how much the last policies miss their target.

Judged on the mean of the seeds, as costs are everywhere here, and on the worst of them.
"""

from __future__ import annotations

from typing import Any

from benchmarks.evidence import Claim, read_rows
from benchmarks.runs import missing, train_and_evaluate

TOPIC = "senses"
RAW = "cartpole.csv"
COMMAND = "python scripts/benchmark.py senses"
QUICK = "python scripts/benchmark.py senses --quick"
CONFIGS = {"pid_lag/cartpole_equality": "an equality", "pid_lag/cartpole_at_least": "a lower bound"}
SEEDS = (0, 1, 2)
EPISODES = 400
"""Of evaluation: the share of time that one episode spends beyond a limit varies by half of its mean."""


def run(quick: bool) -> None:
    """Train and evaluate what has no row yet. Quick: one seed of each, 100,000 steps."""
    options = ["--total-timesteps", "100000"] if quick else []

    def do(config: str, seed: int) -> dict[str, Any]:
        report, seconds = train_and_evaluate(config, seed, options, episodes=EPISODES)
        spec = report["constraints"][0]
        row: dict[str, Any] = {"config": config, "seed": seed, "sense": spec["sense"], "target": spec["cost_limit"]}
        for policy in ("stochastic", "deterministic"):
            row[f"cost_{policy}"] = report[policy]["constraints"][spec["name"]]["cost_mean"]
            row[f"return_{policy}"] = report[policy]["return_mean"]
        return {**row, "seconds": round(seconds, 1), "commit": report["commit"]}

    seeds = SEEDS[:1] if quick else SEEDS
    missing(TOPIC, f"quick_{RAW}" if quick else RAW, [(config, seed) for config in CONFIGS for seed in seeds], do)


def claims() -> list[Claim]:
    """Return the claims that the raw rows support: the policy of training, mean over seeds, relative to the target."""
    found = []
    for config, what in CONFIGS.items():
        rows = [row for row in read_rows(TOPIC, RAW) if row["config"] == config]
        ratios = [float(row["cost_stochastic"]) / float(row["target"]) for row in rows]
        if not ratios:
            continue

        def missed(ratio: float, sense: str = rows[0]["sense"]) -> float:
            return 100 * (abs(ratio - 1.0) if sense == "==" else max(0.0, 1.0 - ratio))  # a lower bound: from below only

        each = ", ".join(f"{ratio:.3f}" for ratio in ratios)
        note = f"cost over target per seed: {each}"
        name, seeds = f"senses-{config.rpartition('_')[2]}", [int(row["seed"]) for row in rows]
        for suffix, title, value in (
            ("", "the mean cost of the seeds misses its target by", missed(sum(ratios) / len(ratios))),
            ("-each", "the worst seed's cost misses its target by", max(map(missed, ratios))),
        ):
            found.append(
                Claim(f"{name}{suffix}", f"cart-pole under {what}: {title}", "<= 5", value, "%", "stochastic", seeds, COMMAND,
                      QUICK, 10, RAW, note)
            )  # fmt: skip
    return found

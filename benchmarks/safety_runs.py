"""How finished runs under safeguards are judged: by their last iterate, with and without it, and by what training cost."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from saferl.evaluation.rollout import play
from saferl.experiment.build import load_model, make_copies, predictor
from saferl.experiment.config import TrainConfig
from saferl.experiment.evaluate import changed
from saferl.experiment.run_folder import RunFolder

from benchmarks.campaign import minutes
from benchmarks.evidence import Row

EPISODES, EVAL_SEED = 100, 12_345_000
WARMUP = 0.2
"""Part of the training that is left out of what trainings cost: SafeRL-Kit's warm-up. Corrections begin after half of it."""
EVALUATIONS = 20
"""At the end of a training that count, where there are any."""
OBSERVATION_NOISE, ACTION_NOISE = 0.01, 0.1
SAFEGUARD = ("intervention_rate", "infeasible_rate", "verified_rate", "solve_ms")


class Judge:
    """Judges runs of a task.

    Args:
        constraint: The constraint whose violation counts, or None for any of them.
        disturbed: Name of a disturbance to the changes of the configuration that bring it; an empty one means noise on
            observations and actions.
    """

    def __init__(self, constraint: str | None = None, disturbed: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.constraint, self.disturbed = constraint, dict(disturbed or {})

    def __call__(self, path: Path) -> dict[str, Any]:
        """Return a finished run's row."""
        run = RunFolder.open(path)
        config = run.config()
        model: Any = load_model(config, run.checkpoint("last"))
        found = {"minutes": round(minutes(run.path), 2), **self.training(run.progress, config.total_timesteps)}
        if config.evaluation.times:
            found["rate_evaluated"] = self.evaluated(run.path / "evaluations.csv")
        found |= {f"{key}_on": value for key, value in self.played(config, model).items()}
        for name, changes in self.disturbed.items():
            found[f"rate_{name}"] = self.played(changed(config, dict(changes)), model, noisy=not changes)["rate"]
        if hasattr(model, "corrects"):
            model.corrects = False
        bare = config if config.safeguard is None else changed(config, {"safeguard": None})
        return found | {f"{key}_off": value for key, value in self.played(bare, model).items()}

    def played(self, config: TrainConfig, model: Any, noisy: bool = False) -> dict[str, float]:
        """Return return, forward speed where the task has such a term, and share of violating steps, deterministic."""
        predict, rng = predictor(model, deterministic=True), np.random.default_rng(0)

        def disturbed(observation: Any) -> Any:
            actions = predict(observation + rng.normal(0.0, OBSERVATION_NOISE, observation.shape).astype(observation.dtype))
            return actions + rng.normal(0.0, ACTION_NOISE, actions.shape).astype(actions.dtype)

        copies = make_copies(config, EPISODES)
        names = list(copies.constraints.names)
        episodes = play(copies, disturbed if noisy else predict, EVAL_SEED)
        copies.close()
        found = {"return": round(float(episodes.returns.mean()), 4)}
        if "forward" in episodes.terms:
            found["speed"] = round(float(episodes.terms["forward"].mean()), 4)
        violating = episodes.any_violating_steps
        if self.constraint is not None:
            violating = episodes.violating_steps[:, names.index(self.constraint)]
        return found | {"rate": round(float(violating.sum() / episodes.lengths.sum()), 6)}

    def evaluated(self, evaluations: Path) -> float:
        """Return the mean share of violating steps of the last `EVALUATIONS` evaluations during training."""
        key = "violation_rate" if self.constraint is None else f"constraint/{self.constraint}/violation_rate"
        with evaluations.open(newline="") as file:
            rates = [float(row[key]) for row in csv.DictReader(file)]
        return round(statistics.mean(rates[-EVALUATIONS:]), 6)

    def training(self, progress: Path, total: int) -> dict[str, float]:
        """Return violating steps of the training, all and after the warm-up, and means of its last tenth."""
        key = "rollout/violation_rate" if self.constraint is None else f"constraint/{self.constraint}/violation_rate"
        with progress.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get(key)]
        steps = np.array([float(row["time/total_timesteps"]) for row in rows])
        rates = np.array([float(row[key]) for row in rows])
        violating = rates * np.diff(steps, prepend=0.0)

        def late(key: str) -> float:
            values = [float(row[key]) for row, at in zip(rows, steps, strict=True) if row.get(key) and at > 0.9 * total]
            return round(statistics.mean(values), 5) if values else 0.0

        return {
            "violating": round(float(violating.sum()), 1),
            "violating_after_warmup": round(float(violating[steps > WARMUP * total].sum()), 1),
            "rate_late": round(float(rates[steps > 0.9 * total].mean()), 6),
            "return_late": late("rollout/ep_rew_mean"),
            **{key: late(f"safeguard/{key}") for key in SAFEGUARD},
        }


def mean(rows: list[Row], key: str) -> float:
    """Return a column's mean."""
    return statistics.mean(float(row[key]) for row in rows)


def ratio(rows: list[Row], others: list[Row], key: str) -> float:
    """Return a column's mean over that of other rows."""
    return mean(rows, key) / max(mean(others, key), 1e-9)


def minutes_in_all(arms: Mapping[str, list[Row]]) -> float:
    """Return how many minutes trainings took, two at a time, to the nearest ten."""
    return 10.0 * round(sum(float(row["minutes"]) for rows in arms.values() for row in rows) / 20.0)


def beyond(rows: list[Row], others: list[Row], key: str, share: float) -> float:
    """Return a column's mean less a share of that of other rows: not below 0 where that share is reached.

    A ratio of returns would say nothing where one of them is not above zero.
    """
    return mean(rows, key) - share * mean(others, key)


def note(title: str, rows: list[Row]) -> str:
    """Return what every seed did."""

    def each(key: str, scale: float = 1.0, digits: int = 2) -> str:
        return ", ".join(f"{scale * float(row[key]):.{digits}f}" for row in rows)

    speed = f"; speed {each('speed_on')} m/s" if rows[0].get("speed_on") else ""
    return (
        f"{title}, per seed: violating {each('rate_on', 100)} %, without its safeguard {each('rate_off', 100)} %; return "
        f"{each('return_on', 1, 1)}{speed}; corrected {each('intervention_rate', 100, 1)} % and found "
        f"nothing feasible for {each('infeasible_rate', 100, 1)} % of the last tenth's steps; violating steps of training "
        f"{each('violating', 1, 0)}, after its first fifth {each('violating_after_warmup', 1, 0)}"
    )


def comparison(titles: Mapping[str, str], arms: Mapping[str, list[Row]], columns: Mapping[str, tuple[str, float]]) -> list[str]:
    """Return the lines of a Markdown table of arms: means over seeds, and least and greatest in brackets.

    Args:
        titles: Of the arms, in the table's order; those without rows are left out.
        arms: Rows by arm.
        columns: Heading to a row's key and the factor by which it is shown; arms that lack it, or a safeguard, show nothing.
    """

    def cell(rows: list[Row], key: str, scale: float) -> str:
        none = key in SAFEGUARD and all(float(row["solve_ms"]) == 0.0 for row in rows)
        values = [] if none else [scale * float(row[key]) for row in rows if row.get(key)]
        if not values:
            return ""
        return f"{_short(statistics.mean(values))} ({_short(min(values))} to {_short(max(values))})"

    lines = [f"| | {' | '.join(columns)} |", "|" + "---|" * (1 + len(columns))]
    for arm, title in titles.items():
        if rows := arms.get(arm):
            lines.append(f"| {title} | {' | '.join(cell(rows, *column) for column in columns.values())} |")
    return lines


def _short(value: float) -> str:
    """Return a number with three digits, or all of those before the point, never as a power of ten."""
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.3g}" if abs(value) >= 1e-4 else "0"


def whole(rows: list[Row], arms: Mapping[str, Any], seeds: tuple[int, ...]) -> dict[str, list[Row]]:
    """Return rows by arm, of arms all of whose seeds are there."""
    found = {arm: sorted((row for row in rows if row["arm"] == arm), key=lambda row: int(row["seed"])) for arm in arms}
    return {arm: mine for arm, mine in found.items() if [int(row["seed"]) for row in mine] == list(seeds)}

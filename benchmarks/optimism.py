"""ReLOAD beside plain descent-ascent, seed by seed: what topics that compare the two have in common."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from saferl.evaluation.training_curves import Curves
from saferl.experiment.evaluate import training_curves
from saferl.experiment.run_folder import RunFolder

from benchmarks.evidence import Claim, Row, append_row, read_rows

PLAYERS = {"gda": "none", "reload": "both"}
"""Arm, and its `method.optimistic`."""
TITLES = {"gda": "descent-ascent", "reload": "ReLOAD"}


def metrics(path: Path, name: str) -> dict[str, Any]:
    """Return a run's metrics over its last half, of the constraint of that name and of the reward."""
    found = training_curves(RunFolder.open(path)).oscillations()
    own = {key: round(value, 6) for key, value in found[name].items()}
    return own | {"reward": round(found["reward"]["mean"], 6), "reward_swing": round(found["reward"]["oscillation"], 6)}


def keep_curves(topic: str, raw: str, path: Path, name: str, column: str) -> None:
    """Append a run's curves to a topic's file, a row per iteration, unless they are there from a killed campaign."""
    if any(point["run"] == path.name for point in read_rows(topic, raw)):
        return
    curves = training_curves(RunFolder.open(path))
    for step, reward, cost, multiplier in zip(
        curves.steps, curves.reward, curves.costs[name], curves.multipliers[name], strict=True
    ):
        point = {"run": path.name, "steps": int(step), "reward": round(float(reward), 5)}
        append_row(topic, raw, point | {column: round(float(cost), 5), "multiplier": round(float(multiplier), 5)})


def kept_curves(topic: str, raw: str, run: str, title: str, name: str, column: str, limit: float) -> Curves:
    """Return a run's curves from a topic's file."""
    rows = [point for point in read_rows(topic, raw) if point["run"] == run]
    steps, reward, cost, multiplier = (
        np.array([float(point[key]) for point in rows]) for key in ("steps", "reward", column, "multiplier")
    )
    return Curves(title, steps, reward, {name: cost}, {name: (limit, "<=")}, {name: multiplier})


@dataclass(frozen=True)
class Comparison:
    """Both arms' rows of the same seeds, and how claims about them are written.

    Attributes:
        name: Begins the claims' names.
        what: Begins their texts.
        arms: Rows by player, ordered by seed.
        seeds: Of either arm.
        command: That reproduces them.
        quick: That shows them in minutes.
        minutes: What `command` takes.
        raw: The rows' file.
    """

    name: str
    what: str
    arms: Mapping[str, Sequence[Row]]
    seeds: Sequence[int]
    command: str
    quick: str
    minutes: float
    raw: str

    @classmethod
    def of(cls, rows: Sequence[Row], arm: str, **about: Any) -> Comparison | None:
        """Return the comparison of the arms ``<arm>-gda`` and ``<arm>-reload``, or None where a seed is missing."""
        arms = {p: sorted((r for r in rows if r["arm"] == f"{arm}-{p}"), key=lambda r: int(r["seed"])) for p in PLAYERS}
        complete = all([int(r["seed"]) for r in mine] == list(about["seeds"]) for mine in arms.values())
        return cls(arms=arms, **about) if complete else None

    def mean(self, player: str, key: str) -> float:
        """Return a column's mean over seeds."""
        return statistics.mean(float(row[key]) for row in self.arms[player])

    def ratio(self, key: str, text: str, target: str) -> Claim:
        """Return the claim about a column: ReLOAD's mean over descent-ascent's."""
        measured = self.mean("reload", key) / max(self.mean("gda", key), 1e-9)
        return self._claim(key, f"{text}, ReLOAD's over descent-ascent's", target, measured, "1", self.per_seed(key))

    def difference(self, key: str, text: str, target: str) -> Claim:
        """Return the claim about a column: ReLOAD's mean less descent-ascent's."""
        measured = self.mean("reload", key) - self.mean("gda", key)
        return self._claim(key, f"{text}, ReLOAD's less descent-ascent's", target, measured, "1", self.per_seed(key))

    def closer(self, target: str) -> Claim:
        """Return the claim about the number of seeds in which ReLOAD is closer to the limit."""
        pairs = zip(self.arms["reload"], self.arms["gda"], strict=True)
        measured = sum(float(r["distance"]) < float(g["distance"]) for r, g in pairs)
        return self._claim("seeds", "seeds in which ReLOAD is closer to the bound", target, measured, "seeds", "")

    def per_seed(self, key: str) -> str:
        """Return a column of both arms in words."""
        parts = (f"{TITLES[p]} {', '.join(f'{float(r[key]):.4g}' for r in mine)}" for p, mine in self.arms.items())
        return f"per seed: {'; '.join(parts)}"

    def _claim(self, key: str, text: str, target: str, measured: float, unit: str, note: str) -> Claim:
        return Claim(f"{self.name}-{key}", f"{self.what}: {text}", target, measured, unit, "stochastic", list(self.seeds),
                     self.command, self.quick, self.minutes, self.raw, note)  # fmt: skip

"""One policy under many disturbances: pushes, friction, payload, weak motors and latency, one at a time."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saferl.evaluation.statistics import summarize
from saferl.experiment.build import load_model, make_copies, set_threads
from saferl.experiment.evaluate import changed, play_episodes
from saferl.experiment.run_folder import RunFolder
from saferl_envs.disturbances import kinds
from saferl_envs.errors import ConfigError, TaskError, choose

NONE = "none"


@dataclass(frozen=True)
class Case:
    """A disturbance and its strength; `NONE` for the undisturbed policy."""

    name: str
    strength: float
    unit: str


def cases_from(words: Sequence[str]) -> list[Case]:
    """Return the undisturbed case and those of words such as ``push`` (all its usual strengths) or ``push=0.5``.

    Args:
        words: None of them: every disturbance at its usual strengths.

    Raises:
        ConfigError: An unknown disturbance, or a strength that is no number.
    """
    known = kinds()
    cases = [Case(NONE, 0.0, "-")]
    for word in words or known:
        name, given, text = word.partition("=")
        if name not in known:
            raise ConfigError(choose("disturbance", name, known, "--disturb"))
        try:
            strengths = [float(part) for part in text.split(",")] if given else known[name].usual
        except ValueError as error:
            raise ConfigError(f"--disturb {word}: expected numbers such as {name}={known[name].usual[0]:g}") from error
        for strength in strengths:
            try:
                known[name](strength)
            except TaskError as error:
                raise ConfigError(f"--disturb {word}: {error}") from error
            cases.append(Case(name, strength, known[name].unit))
    return cases


def evaluate_disturbed(
    run_dir: str | Path,
    cases: Sequence[Case],
    episodes: int = 100,
    seed: int = 0,
    which: str = "best",
    say: Callable[[Case], None] | None = None,
    leave_out: bool = False,
) -> tuple[list[dict[str, Any]], list[str], Path]:
    """Play the deterministic policy under each case; write ``disturbances.csv`` into the run folder.

    Args:
        run_dir: The run folder.
        cases: What to play; see `cases_from`.
        episodes: Episodes per case.
        seed: Seed of the evaluation.
        which: ``best`` or ``last`` checkpoint.
        say: Called before each case.
        leave_out: Leave out what the robot cannot suffer (a push without a floating base), in place of refusing it.

    Returns:
        Rows (return, share of episodes that reached the time limit, share of violating steps in all and per constraint), why
        cases were left out, and the file.

    Raises:
        SaferlError: The run cannot be read, or a disturbance does not fit it.
    """
    folder = RunFolder.open(run_dir)
    config, checkpoint = folder.config(), folder.checkpoint(which)
    set_threads(config)
    model = load_model(config, checkpoint)
    rows: list[dict[str, Any]] = []
    refused: list[str] = []
    common = {"episodes": episodes, "seed": seed, "checkpoint": checkpoint.name, "timesteps": model.num_timesteps}
    for case in cases:
        if say is not None:
            say(case)
        changes = {} if case.name == NONE else {"env": {"disturbances": {case.name: case.strength}}}
        here = changed(config, changes)
        try:
            copies = make_copies(here, 1)
        except TaskError as error:
            if not leave_out:
                raise
            refused.append(f"{case.name} {case.strength:g}: {error}")
            continue
        played = play_episodes(here, model, "deterministic", episodes, seed)
        found = summarize(played, copies.constraints, config.evaluation.violation_tolerance)
        row: dict[str, Any] = {"disturbance": case.name, "strength": case.strength, "unit": case.unit}
        row |= {"return": found["return_mean"], "survived": float((played.lengths >= copies.max_episode_steps).mean())}
        row |= {"any_violation": found["any_violation_rate"]}
        row |= {name: found["constraints"][name]["violation_rate"] for name in copies.constraints.names}
        rows.append(row | common)
    file = folder.path / "disturbances.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    folder.seal(file)
    return rows, refused, file

"""Calibration: play a random, an unconstrained and a careful policy, and say which cost limits make sense."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from saferl.algorithms.ppo import PPOSettings
from saferl.evaluation.calibration import FREE, Sample, distribution
from saferl.evaluation.calibration_plot import draw
from saferl.evaluation.calibration_report import Calibration, PolicySummary, calibrate_constraint, to_json, to_markdown
from saferl.evaluation.calibration_verdict import cost_bounds
from saferl.evaluation.calibration_words import length_words
from saferl.experiment.build import discount, make_copies, make_model, make_vec_env, set_threads
from saferl.experiment.calibrate_policies import Played, play_all
from saferl.experiment.config import TrainConfig, build_config, builtin_configs, merge, parse_overrides, read_config
from saferl.experiment.run_folder import provenance
from saferl_envs.constraints import Constraint
from saferl_envs.errors import ConfigError, choose
from saferl_envs.tasks import task_ids

STEPS = 1_000_000
"""Longest training of the unconstrained policy that nobody asked for."""


def calibration_config(name: str, overrides: Sequence[str], steps: int | None, seed: int | None) -> TrainConfig:
    """Return the configuration of the unconstrained policy.

    Args:
        name: An environment id, which gets the built-in ``ppo`` configuration of that environment or else the default one,
            or a configuration by path or built-in name, of whose method only what it shares with PPO is kept.
        overrides: Further words of the command line: any key of the configuration.
        steps: Training of the unconstrained policy; None for the configuration's, but at most `STEPS`.
        seed: In place of the configuration's.

    Raises:
        ConfigError: There is no such thing, or a key or value is invalid.
    """
    changes = parse_overrides(overrides)
    if "total_timesteps" in changes:
        raise ConfigError("option --total-timesteps: say --steps, which is how long calibrate trains the unconstrained policy")
    data, source = _raw(name)
    if "method" not in data:
        data = {**data, "method": {"name": "ppo"}}
    config = build_config(merge(data, changes), source)
    update = {
        "method": _as_ppo(config.method),
        "total_timesteps": min(config.total_timesteps, STEPS) if steps is None else steps,
        "seed": config.seed if seed is None else seed,
    }
    return config.model_copy(update=update)


def _raw(name: str) -> tuple[Mapping[str, Any], str]:
    """Return the raw content of the configuration a name stands for, and where it came from."""
    if name in builtin_configs() or Path(name).is_file():
        return read_config(name)
    if name not in task_ids() and not re.search(r":|-v\d+$", name):
        what = "environment or configuration (nor is it a file)"
        raise ConfigError(choose(what, name, [*task_ids(), *builtin_configs()]))
    for builtin in sorted(builtin_configs()):
        if builtin.startswith("ppo/"):
            data, source = read_config(builtin)
            if data.get("env", {}).get("id") == name:
                return data, source
    return {"env": {"id": name}, "method": {"name": "ppo"}}, f"environment {name!r}"


def _as_ppo(method: Any) -> PPOSettings:
    """Return PPO with the settings that a method shares with it."""
    shared = {key: getattr(method, key) for key in PPOSettings.model_fields if key != "name" and hasattr(method, key)}
    return PPOSettings(**shared)


def calibrate(
    config: TrainConfig,
    out: Path,
    episodes: int = 50,
    asked: Sequence[tuple[str, float]] = (),
    console: Console | None = None,
) -> Calibration:
    """Find the range of cost limits that bind, and write it into a folder.

    Everything that can be wrong with the arguments is found before the folder is made.

    Args:
        config: The environment, and how an unconstrained policy is trained on it.
        out: Folder for ``calibration.json``, ``calibration.md`` and ``calibration.png``; it must not exist or be empty.
        episodes: Episodes per policy; all policies play the same ones.
        asked: Cost limits to judge beside the present ones: (constraint, limit).
        console: Where progress is shown; None shows nothing.

    Raises:
        ConfigError: The folder is in use, a constraint does not exist, or training broke down.
        SaferlError: The environment or its constraints are invalid.
    """
    set_threads(config)
    copies = make_copies(config, 1)
    constraints = copies.constraints
    for name, _ in asked:
        if name not in constraints.names:
            raise ConfigError(choose("constraint", name, constraints.names, "--check"))
    model = make_model(config, make_vec_env(config))
    _claim(out)
    played = play_all(config, model, constraints, episodes, console)
    samples = [_samples(played, c, constraint) for c, constraint in enumerate(constraints)]
    found = tuple(
        calibrate_constraint(
            constraint,
            sample,
            [("asked", limit) for name, limit in asked if name == constraint.name],
            cost_bounds(constraint, copies.max_episode_steps, discount(config)),
        )
        for constraint, sample in zip(constraints, samples, strict=True)
    )
    summaries = {
        name: PolicySummary(p.trained, distribution(p.episodes.returns), distribution(p.episodes.lengths))
        for name, p in played.items()
    }
    settings = {"config": config.model_dump(mode="json"), **provenance()}
    notes = tuple(length_words({name: float(p.episodes.lengths.mean()) for name, p in played.items()}))
    calibration = Calibration(config.env.id, episodes, config.seed, summaries, found, notes, settings)
    (out / "calibration.json").write_text(json.dumps(to_json(calibration), indent=2) + "\n", encoding="utf-8")
    (out / "calibration.md").write_text(to_markdown(calibration, "calibration.png"), encoding="utf-8")
    title = f"{config.env.id}: {episodes} episodes per policy, {played[FREE].trained:,} steps of training"
    draw(out / "calibration.png", title, list(zip(found, samples, strict=True)))
    return calibration


def _claim(out: Path) -> None:
    """Make the folder.

    Raises:
        ConfigError: It holds something, or cannot be made.
    """
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"{out} exists and is not empty; choose another --out or remove it")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write to {out}: {error.strerror or error}") from error


def _samples(played: Mapping[str, Played], c: int, constraint: Constraint) -> list[Sample]:
    """Return what each policy's episodes said of the constraint in column c."""
    sign = 1.0 if constraint.bounds_from_above else -1.0
    return [
        Sample(
            name,
            p.episodes.costs[:, c],
            constraint.limit + sign * p.episodes.worst[:, c],
            p.episodes.violating_steps[:, c] / p.episodes.lengths,
            p.curve[:, c],
        )
        for name, p in played.items()
    ]

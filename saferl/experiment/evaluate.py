"""Evaluation of a run: whole episodes with the deterministic and the stochastic policy, and the violation report."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch as th

from saferl.algorithms.constrained import ConstrainedAlgorithm
from saferl.evaluation.report import POLICIES, Report, to_markdown
from saferl.evaluation.rollout import Episodes, join, play
from saferl.evaluation.statistics import summarize
from saferl.evaluation.training_curves import Curves, read_curves
from saferl.experiment.build import discount, load_model, make_copies, predictor, set_threads
from saferl.experiment.callbacks import EVAL_SEED_OFFSET
from saferl.experiment.config import TrainConfig, build_config, merge, read_config
from saferl.experiment.run_folder import RunFolder, provenance
from saferl_envs.errors import CheckpointError, ConfigError, choose
from saferl_envs.tasks import task_ids

SECTIONS = ("env", "safeguard")
"""What an evaluation may change."""
CHANGEABLE = ("constraints", "limits", "cost_limits", "max_episode_steps", "kwargs", "disturbances", "id")
"""Keys of ``env`` that an evaluation may change."""
END = 0.2
"""Share of the training that is measured beside its last half."""
AT_ONCE, AT_ONCE_ELSEWHERE = 256, 16
"""Episodes played side by side: in a batch of a task's copies, and of another environment, each copy of which is an object."""


def evaluate(
    run_dir: str | Path,
    episodes: int = 100,
    seed: int = 0,
    which: str = "best",
    changes: Mapping[str, Any] | None = None,
) -> Report:
    """Evaluate a run and write ``report.json`` and ``report.md`` (``report_changed`` with changes) into its folder.

    Args:
        run_dir: The run folder.
        episodes: Episodes per policy.
        seed: Seed of the evaluation, apart from all training seeds.
        which: ``best`` (best feasible during training) or ``last`` checkpoint.
        changes: Laid over the run's configuration: ``{"env": {...}}``, other limits, keyword arguments, disturbances; and
            ``{"safeguard": {...}}``, what stands between the policy and the environment, or None for nothing.

    Returns:
        The report as JSON data. The top level repeats the deterministic policy's return and whether it is feasible;
        ``constraints`` there are the specifications.

    Raises:
        CheckpointError: The folder or checkpoint is missing, truncated, or does not fit.
        ConfigError: A change is none of the environment, or is invalid.
    """
    folder = RunFolder.open(run_dir)
    trained = folder.config()
    checkpoint = folder.checkpoint(which)
    set_threads(trained)
    model = load_model(trained, checkpoint)
    config = changed(trained, changes or {})
    file = folder.report.with_name(f"{'report_changed' if changes else 'report'}.json")
    example = make_copies(config, 1)
    if example.observation_space != model.observation_space or example.action_space != model.action_space:
        raise ConfigError(
            f"{config.env.id} as changed has observations {example.observation_space} and actions {example.action_space}; "
            f"the policy was trained on {model.observation_space} and {model.action_space}"
        )
    constraints = example.constraints
    report: Report = {
        "env_id": config.env.id,
        "method": config.method.name,
        "checkpoint": checkpoint.name,
        "timesteps": model.num_timesteps,
        "episodes": episodes,
        "seed": seed,
        "training_seed": config.seed,
        "tolerance": config.evaluation.violation_tolerance,
        "constraints": constraints.to_specs(),
    }
    if changes:
        report["changes"] = dict(changes)
    for policy in POLICIES:
        played = play_episodes(config, model, policy, episodes, seed)
        report[policy] = summarize(played, constraints, config.evaluation.violation_tolerance)
    report |= {key: report["deterministic"][key] for key in ("return_mean", "return_interval", "feasible")}
    report |= {key: value for key, value in provenance().items() if key in ("versions", "commit", "machine")}
    if not changes and folder.progress.is_file():
        try:
            logged = read_curves(folder.progress, _limited(report["constraints"], config))
        except CheckpointError as error:  # the log is an extra, the report is what was asked for
            warnings.warn(f"{error}; the report says nothing of the training", stacklevel=2)
            logged = None
        if logged is not None:
            report["training"] = logged.oscillations()
            report["training_end"] = logged.oscillations(END)
    file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    file.with_suffix(".md").write_text(to_markdown(report), encoding="utf-8")
    folder.seal(file, file.with_suffix(".md"))
    return report


def training_curves(folder: RunFolder) -> Curves:
    """Return what a run's log says of its training, iteration by iteration.

    Raises:
        CheckpointError: The folder has no log, or one that does not say it.
    """
    config = folder.config()
    specs = _limited(make_copies(config, 1).constraints.to_specs(), config)
    title = f"{folder.path.name} ({config.method.name}, seed {config.seed})"
    same = json.dumps(config.model_dump(mode="json", exclude={"seed"}), sort_keys=True)
    kind = f"{config.method.name} on {config.env.id}, configuration {hashlib.sha256(same.encode()).hexdigest()[:6]}"
    found = read_curves(folder.progress, specs, title, kind)
    if found is None:
        raise CheckpointError(f"{folder.progress} does not hold rewards and costs of at least two iterations")
    return found


def _limited(specs: list[dict[str, Any]], config: TrainConfig) -> list[dict[str, Any]]:
    """Return constraints with the cost limits that the method alone gives, where these are in the unit of their costs."""
    own, reshaped = (getattr(config.method, key, None) or {} for key in ("cost_limits", "cost_shapes"))
    return [
        {**spec, "cost_limit": own[spec["name"]]}
        if spec.get("cost_limit") is None and spec["name"] in own and spec["name"] not in reshaped
        else spec
        for spec in specs
    ]


def play_episodes(config: TrainConfig, model: ConstrainedAlgorithm, policy: str, episodes: int, seed: int) -> Episodes:
    """Return whole episodes of a ``deterministic`` or ``stochastic`` policy; episode i begins with a seed of its own."""
    th.manual_seed(seed)
    predict = predictor(model, policy == "deterministic")
    at_once = AT_ONCE if config.env.id in task_ids() else AT_ONCE_ELSEWHERE
    played = []
    for first in range(0, episodes, at_once):
        copies = make_copies(config, min(at_once, episodes - first))
        played.append(play(copies, predict, 2 * EVAL_SEED_OFFSET + seed + first, discount(config)))
    return join(played)


def read_changes(path: str) -> dict[str, Any]:
    """Return the changes that a YAML file makes: its sections ``env`` and ``safeguard``.

    Raises:
        ConfigError: There is no such file, it is not a YAML mapping, or it changes something else.
    """
    if not Path(path).is_file():
        raise ConfigError(f"--changes: no file {path}")
    content, source = read_config(path)
    for key in content:
        if key not in SECTIONS:
            raise ConfigError(choose("section", str(key), SECTIONS, f"{source}, changes for an evaluation"))
    return content


def changed(config: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig:
    """Return a configuration whose environment or safeguard is changed.

    A safeguard that is named is a new one, with defaults where the changes say nothing; without its name, options of the
    run's own change.

    Raises:
        ConfigError: A change is of something else, or is invalid.
    """
    if not changes:
        return config
    for key in changes:
        if key not in SECTIONS:
            raise ConfigError(
                f"--{key.replace('_', '-')}: an evaluation can only change the environment and the safeguard, e.g. "
                "--env.limits.speed 2, --safeguard.name barrier, --safeguard null"
            )
    env = changes.get("env", {})
    for key in env if isinstance(env, Mapping) else ("env",):
        if key not in CHANGEABLE:
            raise ConfigError(choose("key", key, CHANGEABLE, "the environment of an evaluation, --env"))
    content = config.model_dump()
    guard = changes.get("safeguard")
    if isinstance(guard, Mapping) and "name" in guard:
        content["safeguard"] = None
    return build_config(merge(content, changes), "command line")

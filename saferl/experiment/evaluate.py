"""Evaluation of a run: whole episodes with the deterministic and the stochastic policy, and the violation report."""

from __future__ import annotations

import json
from pathlib import Path

import torch as th

from saferl.evaluation.report import POLICIES, Report, to_markdown
from saferl.evaluation.rollout import join, play
from saferl.evaluation.statistics import summarize
from saferl.experiment.build import discount, load_model, make_copies, predictor, set_threads
from saferl.experiment.callbacks import EVAL_SEED_OFFSET
from saferl.experiment.run_folder import RunFolder, provenance
from saferl_envs.tasks import task_ids

AT_ONCE, AT_ONCE_ELSEWHERE = 256, 16
"""Episodes played side by side: in a batch of a task's copies, and of another environment, each copy of which is an object."""


def evaluate(run_dir: str | Path, episodes: int = 100, seed: int = 0, which: str = "best") -> Report:
    """Evaluate a run and write ``report.json`` and ``report.md`` into its folder.

    Args:
        run_dir: The run folder.
        episodes: Episodes per policy.
        seed: Seed of the evaluation, apart from all training seeds.
        which: ``best`` (best feasible during training) or ``last`` checkpoint.

    Returns:
        The report as JSON data. The top level repeats the deterministic policy's return and whether it is feasible;
        ``constraints`` there are the specifications.

    Raises:
        CheckpointError: The folder or checkpoint is missing, truncated, or does not fit.
    """
    folder = RunFolder.open(run_dir)
    config = folder.config()
    checkpoint = folder.checkpoint(which)
    set_threads(config)
    model = load_model(config, checkpoint)
    constraints = make_copies(config, 1).constraints
    at_once = AT_ONCE if config.env.id in task_ids() else AT_ONCE_ELSEWHERE
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
    for policy in POLICIES:
        th.manual_seed(seed)
        predict = predictor(model, policy == "deterministic")
        played = []
        for first in range(0, episodes, at_once):
            copies = make_copies(config, min(at_once, episodes - first))
            played.append(play(copies, predict, 2 * EVAL_SEED_OFFSET + seed + first, discount(config)))
        report[policy] = summarize(join(played), constraints, config.evaluation.violation_tolerance)
    report |= {key: report["deterministic"][key] for key in ("return_mean", "return_interval", "feasible")}
    report |= {key: value for key, value in provenance().items() if key in ("versions", "commit", "machine")}
    folder.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    folder.report.with_suffix(".md").write_text(to_markdown(report), encoding="utf-8")
    folder.seal(folder.report, folder.report.with_suffix(".md"))
    return report

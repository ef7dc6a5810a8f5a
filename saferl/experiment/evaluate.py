"""Evaluation of a run: whole episodes with the deterministic and the stochastic policy, and the violation report."""

from __future__ import annotations

import json
from pathlib import Path

import torch as th

from saferl.evaluation.report import POLICIES, Report, to_markdown
from saferl.evaluation.rollout import play
from saferl.evaluation.statistics import feasible, summarize
from saferl.experiment.build import load_model, make_engine, predictor, set_threads
from saferl.experiment.callbacks import EVAL_SEED_OFFSET
from saferl.experiment.run_folder import RunFolder, provenance


def evaluate(run_dir: str | Path, episodes: int = 100, seed: int = 0, which: str = "best") -> Report:
    """Evaluate a run and write ``report.json`` and ``report.md`` into its folder.

    Args:
        run_dir: The run folder.
        episodes: Episodes per policy, played at once.
        seed: Seed of the evaluation, apart from all training seeds.
        which: ``best`` (best feasible during training) or ``last`` checkpoint.

    Returns:
        The report as JSON data. The top level repeats the deterministic policy's return and constraints.

    Raises:
        CheckpointError: The folder or checkpoint is missing, truncated, or does not fit.
    """
    folder = RunFolder.open(run_dir)
    config = folder.config()
    checkpoint = folder.checkpoint(which)
    set_threads(config)
    model = load_model(config, checkpoint)
    engine = make_engine(config, episodes)
    report: Report = {
        "env_id": config.env.id,
        "method": config.method.name,
        "checkpoint": checkpoint.name,
        "timesteps": model.num_timesteps,
        "episodes": episodes,
        "seed": seed,
        "training_seed": config.seed,
        "tolerance": config.evaluation.violation_tolerance,
        "constraints": engine.constraints.to_specs(),
    }
    for policy in POLICIES:
        th.manual_seed(seed)
        found = play(engine, predictor(model, policy == "deterministic"), 2 * EVAL_SEED_OFFSET + seed)
        summary = summarize(found, engine.constraints)
        summary["feasible"] = feasible(summary, engine.constraints, config.evaluation.violation_tolerance)
        report[policy] = summary
    report |= {key: report["deterministic"][key] for key in ("return_mean", "return_interval", "feasible")}
    report |= {key: value for key, value in provenance().items() if key in ("versions", "commit", "machine")}
    folder.report.write_text(json.dumps(report, indent=2) + "\n")
    folder.report.with_suffix(".md").write_text(to_markdown(report))
    return report

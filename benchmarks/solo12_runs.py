"""Where trainings on Solo-12 are kept, and how their policies are judged: on a grid of commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch as th
from saferl.evaluation.rollout import play
from saferl.experiment.build import load_model, make_copies, predictor, set_threads
from saferl.experiment.callbacks import EVAL_SEED_OFFSET
from saferl.experiment.evaluate import changed
from saferl.experiment.run_folder import RunFolder

from benchmarks.evidence import folder
from saferl_envs.engine import Engine

RUNS = folder("solo12") / "runs"
"""Not in the repository; the rows are."""
GRID = (7, 7, 5)
STEPS = 500
BEST_REWARD = 1.5
"""Of a step: perfect tracking of velocity and turning rate."""
LIMITED = ("torque", "joint_velocity", "joint_acceleration", "action_rate")
HARD = ("knee_contact", "base_contact", "foot_force", "front_hip_pitch", "upside_down")
STYLE = ("hip_roll", "base_orientation", "air_time", "stand_still", "two_feet")
POLICIES = ("deterministic", "stochastic")


def judged(path: Path, policy: str, seed: int = 0, **kwargs: Any) -> dict[str, float]:
    """Play one episode of ten seconds per command of the grid, with the training's noise and pushes.

    Args:
        path: The run.
        policy: ``deterministic`` or ``stochastic``.
        seed: Of the evaluation.
        **kwargs: Keyword arguments of the task.

    Returns:
        Tracking reward as a share of its maximum (mean, and mean of the worst tenth of commands), mean errors of velocity
        (m/s) and turning rate (rad/s) while the robot is up, share of falls, and shares of steps that violate: any
        constraint, hard ones (the sum of theirs), the sum over all, and each. One of the commands is to stand.
    """
    run = RunFolder.open(path)
    config = changed(run.config(), {"env": {"kwargs": {"command_grid": list(GRID), **kwargs}}})
    set_threads(config)
    model = load_model(run.config(), run.checkpoint("last"))
    copies = cast(Engine, make_copies(config, int(np.prod(GRID))))
    th.manual_seed(seed)
    act, errors, seen = predictor(model, policy == "deterministic"), np.zeros(2), 0
    steps = np.zeros(copies.num_envs, np.int64)

    def predict(observation: Any) -> Any:
        """Act, and note how far the robots that have just moved are from their commands."""
        nonlocal seen
        moved = copies.steps > steps
        steps[:] = copies.steps
        view = copies.signals.view
        command, turning = view["command"][moved], view["base_angular_velocity"][moved, 2]
        missed = np.linalg.norm(command[:, :2] - view["base_linear_velocity"][moved, :2], axis=1)
        errors[:] += missed.sum(), np.abs(command[:, 2] - turning).sum()
        seen += int(moved.sum())
        return act(observation)

    played = play(copies, predict, 2 * EVAL_SEED_OFFSET + seed)
    # an episode that ends early earns nothing more: its share is that of the whole ten seconds
    tracking = played.returns / (BEST_REWARD * STEPS)
    total = played.lengths.sum()
    rates = {name: float(played.violating_steps[:, c].sum() / total) for c, name in enumerate(copies.constraints.names)}
    return {
        "tracking": float(tracking.mean()),
        "tracking_worst_tenth": float(np.sort(tracking)[: len(tracking) // 10].mean()),
        "velocity_error": float(errors[0] / seen),
        "turning_error": float(errors[1] / seen),
        "fallen": float((played.lengths < STEPS).mean()),
        "any": float(played.any_violating_steps.sum() / total),
        "hard": sum(rates[name] for name in HARD),
        "all": sum(rates.values()),
        **rates,
    }


def both_policies(path: Path) -> dict[str, float]:
    """Return what `judged` finds, for both policies."""
    return {f"{key}_{policy}": round(value, 6) for policy in POLICIES for key, value in judged(path, policy).items()}

"""Training: from a configuration to a run folder, and on from where one was killed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from stable_baselines3.common.callbacks import CallbackList

from saferl.algorithms.constrained import ConstrainedAlgorithm
from saferl.experiment.build import make_model, make_vec_env, set_threads, torch_threads
from saferl.experiment.callbacks import Checkpoints, ConstrainedEvaluation, ProgressBar
from saferl.experiment.checkpoint import read_checkpoint, restore
from saferl.experiment.config import TrainConfig
from saferl.experiment.run_folder import RunFolder
from saferl.experiment.training_state import restore_training
from saferl.experiment.visualize import add_clip_to_tensorboard, render_rollout
from saferl.tracking.rows import trim_rows
from saferl.tracking.tensorboard import make_logger
from saferl_envs.errors import CheckpointError, ConfigError, Interrupted


def train(config: TrainConfig, run_dir: str | Path, console: Console | None = None) -> RunFolder:
    """Train a policy and return its run folder.

    Everything that can be wrong with the configuration is found before the folder is made.

    Args:
        config: What to train.
        run_dir: Folder to make; it must not exist or be empty.
        console: Where progress is shown; None shows nothing.

    Raises:
        ConfigError: The folder is in use, two settings do not go together, or training broke down.
        Interrupted: Control-C; the checkpoint has been written.
        SaferlError: The environment or its constraints are invalid.
    """
    # resolved now and kept: the weights' last bits depend on it, and a resumed run must have as many
    config = config.model_copy(update={"torch_threads": torch_threads(config)})
    set_threads(config)
    model = make_model(config, make_vec_env(config, Path(run_dir) / "diverged"))
    folder = RunFolder.create(run_dir, config)
    try:
        return _run(config, folder, model, None, console)
    finally:
        folder.unlock()


def resume(run_dir: str | Path, console: Console | None = None) -> RunFolder:
    """Go on with a training that was killed or interrupted, as if it had not been, and return its run folder.

    On the same machine the final weights equal those of an uninterrupted run, bit for bit. Where the run was killed before
    its first checkpoint, it begins again.

    Args:
        run_dir: The run folder.
        console: Where progress is shown; None shows nothing.

    Raises:
        CheckpointError: The folder or its checkpoint is missing, damaged, or does not fit.
        ConfigError: Another process trains in the folder, or training has finished.
        Interrupted: Control-C; the checkpoint has been written.
    """
    folder = RunFolder.open(run_dir)
    folder.lock()
    try:
        if folder.exported:
            raise ConfigError(f"{folder.path} was made by saferl export and holds no training state; it cannot be resumed")
        if folder.finished:
            raise ConfigError(f"training in {folder.path} has finished; there is nothing to resume")
        config = folder.config()
        set_threads(config)
        model = make_model(config, make_vec_env(config, folder.dumps))
        state = read_checkpoint(folder.last) if folder.last.is_file() else None
        if state is not None:
            restore(model, state, folder.last)
            if not isinstance(state.get("training"), dict):
                raise CheckpointError(f"checkpoint {folder.last} holds a policy but no training state: it cannot be resumed")
        return _run(config, folder, model, state and state["training"], console)
    finally:
        folder.unlock()


def _run(
    config: TrainConfig, folder: RunFolder, model: ConstrainedAlgorithm, state: dict[str, Any] | None, console: Console | None
) -> RunFolder:
    """Train to the end, from the beginning or from a checkpoint's training state."""
    began_at = 0 if state is None else model.num_timesteps
    evaluation = ConstrainedEvaluation(config, folder)
    checkpoints = Checkpoints(folder.last, config.checkpoint_seconds, evaluation)
    logged: dict[str, float] = {}
    if state is not None:
        logged = restore_training(model, state)
        evaluation.load_state(state.get("evaluation"))
        trim_rows(folder.path / "evaluations.csv", "timesteps", began_at)
    else:
        # a start that was killed before its first checkpoint leaves no trace
        for trace in (folder.path / "evaluations.csv", folder.best, *folder.path.glob("events.out.tfevents.*")):
            trace.unlink(missing_ok=True)
    model.set_logger(make_logger(folder.path, resumed_at=None if state is None else began_at))
    for key, value in logged.items():
        model.logger.record(key, value)
    bar = ProgressBar(config.total_timesteps, console) if console is not None else None
    # an evaluation that is due comes before the checkpoint, which then knows of it: nothing is evaluated or logged twice
    callbacks = CallbackList([evaluation, checkpoints, *([bar] if bar else [])])
    began = time.monotonic()
    try:
        with checkpoints.stop_between_rollouts():
            model.learn(
                config.total_timesteps - began_at, callback=callbacks, log_interval=1, reset_num_timesteps=state is None
            )
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted after {model.num_timesteps:,} steps; go on with: saferl resume {folder.path}") from None
    except ValueError as error:
        if "invalid values" not in str(error):
            raise
        raise ConfigError(
            f"training broke down after {model.num_timesteps:,} steps: the network's numbers are not finite; "
            f"try a lower method.learning_rate (the last checkpoint is in {folder.path})"
        ) from error
    finally:
        if bar is not None:
            bar.stop()
    seconds = time.monotonic() - began
    if console is not None:
        steps = model.num_timesteps - began_at
        console.print(f"trained {steps:,} steps in {seconds:.0f} s ({steps / max(seconds, 1e-9):,.0f} steps/s)")
    if config.video.seconds > 0:
        rollout = render_rollout(config, folder.checkpoint("best"), config.video, seed=config.seed)
        add_clip_to_tensorboard(model.logger, folder.path, rollout, model.num_timesteps)
    model.logger.close()
    folder.seal()
    return folder

"""Training: from a configuration to a run folder."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from stable_baselines3.common.callbacks import CallbackList

from saferl.experiment.build import make_model, make_vec_env, set_threads
from saferl.experiment.callbacks import Checkpoints, ConstrainedEvaluation, ProgressBar
from saferl.experiment.config import TrainConfig
from saferl.experiment.run_folder import RunFolder
from saferl.experiment.visualize import add_clip_to_tensorboard, render_rollout
from saferl.tracking.tensorboard import make_logger


def train(config: TrainConfig, run_dir: str | Path, console: Console | None = None) -> RunFolder:
    """Train a policy and return its run folder.

    Everything that can be wrong with the configuration is found before the folder is made.

    Args:
        config: What to train.
        run_dir: Folder to make; it must not exist or be empty.
        console: Where progress is shown; None shows nothing.

    Raises:
        ConfigError: The folder is in use, or two settings do not go together.
        SaferlError: The environment or its constraints are invalid.
    """
    set_threads(config)
    model = make_model(config, make_vec_env(config, Path(run_dir) / "diverged"))
    folder = RunFolder.create(run_dir, config)
    model.set_logger(make_logger(folder.path))
    callbacks = CallbackList([Checkpoints(folder.last, config.checkpoint_seconds), ConstrainedEvaluation(config, folder)])
    if console is not None:
        callbacks.callbacks.insert(0, ProgressBar(config.total_timesteps, console))
    began = time.monotonic()
    model.learn(config.total_timesteps, callback=callbacks, log_interval=1)
    seconds = time.monotonic() - began
    if console is not None:
        rate = model.num_timesteps / seconds
        console.print(f"trained {model.num_timesteps:,} steps in {seconds:.0f} s ({rate:,.0f} steps/s)")
    if config.video.seconds > 0:
        rollout = render_rollout(config, folder.checkpoint("best"), config.video, seed=config.seed)
        add_clip_to_tensorboard(model.logger, folder.path, rollout, model.num_timesteps)
    model.logger.close()
    return folder

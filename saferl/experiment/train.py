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
from saferl_envs.errors import ConfigError, Interrupted


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
    set_threads(config)
    model = make_model(config, make_vec_env(config, Path(run_dir) / "diverged"))
    folder = RunFolder.create(run_dir, config)
    model.set_logger(make_logger(folder.path))
    checkpoints = Checkpoints(folder.last, config.checkpoint_seconds)
    bar = ProgressBar(config.total_timesteps, console) if console is not None else None
    callbacks = [checkpoints, ConstrainedEvaluation(config, folder), *([bar] if bar else [])]
    began = time.monotonic()
    try:
        model.learn(config.total_timesteps, callback=CallbackList(callbacks), log_interval=1)
    except KeyboardInterrupt:
        checkpoints.write()
        raise Interrupted(f"interrupted after {model.num_timesteps:,} steps; the policy so far is in {folder.last}") from None
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
        rate = model.num_timesteps / seconds
        console.print(f"trained {model.num_timesteps:,} steps in {seconds:.0f} s ({rate:,.0f} steps/s)")
    if config.video.seconds > 0:
        rollout = render_rollout(config, folder.checkpoint("best"), config.video, seed=config.seed)
        add_clip_to_tensorboard(model.logger, folder.path, rollout, model.num_timesteps)
    model.logger.close()
    return folder

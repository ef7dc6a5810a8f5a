"""Rollout video: the robot, and beside it every constraint's trace against its limit, red where violated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.logger import Logger

from saferl.evaluation.traces import TracePanel, TraceSpec, compose
from saferl.experiment.build import load_model, make_copies, predictor
from saferl.experiment.checkpoint import read_checkpoint
from saferl.experiment.config import TrainConfig, VideoConfig
from saferl.experiment.run_folder import RunFolder
from saferl.tracking.tensorboard import make_logger, writer_of
from saferl.tracking.video import clip_in_event_file, gif_summary, write_mp4
from saferl_envs.copies import clip_actions
from saferl_envs.errors import SaferlError

CLIP_TAG = "rollout/video"
CLIP_WIDTH = 640  # pixels, so that the numbers beside the traces can be read
MAX_FPS = 30.0


@dataclass(frozen=True)
class RenderedRollout:
    """Frames (H, W, 3) uint8 of one episode at `fps`, and the line that says why no robot is drawn, if so."""

    frames: list[np.ndarray[Any, Any]]
    fps: float
    notice: str | None


def render_rollout(
    config: TrainConfig, checkpoint: Path, video: VideoConfig, seed: int, deterministic: bool = True
) -> RenderedRollout:
    """Play one episode of a checkpoint and draw it."""
    copies = make_copies(config, 1)
    predict = predictor(load_model(config, checkpoint), deterministic)
    copies.seed([seed])
    copies.reset()
    timestep = copies.control_timestep
    steps = min(copies.max_episode_steps, max(1, round(video.seconds / timestep)))
    stride = max(1, round(1.0 / (MAX_FPS * timestep)))
    # where g is no distance of a quantity from its limit (a touch, a swing that was too short), g itself is drawn against 0
    limits = np.array([c.limit if c.graded else 0.0 for c in copies.constraints])
    upward = np.array([c.bounds_from_above or not c.graded for c in copies.constraints])
    renderer = copies.renderer(video.width, video.height)
    history = np.full((steps, len(limits)), np.nan)
    pictures: list[tuple[int, np.ndarray[Any, Any]]] = []
    observation = copies.observe()
    for t in range(steps):
        step = copies.step(clip_actions(copies.action_space, predict(observation)))
        observation = step.observation
        worst = copies.constraints.worst(step.values)[0]
        history[t] = np.where(upward, limits + worst, limits - worst)
        if t % stride == 0:
            pictures.append((t, renderer.render("rgb_array")))
        if step.terminated[0] or step.truncated[0]:
            break
    notice = renderer.notice
    renderer.close()
    drawn = zip(copies.constraints, limits.tolist(), upward.tolist(), strict=True)
    specs = [TraceSpec(c.name, c.unit if c.graded else "1", limit, upper) for c, limit, upper in drawn]
    panel = TracePanel(specs, horizon=steps, width=video.width, height=video.height)
    frames = [compose(picture, panel.draw(history[: t + 1], t)) for t, picture in pictures]
    return RenderedRollout(frames, 1.0 / (timestep * stride), notice)


def add_clip_to_tensorboard(logger: Logger, folder: Path, rollout: RenderedRollout, step: int) -> int:
    """Put the clip into the run's event file and return how many of its frames are found there afterwards.

    Raises:
        SaferlError: The clip is not in the file.
    """
    gif_summary(writer_of(logger), CLIP_TAG, rollout.frames, step, rollout.fps, max_width=CLIP_WIDTH)
    found = clip_in_event_file(folder, CLIP_TAG)
    if not found:
        raise SaferlError(f"the clip {CLIP_TAG!r} did not reach the event file in {folder}")
    return found


@dataclass(frozen=True)
class Visualized:
    """What `visualize` made: the mp4 and its frames, and the clip found in the event file."""

    mp4: Path
    frames: int
    tag: str
    clip_frames: int
    notice: str | None


def visualize(run_dir: str | Path, video: VideoConfig, seed: int, deterministic: bool, which: str) -> Visualized:
    """Draw one episode of a run into ``rollout.mp4`` and its TensorBoard.

    Raises:
        CheckpointError: The folder or checkpoint is missing, truncated, or does not fit.
    """
    folder = RunFolder.open(run_dir)
    config = folder.config()
    model_file = folder.checkpoint(which)
    rollout = render_rollout(config, model_file, video, seed, deterministic)
    mp4 = write_mp4(folder.video, rollout.frames, rollout.fps)
    logger = make_logger(folder.path, ("tensorboard",))
    clip_frames = add_clip_to_tensorboard(
        logger, folder.path, rollout, int(read_checkpoint(model_file)["plain"]["num_timesteps"])
    )
    logger.close()
    folder.seal(mp4, *folder.path.glob("events.out.tfevents.*"))
    return Visualized(mp4, len(rollout.frames), CLIP_TAG, clip_frames, rollout.notice)

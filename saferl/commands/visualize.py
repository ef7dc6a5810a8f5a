"""``saferl visualize RUN``: rollout video of a run."""

from __future__ import annotations

import argparse

from saferl.commands.options import Commands, add_checkpoint, add_run, import_modules, positive, seconds, seed
from saferl_envs.errors import SaferlError


def add(commands: Commands) -> None:
    """Declare the command."""
    visualize = commands.add_parser("visualize", help="rollout video of a run, as mp4 and in TensorBoard")
    add_run(visualize)
    visualize.add_argument("--seconds", type=seconds, default=10.0, help="length (default 10)")
    visualize.add_argument("--width", type=positive, default=480, help="of each half, pixels (default 480)")
    visualize.add_argument("--height", type=positive, default=360, help="pixels (default 360)")
    visualize.add_argument("--seed", type=seed, default=0, help="seed of the episode (default 0)")
    visualize.add_argument("--stochastic", action="store_true", help="sample actions")
    add_checkpoint(visualize)
    visualize.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Draw a rollout, and say where it is."""
    from rich.console import Console

    from saferl.experiment.config import VideoConfig
    from saferl.experiment.visualize import visualize

    import_modules(options)
    try:
        video = VideoConfig(seconds=options.seconds, width=options.width, height=options.height)
    except ValueError:
        raise SaferlError(f"--width {options.width} --height {options.height}: valid are 120 to 4096 and 40 to 4096") from None
    made = visualize(options.run, video, options.seed, not options.stochastic, options.checkpoint)
    console = Console()
    if made.notice:
        console.print(f"note: {made.notice}", soft_wrap=True, markup=False)
    console.print(f"video       {made.mp4} ({made.frames} frames)", soft_wrap=True)
    console.print(
        f"TensorBoard {made.clip_frames} frames under {made.tag!r}: tensorboard --logdir {options.run}", soft_wrap=True
    )

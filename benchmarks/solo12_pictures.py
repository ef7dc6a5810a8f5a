"""Pictures of a trained Solo-12 for the documentation: which foot is down when, a frame, and a clip.

python -m benchmarks.solo12_pictures RUN [--out docs/images]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image
from saferl.experiment.build import load_model, make_copies, predictor
from saferl.experiment.config import TrainConfig, VideoConfig
from saferl.experiment.evaluate import changed
from saferl.experiment.run_folder import RunFolder
from saferl.experiment.visualize import render_rollout
from saferl.tracking.video import write_mp4

from saferl_envs.copies import clip_actions
from saferl_envs.engine import Engine

COMMANDS = {"forward 1.0 m/s": ((3, 1, 1), 2), "sideways 0.7 m/s": ((1, 3, 1), 2), "turning 0.78 rad/s": ((1, 1, 3), 2)}
"""Grid of commands, and the seed that meets the one that is drawn."""
CLIP_SEEDS = {"solo12": 2, "solo12_terrain": 11}
"""Of the clips, under 1 m/s forward; on terrain it stands on the third level of slopes."""
SHOWN = 2.0  # s
SETTLED = 3.0  # s


def contacts(
    config: TrainConfig, checkpoint: Path, grid: tuple[int, int, int], seed: int
) -> tuple[Any, tuple[str, ...], float]:
    """Return which feet are down at each control step once the robot walks, (T, feet), their names, and the step in s."""
    copies = cast(Engine, make_copies(commanded(config, grid), 1))
    predict = predictor(load_model(config, checkpoint), deterministic=True)
    copies.seed([seed])
    copies.reset()
    observation, down = copies.observe(), []
    step = copies.control_timestep
    for t in range(round((SETTLED + SHOWN) / step)):
        observation = copies.step(clip_actions(copies.action_space, predict(observation))).observation
        if t * step >= SETTLED:
            down.append(copies.signals.view["contact_force/feet"][0] > 1.0)
    return np.array(down), copies.signals.offers()["contact_force/feet"].components, step


def commanded(config: TrainConfig, grid: tuple[int, int, int]) -> TrainConfig:
    """Return a configuration without noise and pushes under a grid of commands."""
    return changed(config, {"env": {"kwargs": {**config.env.kwargs, "play": True, "command_grid": list(grid)}}})


def draw_gait(config: TrainConfig, checkpoint: Path, path: Path) -> None:
    """Draw a bar wherever a foot is down, for three commands."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(len(COMMANDS), 1, figsize=(7, 4.6), sharex=True, layout="constrained")
    for axes, (title, (grid, seed)) in zip(panels, COMMANDS.items(), strict=True):
        down, feet, step = contacts(config, checkpoint, grid, seed)
        for row, foot in enumerate(feet):
            edges = np.flatnonzero(np.diff(np.concatenate(([False], down[:, row], [False])).astype(int)))
            bars = [(start * step, (end - start) * step) for start, end in edges.reshape(-1, 2)]
            axes.broken_barh(bars, (row - 0.4, 0.8), color="tab:blue" if foot in ("FL", "HR") else "tab:orange")
        axes.set_yticks(range(len(feet)), feet)
        axes.invert_yaxis()
        axes.set_xlim(0, SHOWN)
        two = float((down.sum(axis=1) == 2).mean())
        axes.set_title(f"{title}: two feet down {two:.0%} of the time", fontsize=9, loc="left")
    panels[-1].set_xlabel("s; a bar is a foot on the ground, colours are the diagonal pairs")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Draw all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    run = RunFolder.open(options.run)
    config, checkpoint = run.config(), run.checkpoint("last")
    if "Terrain" not in config.env.id:
        draw_gait(config, checkpoint, options.out / "solo12_gait.png")
    video = VideoConfig(seconds=6.0, width=400, height=300)
    name = "solo12_terrain" if "Terrain" in config.env.id else "solo12"
    rollout = render_rollout(commanded(config, (3, 1, 1)), checkpoint, video, seed=CLIP_SEEDS[name])
    write_mp4(options.out / f"{name}.mp4", rollout.frames, rollout.fps)
    Image.fromarray(rollout.frames[-1]).save(options.out / f"{name}.png", optimize=True)
    print(f"{name}: {len(rollout.frames)} frames; {rollout.notice or 'drawn with OpenGL'}")


if __name__ == "__main__":
    main()

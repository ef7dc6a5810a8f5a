"""What happens during training beside learning: progress bar, checkpoints, evaluation under constraints."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from stable_baselines3.common.callbacks import BaseCallback

from saferl.evaluation.rollout import play
from saferl.evaluation.statistics import excess, summarize
from saferl.experiment.build import make_engine, predictor
from saferl.experiment.checkpoint import save_checkpoint
from saferl.experiment.config import TrainConfig
from saferl.experiment.run_folder import RunFolder
from saferl.tracking.tensorboard import log_bounds, log_hparams, write_layout

EVAL_SEED_OFFSET = 1_000_000
"""Evaluation episodes never share a seed with training's."""


class ProgressBar(BaseCallback):
    """A bar with steps per second, return and violation rate."""

    def __init__(self, total: int, console: Console) -> None:
        super().__init__()
        columns = (
            BarColumn(bar_width=12), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(compact=True), TextColumn("{task.fields[says]}"),
        )  # fmt: skip
        self._progress = Progress(*columns, console=console, refresh_per_second=2)
        self._total = total
        self._task: TaskID | None = None

    def _on_training_start(self) -> None:
        self._progress.start()
        self._task = self._progress.add_task("training", total=self._total, rate="", says="")
        self._began, self._first = time.monotonic(), self.num_timesteps

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self._task is None:
            return
        rate = (self.num_timesteps - self._first) / max(time.monotonic() - self._began, 1e-9)
        says = []
        buffer: Any = self.locals.get("rollout_buffer")
        episodes = self.model.ep_info_buffer
        if episodes:
            says.append(f"return {sum(e['r'] for e in episodes) / len(episodes):.0f}")
        if buffer is not None and hasattr(buffer, "violated"):
            says.append(f"violated {100 * float(buffer.violated.any(axis=-1).mean()):.1f} %")
        self._progress.update(
            self._task, completed=min(self.num_timesteps, self._total), rate=f"{rate:,.0f} steps/s", says=", ".join(says)
        )

    def _on_training_end(self) -> None:
        self._progress.stop()


class Checkpoints(BaseCallback):
    """Writes ``last.pt`` between updates, at most `seconds` apart, and once at the end."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__()
        self._path, self._seconds, self._written = path, seconds, time.monotonic()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if time.monotonic() - self._written >= self._seconds:
            self.write()

    def write(self) -> None:
        """Write the checkpoint now."""
        save_checkpoint(self.model, self._path)
        self._written = time.monotonic()

    def _on_training_end(self) -> None:
        self.write()


class ConstrainedEvaluation(BaseCallback):
    """Plays episodes with the deterministic policy and keeps the best feasible policy as ``best.pt``.

    A feasible policy beats every infeasible one; among feasible ones the return decides, among infeasible ones the excess.
    """

    def __init__(self, config: TrainConfig, folder: RunFolder) -> None:
        super().__init__()
        self._config, self._folder = config, folder
        self._settings = config.evaluation
        self._every = config.total_timesteps / max(self._settings.times, 1)
        self._next = self._every
        self._best: tuple[float, ...] | None = None

    def _on_training_start(self) -> None:
        self._engine = make_engine(self._config, self._settings.episodes)
        specs = self._engine.constraints.to_specs()
        write_layout(self.logger, specs)
        log_hparams(self.logger, self._config.model_dump(mode="json"), specs)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        log_bounds(self.logger, self._engine.constraints.to_specs())

    def _on_rollout_start(self) -> None:
        if self._settings.times and self.num_timesteps >= self._next:
            self._next += self._every
            self.evaluate()

    def _on_training_end(self) -> None:
        self.evaluate()
        self.logger.dump(self.num_timesteps)

    def evaluate(self) -> None:
        """Evaluate now, log the result, and keep the policy if it is the best so far."""
        constraints = self._engine.constraints
        seed = self._config.seed + EVAL_SEED_OFFSET
        summary = summarize(play(self._engine, predictor(self.model, deterministic=True), seed), constraints)
        gap = excess(summary, constraints, self._settings.violation_tolerance)
        self.logger.record("eval/return_mean", summary["return_mean"])
        self.logger.record("eval/any_violation_rate", summary["any_violation_rate"])
        self.logger.record("eval/feasible", int(gap <= 0))
        row: dict[str, Any] = {
            "timesteps": self.num_timesteps,
            "return_mean": summary["return_mean"],
            "any_violation_rate": summary["any_violation_rate"],
            "feasible": int(gap <= 0),
        }
        for name, found in summary["constraints"].items():
            for key in ("violation_rate", "cost_mean", "worst_margin"):
                self.logger.record(f"eval/{name}/{key}", found[key])
                row[f"{name}/{key}"] = found[key]
        append_row(self._folder.path / "evaluations.csv", row)
        rank = (1.0, summary["return_mean"]) if gap <= 0 else (0.0, -gap)
        if self._best is None or rank > self._best:
            self._best = rank
            save_checkpoint(self.model, self._folder.best)


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Append one row to a CSV file, with a header if the file is new."""
    fields: Sequence[str] = list(row)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fields)
        if new:
            writer.writeheader()
        writer.writerow(row)

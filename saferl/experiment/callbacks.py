"""What happens during training beside learning: progress bar, checkpoints, evaluation under constraints."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from stable_baselines3.common.callbacks import BaseCallback

from saferl.algorithms.constrained import ConstrainedAlgorithm
from saferl.evaluation.rollout import play
from saferl.evaluation.statistics import rank, summarize
from saferl.experiment.build import discount, make_copies, predictor
from saferl.experiment.checkpoint import save_checkpoint
from saferl.experiment.config import TrainConfig
from saferl.experiment.run_folder import RunFolder
from saferl.experiment.training_state import training_state
from saferl.tracking.rows import append_row
from saferl.tracking.tensorboard import log_bounds, log_hparams, write_layout
from saferl_envs.errors import CheckpointError

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
        self.stop()

    def stop(self) -> None:
        """Give the terminal back; also where training was interrupted."""
        self._progress.stop()


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
        self._last = -1
        self._best: tuple[float, ...] | None = None

    def _on_training_start(self) -> None:
        self._copies = make_copies(self._config, self._settings.episodes)
        specs = self._copies.constraints.to_specs()
        write_layout(self.logger, specs)
        log_hparams(self.logger, self._config.model_dump(mode="json"), specs)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        log_bounds(self.logger, self._copies.constraints.to_specs())

    def _on_rollout_start(self) -> None:
        if self._settings.times and self.num_timesteps >= self._next:
            self._next += self._every
            self.evaluate()

    def _on_training_end(self) -> None:
        if self._last != self.num_timesteps:
            self.evaluate()

    def state(self) -> dict[str, Any]:
        """Return when the next evaluation is due and what the best so far was, as plain values."""
        return {"next": self._next, "last": self._last, "best": None if self._best is None else list(self._best)}

    def load_state(self, state: Any) -> None:
        """Take over what `state` returned.

        Raises:
            CheckpointError: It is damaged.
        """
        try:
            self._next, self._last = float(state["next"]), int(state["last"])
            self._best = None if state["best"] is None else tuple(float(x) for x in state["best"])
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(f"the checkpoint's record of evaluations is damaged ({error})") from error

    def evaluate(self) -> None:
        """Evaluate now, log the result, and keep the policy if it is the best so far."""
        constraints = self._copies.constraints
        self._last = self.num_timesteps
        seed = self._config.seed + EVAL_SEED_OFFSET
        episodes = play(self._copies, predictor(self.model, deterministic=True), seed, discount(self._config))
        summary = summarize(episodes, constraints, self._settings.violation_tolerance)
        self._log(summary)
        if self._best is None or rank(summary) > self._best:
            self._best = rank(summary)
            save_checkpoint(self.model, self._folder.best)

    def _log(self, summary: dict[str, Any]) -> None:
        """Write an evaluation into TensorBoard and ``evaluations.csv``."""
        limited = [c.name for c in self._copies.constraints if c.cost_limit is not None]
        row: dict[str, Any] = {
            "timesteps": self.num_timesteps,
            "mean_reward": summary["return_mean"],
            "mean_ep_length": summary["length_mean"],
            "violation_rate": summary["any_violation_rate"],
            "ep_cost_mean": sum(summary["constraints"][name]["cost_mean"] for name in limited),
            "feasible": int(summary["feasible"]),
        }
        for name, found in summary["constraints"].items():
            row[f"constraint/{name}/violation_rate"] = found["violation_rate"]
            row[f"constraint/{name}/cost"] = found["cost_mean"]
            row[f"constraint/{name}/value_max"] = -found["worst_margin"]
        append_row(self._folder.path / "evaluations.csv", row)
        for key, value in row.items():
            if key != "timesteps":
                self.logger.record(f"eval/{key}", value)
        # at once, as SB3's evaluation does: otherwise the numbers would be stamped with the next rollout's steps
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(self.num_timesteps)


class Checkpoints(BaseCallback):
    """Writes ``last.pt`` between updates, at most `seconds` apart, and once at the end."""

    model: ConstrainedAlgorithm

    def __init__(self, path: Path, seconds: float, evaluation: ConstrainedEvaluation) -> None:
        super().__init__()
        self._path, self._seconds, self._written = path, seconds, time.monotonic()
        self._evaluation = evaluation
        self._stop = False

    @contextmanager
    def stop_between_rollouts(self) -> Iterator[None]:
        """Within it, the first Control-C or SIGTERM lets the iteration end, so that nothing is lost; a second one does not."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals belong to the main thread
            return

        def ask(number: int, frame: Any) -> None:
            if self._stop:
                raise KeyboardInterrupt
            self._stop = True

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self._stop or time.monotonic() - self._written >= self._seconds:
            self.write()
        if self._stop:
            raise KeyboardInterrupt

    def write(self) -> None:
        """Write the checkpoint now; only between two rollouts is it one from which training can go on."""
        save_checkpoint(self.model, self._path, {**training_state(self.model), "evaluation": self._evaluation.state()})
        self._written = time.monotonic()

    def _on_training_end(self) -> None:
        self.write()

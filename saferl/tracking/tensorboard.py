"""TensorBoard for constrained training: hyper-parameters, and a layout that draws each constraint against its limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import (
    CSVOutputFormat,
    HParam,
    KVWriter,
    Logger,
    TensorBoardOutputFormat,
    make_output_format,
)
from torch.utils.tensorboard import SummaryWriter

from saferl.tracking.rows import trim_rows

Spec = Mapping[str, Any]


def make_logger(folder: Path, formats: Sequence[str] = ("csv", "tensorboard"), resumed_at: int | None = None) -> Logger:
    """Return SB3's logger writing ``progress.csv`` and TensorBoard's event file into a run folder.

    Args:
        folder: The run folder.
        formats: What to write.
        resumed_at: Number of steps at which training goes on, or None at its start. What was logged later is forgotten.
    """
    if resumed_at is None:
        return Logger(str(folder), [make_output_format(kind, str(folder)) for kind in formats])
    outputs: list[KVWriter] = []
    if "csv" in formats:
        trim_rows(folder / "progress.csv", "time/total_timesteps", resumed_at)
        outputs.append(ContinuedCSV(str(folder / "progress.csv")))
    if "tensorboard" in formats:
        output = TensorBoardOutputFormat(str(folder))
        output.writer.close()
        output.writer = SummaryWriter(log_dir=str(folder), purge_step=resumed_at + 1)
        outputs.append(output)
    return Logger(str(folder), outputs)


class ContinuedCSV(CSVOutputFormat):
    """SB3's CSV output, going on in a file that exists; SB3's own begins by emptying it."""

    def __init__(self, filename: str) -> None:
        path = Path(filename)
        path.touch()
        self.file = path.open("r+t", encoding="utf-8")
        self.keys = [key for key in self.file.readline().rstrip("\n").split(",") if key]
        self.separator, self.quotechar = ",", '"'
        self.file.seek(0, 2)


def writer_of(logger: Logger) -> SummaryWriter:
    """Return the writer of a logger's event file."""
    for output in logger.output_formats:
        if isinstance(output, TensorBoardOutputFormat):
            return output.writer
    raise LookupError("the logger has no TensorBoard output")


def write_layout(logger: Logger, constraints: Sequence[Spec]) -> None:
    """Add the custom layout: one chart per constraint, with what is bounded and its bound in the same chart.

    The bounded number is the episode's cost where the constraint has a cost limit, else the worst value of g against zero.
    """
    charts: dict[str, Any] = {"return": ["Multiline", ["rollout/ep_rew_mean", "eval/mean_reward"]]}
    for spec in constraints:
        tag = f"constraint/{spec['name']}"
        if spec.get("cost_limit") is not None:
            charts[f"{spec['name']}: episode cost and its limit"] = ["Multiline", [f"{tag}/cost", f"{tag}/cost_limit"]]
        charts[f"{spec['name']}: worst g and its bound 0 [{spec.get('unit', '1')}]"] = [
            "Multiline", [f"{tag}/value_max", f"{tag}/bound"],
        ]  # fmt: skip
        charts[f"{spec['name']}: violation rate"] = [
            "Multiline", [f"{tag}/violation_rate", f"eval/{tag}/violation_rate"],
        ]  # fmt: skip
    writer_of(logger).add_custom_scalars({"constraints": charts})


def log_bounds(logger: Logger, constraints: Sequence[Spec]) -> None:
    """Record the bounds that the layout draws, for the next dump."""
    for spec in constraints:
        logger.record(f"constraint/{spec['name']}/bound", 0.0)
        if spec.get("cost_limit") is not None:
            logger.record(f"constraint/{spec['name']}/cost_limit", float(spec["cost_limit"]))


def log_hparams(logger: Logger, config: Mapping[str, Any], constraints: Sequence[Spec]) -> None:
    """Record the configuration for the HParams tab, with the metrics by which runs are compared."""
    # what one compares runs by comes first; how often to evaluate or where to compute is no hyper-parameter
    parts = {"seed": config["seed"], "method": config["method"], "env": config["env"], "steps": config["total_timesteps"]}
    flat = {key: value for key, value in _flatten(parts).items() if isinstance(value, (bool, int, float, str))}
    metrics = {"rollout/ep_rew_mean": 0.0, "eval/mean_reward": 0.0, "rollout/violation_rate": 0.0}
    metrics |= {f"eval/constraint/{spec['name']}/violation_rate": 0.0 for spec in constraints}
    logger.record("hparams", HParam(flat, metrics), exclude=("stdout", "log", "json", "csv"))


def _flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            out |= _flatten(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = str(value) if isinstance(value, (list, tuple)) else value
    return out

"""A grid of methods x tasks x seeds: the YAML file that describes it, and the check of its cells."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator, model_validator

from saferl.evaluation.aggregate import Requirement
from saferl.experiment.build import make_copies
from saferl.experiment.config import TrainConfig, builtin_configs, load_config, merge, read_config
from saferl_envs.errors import ConfigError, choose

GRIDS = "grids"
"""The folder of built-in grids among the built-in configurations."""
EACH_RUN: dict[str, Any] = {"threads": 1, "torch_threads": 1, "video": {"seconds": 0}}
"""What every run of a benchmark is told: one thread, as one process fills a core, and no video."""
_ENFORCEMENT = "kind"
"""What constraints of a task may differ in between methods: it is about how they are enforced, not what is measured."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Reference(BaseModel):
    """A published result: its return, and its cost where one was published."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    returns: float = Field(alias="return")
    cost: float | None = None


class Grid(BaseModel):
    """What a benchmark runs.

    Attributes:
        methods: First parts of the configurations' names.
        tasks: Second parts; a cell of the grid is the configuration ``<method>/<task>``.
        seeds: Of the training.
        episodes: Evaluation episodes per policy.
        checkpoint: Which checkpoint is evaluated.
        overrides: Laid over every cell's configuration.
        reference: Per task, published results by name: drawn and listed, never ranked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    methods: tuple[str, ...] = Field(min_length=1)
    tasks: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[Seed, ...] = Field(min_length=1)
    episodes: PositiveInt = 100
    checkpoint: Literal["last", "best"] = "last"
    overrides: dict[str, Any] = Field(default_factory=dict)
    reference: dict[str, dict[str, Reference]] = Field(default_factory=dict)

    @field_validator("methods", "tasks", "seeds")
    @classmethod
    def _names_of_files(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        for item in value:
            if not _NAME.fullmatch(str(item)):
                raise ValueError(f"{item!r} cannot be part of a file's name; valid are letters, digits, '_', '-' and '.'")
            if value.count(item) > 1:
                raise ValueError(f"{item!r} stands there twice")
        return value

    @field_validator("overrides")
    @classmethod
    def _seed_apart(cls, value: dict[str, Any]) -> dict[str, Any]:
        if "seed" in value:
            raise ValueError("'seed' has a place of its own: seeds")
        return value

    @model_validator(mode="after")
    def _names_fit(self) -> Grid:
        for task in self.reference:
            if task not in self.tasks:
                raise ValueError(choose("task", task, self.tasks, "reference"))
        names = [run_name(m, t, 0) for m in self.methods for t in self.tasks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"methods, tasks: two cells would both be called {name}")
        return self


@dataclass(frozen=True)
class GridFile:
    """A grid, what it is called, and the folder beside which its cells may lie (None for a built-in one)."""

    name: str
    grid: Grid
    folder: Path | None


@dataclass(frozen=True)
class Cell:
    """One method on one task.

    Attributes:
        source: What `saferl train` is given.
        config: The content of that configuration.
        requirements: What the task's constraints ask of a policy, in their order.
    """

    method: str
    task: str
    source: str
    config: Mapping[str, Any]
    requirements: tuple[Requirement, ...]


@dataclass(frozen=True)
class Run:
    """One cell with one seed."""

    cell: Cell
    seed: int

    @property
    def name(self) -> str:
        """What its folder and its log are called."""
        return run_name(self.cell.method, self.cell.task, self.seed)


def run_name(method: str, task: str, seed: int) -> str:
    """Return the name of a run's folder."""
    return f"{method}-{task}-s{seed}"


def builtin_grids() -> dict[str, Path]:
    """Return the grids that come with the package: name to file."""
    root = Path(str(resources.files("saferl.configs"))) / GRIDS
    return {p.stem: p for p in sorted(root.glob("*.yaml"))}


def load_grid(name: str) -> GridFile:
    """Return a grid by built-in name or by path.

    Raises:
        ConfigError: No such grid, or its content is invalid: one line naming the key and what is valid.
    """
    known = builtin_grids()
    if name in known:
        return GridFile(name, build_grid(read_config(str(known[name]))[0], f"grid {name!r}"), None)
    path = Path(name)
    if not path.is_file():
        raise ConfigError(choose("grid (neither a file nor a built-in name)", name, known))
    return GridFile(path.stem, build_grid(read_config(name)[0], name), path.resolve().parent)


def build_grid(data: Mapping[str, Any], source: str) -> Grid:
    """Validate the raw content of a grid.

    Raises:
        ConfigError: One line naming the key, where it came from and what is valid.
    """
    try:
        return Grid.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        key = ".".join(path)
        if first["type"] == "extra_forbidden":
            names = ("return", "cost") if path[0] == "reference" else Grid.model_fields
            raise ConfigError(choose("key", key, (".".join([*path[:-1], name]) for name in names), source)) from error
        if first["type"] == "missing":
            raise ConfigError(f"{source}: key {key!r} is missing") from error
        message = first["msg"].removeprefix("Value error, ").replace("tuple", "list").replace("Tuple", "List")
        shown = "" if isinstance(first["input"], Mapping) or first["type"] == "value_error" else f", got {first['input']!r}"
        raise ConfigError(": ".join(filter(None, (source, key, message))) + shown) from error


def options_of(overrides: Mapping[str, Any], seed: int) -> list[str]:
    """Return the options of `saferl train` for a run; values are JSON, which is YAML."""
    return [f"--{key}={json.dumps(value, default=str)}" for key, value in {**merge(EACH_RUN, overrides), "seed": seed}.items()]


def check_cells(file: GridFile) -> list[Cell]:
    """Load every cell of a grid and return them, task by task.

    Raises:
        ConfigError: A cell is missing or invalid, or methods of one task do not have the same constraints.
        SaferlError: A cell's environment cannot be made.
    """
    cells = []
    for task in file.grid.tasks:
        first: tuple[str, dict[str, Any]] | None = None
        for method in file.grid.methods:
            source = _find(file, f"{method}/{task}")
            try:
                config = load_config(source, options_of(file.grid.overrides, file.grid.seeds[0]))
            except ConfigError as error:
                raise ConfigError(f"grid {file.name!r}: {error}") from error
            asked = _asked(config)
            first = first or (method, asked)
            _require_same(task, first, (method, asked))
            requirements = tuple(_requirement(spec, config) for spec in asked["constraints"])
            cells.append(Cell(method, task, source, read_config(source)[0], requirements))
    return cells


def _find(file: GridFile, name: str) -> str:
    """Return what a cell is called for `saferl train`: a file beside the grid, else a built-in name."""
    beside = {}
    if file.folder is not None:
        beside = {f"{p.parent.name}/{p.stem}": p for m in file.grid.methods for p in (file.folder / m).glob("*.yaml")}
    if name in beside:
        return str(beside[name])
    if name in builtin_configs():
        return name
    raise ConfigError(choose("configuration", name, {*builtin_configs(), *beside}, f"grid {file.name!r}"))


def _asked(config: TrainConfig) -> dict[str, Any]:
    """Return what a configuration asks of a policy: its environment, the length of an episode, its constraints."""
    specs = make_copies(config, 1).constraints.to_specs()
    constraints = [{key: value for key, value in spec.items() if key != _ENFORCEMENT} for spec in specs]
    settings = {"env.id": config.env.id, "env.max_episode_steps": config.env.max_episode_steps, "env.kwargs": config.env.kwargs}
    return {**settings, "evaluation.violation_tolerance": config.evaluation.violation_tolerance, "constraints": constraints}


def _require_same(task: str, first: tuple[str, dict[str, Any]], other: tuple[str, dict[str, Any]]) -> None:
    """Refuse to compare methods that were asked for different things."""
    for key, value in first[1].items():
        if other[1][key] != value:
            shown = "" if key == "constraints" else f" ({value!r} and {other[1][key]!r})"
            raise ConfigError(f"task {task!r}: {first[0]} and {other[0]} differ in {key}{shown}; they cannot be compared")


def _requirement(spec: Mapping[str, Any], config: TrainConfig) -> Requirement:
    if spec.get("cost_limit") is None:
        return Requirement(spec["name"], "rate", config.evaluation.violation_tolerance)
    return Requirement(spec["name"], "cost", float(spec["cost_limit"]), str(spec.get("sense", "<=")))

"""Configuration: frozen models, YAML files that hold only what differs from the defaults, overrides from the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import gymnasium
import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializeAsAny,
    ValidationError,
    field_validator,
)

from saferl.algorithms.registry import MethodSettings, settings_class
from saferl_controllers.registry import SafeguardSettings, safeguard_settings, safeguards
from saferl_envs.errors import ConfigError, choose


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EnvConfig(_Section):
    """Which environment, how many copies, and changes to its constraints.

    Attributes:
        id: A task of ours, or any id that Gymnasium knows; ``package.module:Name-v0`` imports the module first.
        limits: New limits by constraint name.
        cost_limits: New bounds on the expected cost per episode by constraint name.
        constraints: Constraint specifications in place of the task's own.
        kwargs: Keyword arguments of the task or environment.
        disturbances: Name to strength, to judge a policy under; see `saferl_envs.disturbances`.
        normalize_observation: Whether the policy sees observations divided by their running deviation; Box parts only.
        normalize_reward: Whether the critic sees rewards divided by the running deviation of returns.
    """

    id: str
    num_envs: PositiveInt = 64
    limits: dict[str, float] = Field(default_factory=dict)
    cost_limits: dict[str, float] = Field(default_factory=dict)
    constraints: list[dict[str, Any]] | None = None
    max_episode_steps: PositiveInt | None = None
    kwargs: dict[str, Any] = Field(default_factory=dict)
    disturbances: dict[str, float] = Field(default_factory=dict)
    normalize_observation: bool = True
    normalize_reward: bool = True

    @field_validator("kwargs")
    @classmethod
    def _only_the_tasks(cls, value: dict[str, Any]) -> dict[str, Any]:
        reserved = {"env_id", "task_id", "threads", "dump_dir", "render_mode", *cls.model_fields}
        for key in value:
            if key in reserved:
                raise ValueError(f"{key!r} is not a keyword argument of the task; it has a place of its own in env")
        return value

    @field_validator("id")
    @classmethod
    def _known(cls, value: str) -> str:
        # ids of other packages are known once the environment is made, which may import their module
        ours = sorted(name for name in gymnasium.registry if name.startswith("saferl/"))
        if value.startswith("saferl/") and value not in ours:
            raise ValueError(choose("environment", value, ours))
        return value

    def arguments(self) -> dict[str, Any]:
        """Return the environment's keyword arguments."""
        return {
            "constraints": self.constraints,
            "limits": self.limits,
            "cost_limits": self.cost_limits,
            "max_episode_steps": self.max_episode_steps,
            "disturbances": self.disturbances,
            **self.kwargs,
        }


class EvalConfig(_Section):
    """Evaluation during and after training.

    Attributes:
        times: How often during training.
        episodes: Per evaluation during training.
        violation_tolerance: Share of violating steps that counts as feasible for a constraint without cost limit.
        kwargs: Keyword arguments of the task that differ from training's, e.g. all levels in place of a curriculum.
    """

    times: NonNegativeInt = 10
    episodes: PositiveInt = 10
    violation_tolerance: float = Field(default=0.02, ge=0, le=1)
    kwargs: dict[str, Any] = Field(default_factory=dict)


class VideoConfig(_Section):
    """Rollout video at the end of training: seconds of it, and its size in pixels."""

    seconds: float = Field(default=6.0, ge=0, le=3600)
    width: int = Field(default=320, ge=120, le=4096)
    height: int = Field(default=240, ge=40, le=4096)


class TrainConfig(_Section):
    """Everything a training run is made of. The resolved form is stored in the run folder.

    Attributes:
        safeguard: What stands between the policy and the environment, in training and evaluation, or None.
        device: ``auto`` takes a GPU when there is one.
        threads: Threads for physics, 0 for all cores; results do not depend on it.
        torch_threads: Threads for updates, 0 to choose by the width of the network; the last bits of the weights depend on it.
        checkpoint_seconds: Longest time between checkpoints.
    """

    env: EnvConfig
    method: SerializeAsAny[MethodSettings]
    safeguard: SerializeAsAny[SafeguardSettings] | None = None
    total_timesteps: PositiveInt = 1_000_000
    seed: int = Field(default=0, ge=0, lt=2**31)
    device: str = "auto"
    threads: int = Field(default=0, ge=0, le=1024)
    torch_threads: int = Field(default=0, ge=0, le=1024)
    checkpoint_seconds: PositiveFloat = 30.0
    evaluation: EvalConfig = EvalConfig()
    video: VideoConfig = VideoConfig()

    @field_validator("method", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            if "name" not in value:
                raise ConfigError("key 'method.name' is missing")
            return settings_class(value["name"], "method.name").model_validate(value)
        return value

    @field_validator("safeguard", mode="before")
    @classmethod
    def _guard_by_name(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            if "name" not in value:
                raise ConfigError("key 'safeguard.name' is missing")
            return safeguard_settings(value["name"], "safeguard.name").model_validate(value)
        return value


class _Loader(yaml.SafeLoader):
    """A safe loader that reads 1e6 as a number, as everybody means it; YAML 1.1 reads it as text."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))


def builtin_configs() -> dict[str, str]:
    """Return the configurations that come with the package: name to YAML text. Grids of benchmarks are none."""
    root = Path(str(resources.files("saferl.configs")))
    paths = {p.relative_to(root).with_suffix("").as_posix(): p for p in sorted(root.rglob("*.yaml"))}
    return {name: p.read_text(encoding="utf-8") for name, p in paths.items() if not name.startswith("grids/")}


def read_config(name: str) -> tuple[dict[str, Any], str]:
    """Return the raw content of a configuration, by path or by built-in name, and where it came from.

    Raises:
        ConfigError: No such file or name, or it is not a YAML mapping.
    """
    known = builtin_configs()
    if name in known:
        text, source = known[name], f"configuration {name!r}"
    elif Path(name).is_file():
        try:
            text, source = Path(name).read_text(encoding="utf-8"), name
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {name}: {error}") from error
    else:
        raise ConfigError(choose("configuration (neither a file nor a built-in name)", name, known))
    try:
        data = yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{source}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: expected a mapping at the top, got {type(data).__name__}")
    return data, source


def parse_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """Return ``--method.p-max 0.3`` and ``--seed=3`` as a nested mapping; values are read as YAML.

    Raises:
        ConfigError: An option without a value, or a word that is not an option.
    """
    out: dict[str, Any] = {}
    words = iter(arguments)
    for word in words:
        if not word.startswith("--") or len(word) < 3:
            raise ConfigError(f"expected an option such as --seed 3, got {word!r}")
        key, has_value, text = word[2:].partition("=")
        if not has_value:
            text = next(words, "")
            if text == "" or text.startswith("--"):
                raise ConfigError(f"option --{key} needs a value")
        try:
            value = yaml.load(text, _Loader)
        except (yaml.YAMLError, RecursionError) as error:
            raise ConfigError(f"option --{key}: cannot read {text!r}") from error
        *path, last = key.replace("-", "_").split(".")
        place = out
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise ConfigError(f"option --{key}: --{part} was given a value of its own; say --{part}.name in its place")
        place[last] = value
    return out


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` laid over it, mapping by mapping; neither is modified."""
    out = dict(base)
    for key, value in changes.items():
        old = out.get(key)
        out[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return out


def build_config(data: Mapping[str, Any], source: str) -> TrainConfig:
    """Validate raw content.

    Raises:
        ConfigError: One line naming the key, where it came from and what is valid.
    """
    try:
        return TrainConfig.model_validate(data)
    except ValidationError as error:
        # a key may hold anything, line ends among it
        raise ConfigError(" ".join(explain(error, data, source).split())) from error
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


def load_config(name: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """Return the configuration `name` (a path or a built-in name) with command-line overrides."""
    data, source = read_config(name)
    return build_config(merge(data, parse_overrides(overrides)), source)


def explain(error: ValidationError, data: Mapping[str, Any], source: str) -> str:
    """Return the first problem of a validation error as one line."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path)
    section = "safeguard" if any(error.title == s.settings.__name__ for s in safeguards().values()) else "method"
    if error.title != TrainConfig.__name__ and not key.startswith(section):
        path, key = [section, *path], ".".join([section, *path])
    if first["type"] == "extra_forbidden":
        return choose("key", key, (".".join([*path[:-1], k]) for k in _valid_keys(path[:-1], data)), source)
    if first["type"] == "missing":
        return f"{source}: key {key!r} is missing"
    message = first["msg"].removeprefix("Value error, ")
    shown = f", got {first['input']!r}" if not isinstance(first["input"], Mapping) else ""
    return f"{source}: {key}: {message}{'' if 'valid:' in message else shown}"


def _valid_keys(path: Iterable[str], data: Mapping[str, Any]) -> list[str]:
    """Return the keys that exist at a place in the configuration."""
    model: type[BaseModel] = TrainConfig
    for part in path:
        annotation = model.model_fields[part].annotation
        inner = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)]
        if part in ("method", "safeguard"):
            section = data.get(part)
            name = section.get("name") if isinstance(section, Mapping) else None
            model = settings_class(name) if part == "method" else safeguard_settings(name)
        elif inner:
            model = inner[0]
    return list(model.model_fields)

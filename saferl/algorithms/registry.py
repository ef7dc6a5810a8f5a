"""The registry of methods: each algorithm's file registers its settings, and everything else finds it by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict
from stable_baselines3.common.vec_env import VecEnv

from saferl_envs.errors import ConfigError, choose


class MethodSettings(BaseModel, ABC):
    """Hyper-parameters of one method: frozen, validated, and able to build the algorithm."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str

    @abstractmethod
    def build(self, env: VecEnv, seed: int, device: str) -> Any:
        """Return a fresh algorithm on `env`."""


@dataclass(frozen=True)
class Method:
    """A registered method: what `saferl list` says of it, and its settings."""

    name: str
    summary: str
    paper: str
    settings: type[MethodSettings]


_METHODS: dict[str, Method] = {}
S = TypeVar("S", bound=MethodSettings)


def register_method(name: str, summary: str, paper: str) -> Callable[[type[S]], type[S]]:
    """Decorate a settings class so that configurations can say ``method: {name: <name>}``."""

    def add(settings: type[S]) -> type[S]:
        _METHODS[name] = Method(name, summary, paper, settings)
        return settings

    return add


def methods() -> Mapping[str, Method]:
    """Return every registered method by name."""
    return dict(sorted(_METHODS.items()))


def settings_class(name: Any, source: str = "method.name") -> type[MethodSettings]:
    """Return the settings class of a method.

    Raises:
        ConfigError: No such method; the message lists those there are.
    """
    if not isinstance(name, str) or name not in _METHODS:
        raise ConfigError(choose("method", name, _METHODS, source))
    return _METHODS[name].settings

"""The registry of safeguards: each one's file registers its settings, and configurations name it under ``safeguard``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from saferl_controllers.safeguard import Safeguard
from saferl_envs.copies import Copies
from saferl_envs.errors import ConfigError, choose


class SafeguardSettings(BaseModel, ABC):
    """Settings of one safeguard: frozen, validated, and able to build it for copies of an environment.

    Attributes:
        price: Reward that a learner loses per step and squared correction, in half ranges of the action.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    price: float = Field(0.0, ge=0)

    @abstractmethod
    def build(self, copies: Copies) -> Safeguard:
        """Return the safeguard of some copies.

        Raises:
            ConfigError: It cannot guard this environment.
        """


@dataclass(frozen=True)
class RegisteredSafeguard:
    """What `saferl list` says of a safeguard, and its settings."""

    name: str
    summary: str
    paper: str
    settings: type[SafeguardSettings]


_SAFEGUARDS: dict[str, RegisteredSafeguard] = {}
S = TypeVar("S", bound=SafeguardSettings)


def register_safeguard(name: str, summary: str, paper: str) -> Callable[[type[S]], type[S]]:
    """Decorate a settings class so that configurations can say ``safeguard: {name: <name>}``."""

    def add(settings: type[S]) -> type[S]:
        _SAFEGUARDS[name] = RegisteredSafeguard(name, summary, paper, settings)
        return settings

    return add


def safeguards() -> Mapping[str, RegisteredSafeguard]:
    """Return every registered safeguard by name."""
    return dict(sorted(_SAFEGUARDS.items()))


def safeguard_settings(name: Any, source: str = "safeguard.name") -> type[SafeguardSettings]:
    """Return the settings class of a safeguard.

    Raises:
        ConfigError: No such safeguard; the message lists those there are.
    """
    if not isinstance(name, str) or name not in _SAFEGUARDS:
        raise ConfigError(choose("safeguard", name, _SAFEGUARDS, source))
    return _SAFEGUARDS[name].settings

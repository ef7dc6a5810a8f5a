"""A policy behind a safeguard, for deployment: `predict` returns what may be executed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from saferl_controllers.safeguard import Safeguard, Safeguarded
from saferl_envs.errors import ConfigError, choose
from saferl_envs.signals import Signals


class Policy(Protocol):
    """Anything with Stable-Baselines3's `predict`."""

    def predict(self, observation: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Return actions and the state of a recurrent policy, or None."""
        ...


class GuardedPolicy:
    """A policy whose actions a safeguard corrects; used in its place, with the same `predict`.

    ::

        env = gymnasium.make("saferl/CartPoleBalance-v0")
        copies = env.unwrapped.engine
        policy = GuardedPolicy(model, BarrierSettings(horizon=40).build(copies), copies.present)
        action, _ = policy.predict(observation, deterministic=True)

    On a robot `signals` reads its sensors; a safeguard that looks ahead in a simulation needs that in the robot's state.

    Args:
        policy: What proposes actions.
        safeguard: What corrects them.
        signals: Returns the present signals by name, each (N, d), those that the safeguard requires among them.

    Attributes:
        last: What the safeguard made of the last proposals, None before the first.

    Raises:
        ConfigError: The signals lack one that the safeguard requires.
    """

    def __init__(self, policy: Policy, safeguard: Safeguard, signals: Callable[[], Signals]) -> None:
        present = signals() if safeguard.requires else {}
        for name in sorted(safeguard.requires):
            if name not in present:
                raise ConfigError(choose("signal", name, present, f"safeguard {type(safeguard).__name__}"))
        self.policy, self.safeguard, self.signals = policy, safeguard, signals
        self.last: Safeguarded | None = None

    def predict(self, observation: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Return what may be executed in place of the policy's actions, (na,) or (N, na) as these are, and its state.

        Raises:
            ConfigError: The policy's actions have another shape, or are not finite.
        """
        proposed, state = self.policy.predict(observation, *args, **kwargs)
        proposed = np.asarray(proposed)
        if not np.issubdtype(proposed.dtype, np.floating):  # what is corrected is hardly ever a whole number
            proposed = proposed.astype(np.float64)
        if proposed.ndim not in (1, 2):
            raise ConfigError(f"a guarded policy's actions have shape {proposed.shape}, expected (na,) or (N, na)")
        if not np.isfinite(proposed).all():
            raise ConfigError(f"a guarded policy's actions must be numbers, got {proposed.tolist()}")
        one = proposed.ndim == 1
        self.last = self.safeguard.filter(self.signals(), proposed[np.newaxis] if one else proposed)
        action = self.last.action.astype(proposed.dtype)
        return (action[0] if one else action), state

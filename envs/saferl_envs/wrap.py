"""Constraints on any Gymnasium environment, and bridges to and from the step that returns six values.

In ten lines::

    import gymnasium
    from saferl_envs.constraints import SignalLimit
    from saferl_envs.wrap import Constrained

    slow = SignalLimit(
        name="slow", signal="observation", components=("observation_2",), bound="absolute", limit=4.0, cost_limit=10
    )
    env = Constrained(gymnasium.make("Pendulum-v1"), [slow])
    observation, info = env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    print(info["constraint_values"], info["cost"], info["episode_cost"])  # g <= 0 is satisfied

`saferl_envs.wrapped_signals` says which signals there are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from saferl_envs.constraints import Constraint, ConstraintSet, SignalLimit, constraints_from_specs
from saferl_envs.errors import ConstraintError
from saferl_envs.info import Info, row
from saferl_envs.ledger import Ledger
from saferl_envs.wrap_vector import ConstrainedVector
from saferl_envs.wrapped_signals import INFO, InfoShapes, WrappedSignals, checked_info_shapes, probe_info

__all__ = ["Constrained", "ConstrainedVector", "FiveValue", "SixValue", "from_six_value", "own_constraints", "to_six_value"]

if TYPE_CHECKING:
    _Env = gymnasium.Env[Any, Any]
    _Wrapper = gymnasium.Wrapper[Any, Any, Any, Any]
else:
    _Env, _Wrapper = gymnasium.Env, gymnasium.Wrapper

_FIRST = np.zeros(1, np.intp)


class Constrained(_Wrapper, RecordConstructorArgs):
    """Puts constraints on one environment: the five-value step, with the costs in ``info``.

    Every step and every reset brings ``constraint_values`` (K,) signed, ``constraint_costs`` (C,), ``constraint_violation``
    (C,) of 0 and 1, ``cost_<name>``, ``cost`` (sum over the constraints that have a cost limit) and ``episode_cost`` (its
    running sum). Costs are zero on a reset. Nothing else is changed: no episode ends because of a violation.

    Args:
        env: Any environment.
        constraints: Constraints or their JSON specifications.
        info_shapes: For constraints on ``info/<key>``: ``{"key": ()}`` for a number, ``{"key": (d,)}`` for an array of d.
            Where it is None, one step of a second instance finds them; an environment that cannot be made again from its `spec`
            is itself reset and stepped once, here.

    Raises:
        ConstraintError: A specification is invalid, there is none, or two share a name.
        SignalError: A constraint needs a signal that the environment does not offer; the message lists those it does.
    """

    def __init__(
        self, env: _Env, constraints: Sequence[Constraint | Mapping[str, Any]], info_shapes: InfoShapes | None = None
    ) -> None:
        given = constraints_from_specs(constraints, "constraints")
        shapes = _shapes_for(env, given) if info_shapes is None else checked_info_shapes(info_shapes)
        # in their JSON forms, so that the spec of the wrapped environment can be saved and made again
        RecordConstructorArgs.__init__(
            self, constraints=[c.to_spec() for c in given], info_shapes={key: list(shape) for key, shape in shapes.items()}
        )
        super().__init__(env)
        self._signals = WrappedSignals(env.observation_space, env.action_space, 1, shapes)
        self._bind(given)

    @property
    def constraints(self) -> ConstraintSet:
        """The constraints with their names, limits and cost limits."""
        return self._constraints

    def replace_constraints(self, constraints: Sequence[Constraint]) -> None:
        """Put others in place of the constraints; the environment needs a reset afterwards.

        Raises:
            SignalError: A constraint needs a signal that is not on offer.
        """
        self._bind(constraints)
        self._saved_kwargs = {**self._saved_kwargs, "constraints": [c.to_spec() for c in constraints]}
        self._cached_spec = None

    def _bind(self, constraints: Sequence[Constraint]) -> None:
        self._constraints = ConstraintSet(constraints, self._signals.offers())
        self._signals.require(self._constraints.requires)
        self._ledger = Ledger(self._constraints, 1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Info]:
        """Begin an episode; the info's costs are zero."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._signals.reset(_FIRST, _batch(observation), [info])
        self._ledger.episode_cost[:] = 0.0
        values = self._constraints.evaluate(self._signals.view).values
        return observation, {**info, **row(self._ledger.reset_info(values), 0)}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, Info]:
        """Step the environment and evaluate the constraints once.

        Raises:
            SignalError: The info lacks a key that a constraint reads.
        """
        acted = self._signals.acted([action])
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._signals.update(_FIRST, _batch(observation), acted, [float(reward)], [info])
        evaluation = self._constraints.evaluate(self._signals.view)
        cost = self._ledger.charge(evaluation, _FIRST)
        return observation, reward, terminated, truncated, {**info, **row(self._ledger.step_info(evaluation, cost), 0)}


class SixValue:
    """An environment whose step returns ``observation, reward, cost, terminated, truncated, info``.

    It is no `gymnasium.Env`, whose step returns five. All other attributes are the environment's.

    Args:
        env: A constrained environment.
    """

    def __init__(self, env: _Env) -> None:
        self.env = env

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Info]:
        """Begin an episode."""
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, float, bool, bool, Info]:
        """Step; the cost is the sum over the constraints that have a cost limit."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, float(reward), float(info["cost"]), terminated, truncated, info

    def __getattr__(self, name: str) -> Any:
        if name == "env":  # not set yet, as when a copy is being made
            raise AttributeError(name)
        return self.env.get_wrapper_attr(name)


class FiveValue(_Env):
    """A proper Gymnasium environment around one whose step returns six values; the cost is ``info["cost"]``, 0 on a reset.

    Args:
        env: It has ``observation_space``, ``action_space``, ``reset(seed=, options=)`` and a step of six values.
    """

    def __init__(self, env: Any) -> None:
        self.env = env
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.metadata = getattr(env, "metadata", None) or {"render_modes": []}
        self.render_mode = getattr(env, "render_mode", None)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Info]:
        """Begin an episode."""
        super().reset(seed=seed)
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, {**info, "cost": 0.0}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, Info]:
        """Step; the third of the six values goes into the info."""
        observation, reward, cost, terminated, truncated, info = self.env.step(action)
        return observation, float(reward), bool(terminated), bool(truncated), {**info, "cost": float(cost)}

    def render(self) -> Any:
        """Return what the environment renders."""
        return self.env.render()

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


def to_six_value(env: _Env) -> SixValue:
    """Return a constrained environment with the step that Safety-Gymnasium's users know.

    Args:
        env: An environment with constraints of which at least one has a cost limit.

    Raises:
        ConstraintError: It has no constraints, or its cost would always be zero.
    """
    constraints = own_constraints(env)
    if constraints is None:
        raise ConstraintError(f"to_six_value: {env} has no constraints; wrap it in saferl_envs.wrap.Constrained first")
    if not constraints.limited.any():
        raise ConstraintError(
            f"to_six_value: the cost is of constraints that have a cost_limit; none of {', '.join(constraints.names)} has one"
        )
    return SixValue(env)


def from_six_value(env: Any, cost_limit: float = 25.0, name: str = "cost") -> Constrained:
    """Return an environment whose step gives six values as a Gymnasium environment under one constraint, its cost.

    Args:
        env: As for `FiveValue`.
        cost_limit: Bound on the expected sum of costs per episode; Safety-Gymnasium's is 25.
        name: Name of the constraint.
    """
    excess = SignalLimit(name=name, signal=f"{INFO}cost", limit=0.0, cost="excess", cost_limit=cost_limit)
    return Constrained(FiveValue(env), [excess], info_shapes={"cost": ()})


def own_constraints(env: _Env) -> ConstraintSet | None:
    """Return the constraints that an environment says it has, or None."""
    try:
        found = env.get_wrapper_attr("constraints")
    except AttributeError:
        return None
    return found if isinstance(found, ConstraintSet) else None


def _batch(observation: Any) -> Any:
    """Return one copy's observation as that of N = 1 copies."""
    if isinstance(observation, Mapping):
        return {key: np.asarray(part)[np.newaxis] for key, part in observation.items()}
    return np.asarray(observation)[np.newaxis]


def _shapes_for(env: _Env, constraints: Sequence[Constraint]) -> dict[str, tuple[int, ...]]:
    """Return the info keys on offer, where a constraint reads one: those of a second instance, or of the environment itself."""
    if not any(name.startswith(INFO) for c in constraints for name in c.reads):
        return {}
    spec = env.spec
    if spec is not None:
        with contextlib.suppress(Exception):  # whatever keeps a second one from being made or stepped
            quiet = {"render_mode": None} if "render_mode" in spec.kwargs else {}
            second = gymnasium.make(spec, **quiet)
            try:
                return probe_info(second, seed=0)
            finally:
                second.close()
    return probe_info(env)

"""Which constraints judge copies of a Gymnasium environment, and where their values come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium

from saferl_envs.constraints import Constraint, ConstraintSet, Evaluation
from saferl_envs.constraints.resolve import resolve_constraints
from saferl_envs.errors import ConstraintError
from saferl_envs.gymnasium_make import said_in_one_line
from saferl_envs.signals import SignalInfo
from saferl_envs.wrap import Constrained, own_constraints
from saferl_envs.wrapped_signals import INFO, InfoShapes, WrappedSignals, numeric_shape, probe_info

Env = gymnasium.Env[Any, Any]
Specs = Sequence[Constraint | Mapping[str, Any]]
Changes = Mapping[str, float] | None
_VALUES = "constraint_values"


@dataclass(frozen=True)
class Judge:
    """Constraints, the signals they need, and whether the environment says their values itself."""

    constraints: ConstraintSet
    signals: WrappedSignals
    says_values: bool = False

    def evaluate(self) -> Evaluation:
        """Return values, costs and violations of the signals as they are."""
        if self.says_values:
            return self.constraints.judge(self.signals.view[INFO + _VALUES].copy())
        return self.constraints.evaluate(self.signals.view)


def find_judge(
    env_id: str,
    envs: Sequence[Env],
    another: Callable[[], Env],
    constraints: Specs | None,
    limits: Changes,
    cost_limits: Changes,
) -> Judge:
    """Return who judges copies of an environment.

    Args:
        env_id: For error messages.
        envs: The copies; their own constraints are changed where `limits` or `cost_limits` ask for it. They need a reset.
        another: Makes one to throw away, for a look at its info.
        constraints: Constraints or JSON specifications, or None for the environment's own.
        limits: New limits by constraint name.
        cost_limits: New cost limits by constraint name.

    Raises:
        ConstraintError: There are no constraints, a specification is invalid, or a limit names none.
        SignalError: A constraint needs a signal that the environment does not offer.
    """

    def source(info_shapes: InfoShapes) -> WrappedSignals:
        return WrappedSignals(envs[0].observation_space, envs[0].action_space, len(envs), info_shapes)

    own = own_constraints(envs[0]) if constraints is None else None
    if own is not None:
        with said_in_one_line(env_id, "reset"):
            says = envs[0].reset(seed=0)[1].get(_VALUES)
    if own is not None and numeric_shape(says) == (own.num_components,):
        signals = source({_VALUES: (own.num_components,)})
        signals.require((INFO + _VALUES,))
        return Judge(_changed(env_id, envs, own, limits, cost_limits), signals, says_values=True)
    chosen = resolve_constraints(own or (), constraints)
    if not chosen:
        raise ConstraintError(_how_to_constrain(env_id, source({}).offers()))
    chosen = resolve_constraints(chosen, None, limits, cost_limits)
    reads_info = any(name.startswith(INFO) for c in chosen for name in c.reads)
    signals = source(_look(another) if reads_info else {})
    bound = ConstraintSet(chosen, signals.offers())
    signals.require(bound.requires)
    return Judge(bound, signals)


def _changed(env_id: str, envs: Sequence[Env], own: ConstraintSet, limits: Changes, cost_limits: Changes) -> ConstraintSet:
    """Return the environment's own constraints, changed in every copy where asked."""
    changed = resolve_constraints(tuple(own), None, limits, cost_limits)
    if not limits and not cost_limits:
        return own
    layers = [_layer_of(env) for env in envs]
    for layer in layers:
        if layer is None:
            raise ConstraintError(
                f"limits and cost_limits: the constraints of {env_id} are its own and cannot be changed one by one; "
                "give all that are to hold under env.constraints"
            )
        layer.replace_constraints(changed)
    return own_constraints(envs[0]) or own


def _layer_of(env: Env) -> Constrained | None:
    """Return the wrapper whose constraints `env` says it has, if it is one of ours."""
    own = own_constraints(env)
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, Constrained) and env.constraints is own:
            return env
        env = env.env
    return None


def _look(another: Callable[[], Env]) -> dict[str, tuple[int, ...]]:
    """Return the info keys of an environment that is made for this and thrown away."""
    env = another()
    try:
        return probe_info(env, seed=0)
    finally:
        env.close()


def _how_to_constrain(env_id: str, offers: Mapping[str, SignalInfo]) -> str:
    """Return the words for an environment without constraints, with an example that would work."""
    signal = next(iter(offers))
    example = (
        f"{{family: signal_limit, name: mine, signal: {signal}, components: [{offers[signal].components[0]}], limit: 1.0}}"
    )
    return (
        f"{env_id} is under no constraint; give some under env.constraints, e.g. constraints: [{example}]; "
        f"signals: {', '.join(offers)}, info/<key>"
    )

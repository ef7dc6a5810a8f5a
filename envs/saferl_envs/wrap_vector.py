"""Constraints on any Gymnasium vector environment, in all three autoreset modes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray

from saferl_envs.constraints import Constraint, ConstraintSet, constraints_from_specs
from saferl_envs.errors import TaskError
from saferl_envs.info import Info
from saferl_envs.ledger import Ledger
from saferl_envs.signals import BoolArray, IntArray
from saferl_envs.wrapped_signals import INFO, InfoShapes, WrappedSignals, checked_info_shapes, numeric_shape

if TYPE_CHECKING:
    _VectorEnv = VectorEnv[Any, Any, Any]
    _VectorWrapper = VectorWrapper[Any, Any, Any, Any, Any]
else:
    _VectorWrapper = VectorWrapper


class ConstrainedVector(_VectorWrapper):
    """Puts constraints on N copies at once; the numbers are those of N `Constrained` environments.

    Every step and every reset brings the keys of `Constrained` as arrays (N, ...), with Gymnasium's ``_key`` masks. In the mode
    ``NEXT_STEP`` the step that resets a copy carries no cost of it. In ``SAME_STEP`` an ended copy's last values are in
    ``infos["final_info"]``, and its row in ``infos`` is that of its reset. In ``DISABLED`` the caller resets with
    ``options={"reset_mask": mask}``. A vector environment that does not say its mode has Gymnasium's default, ``NEXT_STEP``.

    Args:
        env: Any vector environment.
        constraints: Constraints or their JSON specifications.
        info_shapes: As for `Constrained`; where it is None and a constraint reads ``info/<key>``, the vector environment is
            reset and stepped once, here.

    Raises:
        ConstraintError: A specification is invalid, there is none, or two share a name.
        SignalError: A constraint needs a signal that the environment does not offer; the message lists those it does.
    """

    def __init__(
        self, env: _VectorEnv, constraints: Sequence[Constraint | Mapping[str, Any]], info_shapes: InfoShapes | None = None
    ) -> None:
        super().__init__(env)
        given = constraints_from_specs(constraints, "constraints")
        shapes = _shapes_for(env, given) if info_shapes is None else checked_info_shapes(info_shapes)
        self._mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        self._signals = WrappedSignals(env.single_observation_space, env.single_action_space, env.num_envs, shapes)
        self._constraints = ConstraintSet(given, self._signals.offers())
        self._signals.require(self._constraints.requires)
        self._ledger = Ledger(self._constraints, env.num_envs)
        self._pending = np.zeros(env.num_envs, np.bool_)

    @property
    def constraints(self) -> ConstraintSet:
        """The constraints with their names, limits and cost limits."""
        return self._constraints

    def reset(self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Info]:
        """Begin episodes in all copies, or in those of ``options["reset_mask"]`` (N,); costs are zero."""
        mask = np.ones(self.num_envs, np.bool_)
        if options is not None and options.get("reset_mask") is not None:
            mask = np.array(options["reset_mask"], np.bool_)
        # a copy: Gymnasium's vector environments take the mask out of the dictionary they are given
        observation, infos = self.env.reset(seed=seed, options=None if options is None else dict(options))  # type: ignore[arg-type]
        self._pending[mask] = False
        fresh = self._begin(np.flatnonzero(mask), observation, infos)
        for array in fresh.values():
            array[~mask] = 0
        return observation, {**infos, **_masked(fresh, mask)}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, Info]:
        """Step all copies and evaluate the constraints once.

        Raises:
            SignalError: An info lacks a key that a constraint reads.
            TaskError: The mode is ``SAME_STEP`` and a last observation is missing.
        """
        acted = self._signals.acted(actions)
        observation, reward, terminated, truncated, infos = self.env.step(actions)
        done, none = np.asarray(terminated) | np.asarray(truncated), np.zeros(self.num_envs, np.bool_)
        at_once = done if self._mode is AutoresetMode.SAME_STEP else none
        resetting = self._pending if self._mode is AutoresetMode.NEXT_STEP else none
        self._pending = done
        stepped = np.flatnonzero(~resetting)
        last = _last_observations(observation, infos, at_once)
        self._signals.update(stepped, last, acted, reward, self._last_infos(infos, at_once, stepped))
        evaluation = self._constraints.evaluate(self._signals.view)
        info = self._ledger.step_info(evaluation, self._ledger.charge(evaluation, stepped))
        infos = dict(infos)
        if at_once.any():
            final = {key: _rows_of(array, at_once) for key, array in info.items()}
            infos["final_info"] = {**infos.get("final_info", {}), **_masked(final, at_once)}
            infos["_final_info"] = at_once.copy()
        began = np.flatnonzero(at_once | resetting)
        if began.size:
            for key, fresh in self._begin(began, observation, infos).items():
                info[key][began] = fresh[began]
        return observation, reward, terminated, truncated, {**infos, **_masked(info, ~none)}

    def _begin(self, ids: IntArray, observation: Any, infos: Mapping[str, Any]) -> Info:
        """Begin episodes in some copies; return the info of that, in which only their rows are meant."""
        self._signals.reset(ids, observation, self._signals.per_copy(infos, ids))
        self._ledger.episode_cost[ids] = 0.0
        return self._ledger.reset_info(self._constraints.evaluate(self._signals.view).values)

    def _last_infos(self, infos: Mapping[str, Any], at_once: BoolArray, ids: IntArray) -> list[dict[str, Any]]:
        """Return the infos of some copies' steps; those of copies that were reset at once have moved to ``final_info``."""
        now = self._signals.per_copy(infos, ids)
        if not at_once.any():
            return now
        final = self._signals.per_copy(infos.get("final_info", {}), ids)
        return [final[j] if at_once[i] else now[j] for j, i in enumerate(ids.tolist())]


def _last_observations(observation: Any, infos: Mapping[str, Any], at_once: BoolArray) -> Any:
    """Return the observations (N, ...) of the step itself, those of copies that were reset at once from ``final_obs``."""
    if not at_once.any():
        return observation
    if "final_obs" not in infos:
        raise TaskError("a vector environment in autoreset mode SAME_STEP must give info['final_obs'] where a copy has ended")
    final = infos["final_obs"]
    if not isinstance(observation, Mapping):
        return _replaced(observation, final, at_once)
    last = {}
    for key, part in observation.items():
        # one dictionary of arrays, or one dictionary for each copy
        ended = final[key] if isinstance(final, Mapping) else {i: final[i][key] for i in np.flatnonzero(at_once).tolist()}
        last[key] = _replaced(part, ended, at_once)
    return last


def _replaced(batch: Any, rows: Any, mask: BoolArray) -> NDArray[Any]:
    """Return a copy of a batch (N, ...) with the masked copies' rows replaced."""
    out = np.array(batch, copy=True)
    for i in np.flatnonzero(mask).tolist():
        out[i] = rows[i]
    return out


def _rows_of(array: NDArray[Any], mask: BoolArray) -> NDArray[Any]:
    """Return an array with zeros in all rows but the masked ones."""
    out = np.zeros_like(array)
    out[mask] = array[mask]
    return out


def _masked(info: Info, mask: BoolArray) -> Info:
    """Add Gymnasium's ``_key`` arrays, which say whose entries are meant."""
    return info | {f"_{key}": mask.copy() for key in info}


def _shapes_for(env: _VectorEnv, constraints: Sequence[Constraint]) -> dict[str, tuple[int, ...]]:
    """Return the info keys on offer, where a constraint reads one, from one step of the vector environment."""
    if not any(name.startswith(INFO) for c in constraints for name in c.reads):
        return {}
    env.reset()
    infos = env.step(copy.deepcopy(env.action_space).sample())[4]
    shapes: dict[str, tuple[int, ...]] = {}
    for key, batch in infos.items():
        shape = numeric_shape(batch[0]) if isinstance(batch, np.ndarray) and not key.startswith("_") else None
        if shape is not None:
            shapes[key] = shape
    return shapes

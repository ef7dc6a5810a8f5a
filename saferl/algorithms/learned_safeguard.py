"""What policies that learn their safeguard share: steps tell of corrections, and logs meter them, as behind any safeguard."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from saferl.vec import LazyInfos
from saferl_controllers.meter import SafeguardMeter
from saferl_controllers.safeguard import Safeguarded, told_by

Array = np.ndarray[Any, Any]
TOUCHING = 1e-6
"""What a risk may exceed its limit by, and how far below the limit is aimed: rounding of the networks' single precision."""


class LearnedSafeguard:
    """Mixed in before an algorithm of Stable-Baselines3 that corrects its own actions.

    Where the environment has a safeguard too, that one corrects last, and tells what was executed.

    Attributes:
        rungs: How many rungs its fallback ladder has.
        behind_another: Whether the environment has a safeguard too.
        corrects: Whether `predict` corrects actions too; set it to False to see the upper policy alone.
    """

    rungs: ClassVar[int] = 1
    corrects: bool = True
    behind_another: bool = False
    _meter: SafeguardMeter | None = None
    _told: dict[str, Array]

    def collect_rollouts(self, env: VecEnv, *args: Any, **kwargs: Any) -> Any:
        """Collect steps whose infos tell of the corrections, by the keys of `saferl_controllers.GuardedCopies`."""
        algorithm: Any = super()
        return algorithm.collect_rollouts(_Told(env, self), *args, **kwargs)

    def executed(self, actions: Array) -> Array:
        """Return what a step's actions (N, ...) become on their way to the environment; it is not asked twice."""
        return actions

    def tell(self, found: Safeguarded, proposed: Array) -> None:
        """Let the next step's infos tell of a correction, in the environment's unit."""
        self._told = told_by(found, proposed)

    def meter(self, found: Safeguarded, proposed: Array, seconds: float) -> None:
        """Count a correction that took so long; actions in the unit of the log."""
        if self._meter is None:
            self._meter = SafeguardMeter(self.rungs)
        self._meter.add(found, np.linalg.norm(found.action - proposed, axis=1), seconds, slice(None))

    def record_safeguard(self, logger: Any) -> None:
        """Log what was metered since the last time: ``safeguard/...``, or ``learned_safeguard/...`` where there are two."""
        for key, value in (self._meter.take() if self._meter is not None else {}).items():
            logger.record(f"learned_{key}" if self.behind_another else key, value)

    def _excluded_save_params(self) -> list[str]:
        algorithm: Any = super()
        return [*algorithm._excluded_save_params(), "_meter", "_told", "behind_another"]


def untouched(actions: Array) -> Safeguarded:
    """Return actions (N, na) as a safeguard leaves them that has not begun."""
    n = len(actions)
    no = np.zeros(n, np.bool_)
    return Safeguarded(actions, ~no, np.zeros(n), no, no, np.zeros(n, np.intp))


class _Told(VecEnvWrapper):
    """An environment that is stepped through an algorithm's safeguard; all else is the environment's."""

    def __init__(self, env: VecEnv, algorithm: LearnedSafeguard) -> None:
        super().__init__(env)
        self._algorithm, self._looked = algorithm, False

    def reset(self) -> Any:
        """Begin anew."""
        return self.venv.reset()

    def step_async(self, actions: Array) -> None:
        """Pass on what is executed."""
        self.venv.step_async(self._algorithm.executed(actions))

    def step_wait(self) -> Any:
        """Return the environment's answer, with what became of the proposals."""
        observations, rewards, dones, infos = self.venv.step_wait()
        told, algorithm = self._algorithm._told, self._algorithm
        if not self._looked:  # once: infos cost time, and are built only for who reads them
            self._looked, algorithm.behind_another = True, "action_executed" in infos[0]

        def build(i: int) -> dict[str, Any]:
            info: dict[str, Any] = infos[i]
            if algorithm.behind_another:  # what was executed is for that one to say
                moved = bool(info["intervened"] or told["intervened"][i])
                return {**info, "action_proposed": told["action_proposed"][i], "intervened": moved}
            return {**info, **{key: each[i] for key, each in told.items()}}

        return observations, rewards, dones, LazyInfos(self.num_envs, build)

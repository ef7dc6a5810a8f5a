"""N copies of any Gymnasium environment under a constraint set, stepped one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from saferl_envs.constraints import Constraint
from saferl_envs.copies import Observation, Transition
from saferl_envs.errors import TaskError
from saferl_envs.gymnasium_judge import find_judge
from saferl_envs.gymnasium_make import make_env, said_in_one_line
from saferl_envs.gymnasium_renderer import TwinRenderer
from saferl_envs.gymnasium_spaces import ActionLog, Actions, ObservationBatch, same_bits
from saferl_envs.ledger import Ledger
from saferl_envs.noise import Noise, as_seeds
from saferl_envs.signals import BoolArray, FloatArray, IntArray, Signals

_UNLIMITED = 2**62  # steps
_COUNTERS = ("seeds", "episodes", "steps", "episode_seeds")


class Episode(NamedTuple):
    """Where the first copy is: a number that grows with every episode, the seed of its reset, and the steps since."""

    number: int
    seed: int
    steps: int


class GymnasiumCopies:
    """N copies of a Gymnasium environment.

    Constraints are those given, or else those that the environment says it has (``env.get_wrapper_attr("constraints")``, as
    under `saferl_envs.wrap.Constrained`). Of an environment's own, the values are those in its info where it gives
    ``constraint_values``, because it may compute them from what is not seen outside of it.

    Actions are handed over in the dtype of the action space, nothing clipped. Episode 1 of seed s is that of ``reset(seed=s)``,
    later ones are reset with seeds that follow from s and their number.

    Args:
        env_id: Anything `gymnasium.make` knows; ``package.module:Name-v0`` imports the module first.
        num_envs: Number of copies N.
        constraints: Constraints or JSON specifications, in place of the environment's own.
        limits: New limits by constraint name.
        cost_limits: New cost limits by constraint name.
        max_episode_steps: Steps before truncation, in place of the environment's own.
        **env_kwargs: Passed to the environment.

    Raises:
        TaskError: No such id, an argument is not accepted, or a space is not supported.
        ConstraintError: There are no constraints, a specification is invalid, or a limit names none.
        SignalError: A constraint needs a signal that the environment does not offer.
    """

    def __init__(
        self,
        env_id: str,
        num_envs: int = 1,
        *,
        constraints: Sequence[Constraint | Mapping[str, Any]] | None = None,
        limits: Mapping[str, float] | None = None,
        cost_limits: Mapping[str, float] | None = None,
        max_episode_steps: int | None = None,
        **env_kwargs: Any,
    ) -> None:
        for key, number in (("num_envs", num_envs), ("max_episode_steps", max_episode_steps)):
            if number is not None and (isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1):
                raise TaskError(f"{key} must be a positive whole number, got {number!r}")
        self.env_id, self.num_envs = env_id, int(num_envs)
        self._make = partial(make_env, env_id, max_episode_steps, **env_kwargs)
        env = self._make()
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self._observation = ObservationBatch(env.observation_space, num_envs, env_id)
        self._actions = Actions(env.action_space, num_envs, env_id)
        another = partial(self._make, disable_env_checker=True)
        # one copy's returns are checked by Gymnasium's passive checker, which would say the same of each
        self._envs = [env, *(another() for _ in range(num_envs - 1))]
        self.max_episode_steps = int(getattr(env.spec, "max_episode_steps", None) or _UNLIMITED)
        fps = env.metadata.get("render_fps") or 0
        self.control_timestep = 1.0 / (fps if fps > 0 else 30.0)
        self.reward_names: tuple[str, ...] = ("reward",)
        self.extras: Mapping[str, tuple[int, ...]] = {}
        self._all = np.arange(num_envs)
        self.seeds = self._all.astype(np.uint64)
        self.episodes = np.zeros(num_envs, np.int64)
        self.steps = np.zeros(num_envs, np.int64)
        self.episode_seeds = self.seeds.copy()
        self._ended = np.zeros(num_envs, np.bool_)
        self._begun = 0
        self._log = ActionLog(self._actions)
        self._judge = find_judge(env_id, self._envs, another, constraints, limits, cost_limits)
        self.constraints = self._judge.constraints
        self._ledger = Ledger(self.constraints, num_envs)
        self.reset()

    def seed(self, seeds: ArrayLike, ids: IntArray | None = None) -> None:
        """Give some copies, or all, a seed each, and forget how many episodes they have begun.

        Raises:
            TaskError: A seed is negative, no whole number, or has more than 64 bits.
        """
        which = self._all if ids is None else ids
        self.seeds[which] = as_seeds(seeds)
        self.episodes[which] = 0

    def reset(self, ids: IntArray | None = None) -> None:
        """Begin a new episode for some copies (sorted ids), or for all."""
        which = self._all if ids is None else np.asarray(ids)
        self.episodes[which] += 1
        later = Noise(self.seeds[which], self.episodes[which], np.zeros(len(which))).bits("episode", 1)[:, 0]
        # 31 bits, because some environments hand their seed to a generator that takes no more
        drawn = later >> np.uint64(33)
        self.episode_seeds[which] = np.where(self.episodes[which] == 1, self.seeds[which], drawn)
        self._begin(which)

    def observe(self) -> Observation:
        """Return the present observation of every copy: a new (N, ...) array, or a dictionary of such for a `Dict` space."""
        return self._observation.copy()

    def present(self) -> Signals:
        """Return the present signals that the constraints read."""
        return self._judge.signals.view

    def values(self, ids: IntArray | None = None) -> FloatArray:
        """Return the present signed constraint values of all copies or of some, (N, K) or (len(ids), K)."""
        found = self._judge.evaluate().values
        return found if ids is None else found[ids]

    def step(self, actions: ArrayLike, ids: IntArray | None = None) -> Transition:
        """Advance by one step.

        Args:
            actions: (N, na) for a Box, (N,) whole numbers for a `Discrete` space. Not clipped.
            ids: Sorted copies to advance, or None for all. The rows of others are meaningless in what is returned.

        Raises:
            TaskError: The actions' shape is wrong, a number is not finite, or an episode has ended and was not reset.
            SignalError: An info lacks a key that a constraint reads.
        """
        which = self._all if ids is None else np.asarray(ids)
        action = self._actions.check(actions, ids)
        over = which[self._ended[which]]
        if over.size:
            raise TaskError(
                f"{self.env_id}: the episodes of copies {over[:5].tolist()} have ended; reset them before the next step"
            )
        reward, terminated, truncated = self._advance(action, which)
        evaluation = self._judge.evaluate()
        cost = self._ledger.charge(evaluation, which)
        return Transition(
            self._observation.copy(), reward, {"reward": reward.copy()}, terminated, truncated, *evaluation, cost,
            self._ledger.episode_cost.copy(), np.zeros(self.num_envs, np.bool_),
        )  # fmt: skip

    def renderer(self, width: int, height: int) -> TwinRenderer:
        """Return what draws the first copy in frames of `width` x `height` pixels; nothing is opened before the first."""
        return TwinRenderer(self, width, height)

    @property
    def first(self) -> gymnasium.Env[Any, Any]:
        """The first copy's environment."""
        return self._envs[0]

    @property
    def episode(self) -> Episode:
        """Where the first copy is."""
        return Episode(self._begun, int(self.episode_seeds[0]), int(self.steps[0]))

    def sees(self, observation: Any) -> bool:
        """Return whether an observation is the first copy's present one, bit for bit."""
        batch = ObservationBatch(self.observation_space, 1, self.env_id)
        batch.store(0, observation)
        return same_bits(batch.state(), {key: array[:1] for key, array in self._observation.state().items()})

    def first_actions(self, start: int, stop: int) -> NDArray[Any]:
        """Return the actions of the first copy's present episode from step `start` up to `stop`."""
        return self._log.first(start, stop)

    def twin(self) -> gymnasium.Env[Any, Any]:
        """Return a further environment of the same arguments that can be drawn.

        Raises:
            TaskError: It cannot be made.
        """
        return self._make(render_mode="rgb_array", disable_env_checker=True)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what determines how the copies go on: seeds, and the actions of each copy's present episode; new arrays.

        An environment of somebody else cannot be taken apart, so `load_state` plays the episodes again up to here.
        """
        counters = {key: getattr(self, key).copy() for key in _COUNTERS}
        own = {"episode_cost": self._ledger.episode_cost.copy(), "actions": self._log.until(self.steps)}
        return {**counters, **own, **self._observation.state()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on, bit for bit, from where `state` was taken.

        Raises:
            TaskError: The state is of another environment or number of copies, or the environment, seeded and given the same
                actions, does not come to the observations it came to before. The copies then need `seed` and `reset`.
        """
        self._refuse_misfit(state)
        observation = self._observation.state().keys()
        lengths, actions = state["steps"], state["actions"]
        self.episode_seeds[:] = state["episode_seeds"]
        self._begin(self._all)
        ended_early = False
        for t in range(actions.shape[1]):
            which = np.flatnonzero(lengths > t)
            ended_early = bool(self._ended[which].any())
            if ended_early:
                break
            self._advance(actions[:, t].copy(), which)
        if ended_early or not same_bits(self._observation.state(), {key: state[key] for key in observation}):
            raise TaskError(
                f"{self.env_id} is not deterministic under its seed, so it cannot be resumed exactly: the same actions led to "
                "another observation"
            )
        for key in _COUNTERS:
            getattr(self, key)[:] = state[key]
        self._ledger.episode_cost[:] = state["episode_cost"]

    def metrics(self) -> Mapping[str, float]:
        """Return nothing: Gymnasium has no such notion."""
        return {}

    def outcomes(self) -> Mapping[str, FloatArray]:
        """Return nothing: Gymnasium has no such notion."""
        return {}

    def close(self) -> None:
        """Close all environments."""
        for env in self._envs:
            env.close()

    def _refuse_misfit(self, state: Mapping[str, NDArray[Any]]) -> None:
        mine = self.state()
        missing = [key for key in mine if key not in state]
        strange = [key for key in state if key not in mine]
        wrong: list[str] = []
        if not missing:
            # the log is as long as the longest episode, here and there
            longest = int(np.max(state["steps"], initial=0))
            shapes = {key: array.shape for key, array in mine.items()}
            shapes["actions"] = (self.num_envs, longest, *self._actions.shape[1:])
            wrong = [key for key, shape in shapes.items() if state[key].shape != shape]
        for problem, keys in (("lacks", missing), ("has an unknown", strange), ("has another shape in", wrong)):
            if keys:
                raise TaskError(f"the saved state {problem} {keys[0]!r}; it is of another environment or number of copies")

    def _begin(self, which: IntArray) -> None:
        """Reset some copies with the seeds of their episodes."""
        infos = []
        for i in which.tolist():
            with said_in_one_line(self.env_id, "reset"):
                observation, info = self._envs[i].reset(seed=int(self.episode_seeds[i]))
            self._observation.store(i, observation)
            infos.append(info)
        self.steps[which] = 0
        self._ended[which] = False
        self._ledger.episode_cost[which] = 0.0
        self._begun += int((which == 0).any())
        self._judge.signals.reset(which, self._observation.live, infos)

    def _advance(self, action: NDArray[Any], which: IntArray) -> tuple[FloatArray, BoolArray, BoolArray]:
        """Step some copies; return rewards, whether terminated, whether truncated, (N,) each."""
        reward = np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), np.bool_)
        self._log.note(action, which, self.steps)
        acted, infos = self._judge.signals.acted(action), []
        for i in which.tolist():
            with said_in_one_line(self.env_id, "stepped"):
                observation, reward[i], terminated[i], truncated[i], info = self._envs[i].step(action[i])
            self._observation.store(i, observation)
            infos.append(info)
        self.steps[which] += 1
        self._ended[which] = (terminated | truncated)[which]
        self._judge.signals.update(which, self._observation.live, acted, reward, infos)
        return reward, terminated, truncated

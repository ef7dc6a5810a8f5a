"""The engine: one task on N copies, its constraints evaluated at every step. Every face of an environment drives this one.

It never resets a copy by itself: the single, vector and Stable-Baselines3 faces each have their own rule for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from saferl_envs.compile_model import compile_model
from saferl_envs.constraints import Constraint, ConstraintSet
from saferl_envs.copies import Transition
from saferl_envs.disturbances import Disturbance, Disturbed
from saferl_envs.env_renderer import EnvRenderer
from saferl_envs.errors import ConstraintError, TaskError
from saferl_envs.mujoco_signals import MujocoSignals
from saferl_envs.noise import Noise, as_seeds
from saferl_envs.signals import BoolArray, FloatArray, IntArray, Signals
from saferl_envs.simulation import Simulation
from saferl_envs.spaces import action_space, observation_space
from saferl_envs.task import Memory, Task


class Engine:
    """N copies of a task.

    Args:
        task: What to simulate.
        num_envs: Number of copies N.
        threads: Threads for physics, 0 for all cores; results do not depend on it.
        constraints: In place of the task's own, or None for those.
        max_episode_steps: In place of the task's own, or None for that.
        dump_dir: Where the last good state of a diverged copy is written, or None.
        disturbances: What to judge a policy under, beside what the task randomises.

    Raises:
        SignalError: A constraint or the task needs a signal, joint or geom that does not exist.
        ConstraintError: The constraints are empty, or two share a name.
        TaskError: The model or a number is invalid.
    """

    def __init__(
        self,
        task: Task,
        num_envs: int = 1,
        *,
        threads: int = 0,
        constraints: Sequence[Constraint] | None = None,
        max_episode_steps: int | None = None,
        dump_dir: str | Path | None = None,
        disturbances: tuple[Disturbance, ...] = (),
    ) -> None:
        wanted = tuple(task.constraints if constraints is None else constraints)
        if not wanted:
            raise ConstraintError(f"{type(task).__name__} needs at least one constraint")
        steps = task.max_episode_steps if max_episode_steps is None else max_episode_steps
        if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
            raise TaskError(f"max_episode_steps must be a positive whole number, got {steps!r}")
        required = set(task.requires).union(*(c.reads for c in wanted))
        model = compile_model(task, required)
        self.task, self.num_envs, self.max_episode_steps = task, num_envs, int(steps)
        self.simulation = Simulation(model, num_envs, _substeps(task, model.opt.timestep), threads, dump_dir)
        self._disturbed = Disturbed(disturbances, model, task.base_body, num_envs, self.simulation.control_timestep)
        self.signals = MujocoSignals(task, self.simulation, required)
        self.constraints = ConstraintSet(wanted, self.signals.offers())
        self.seeds = np.arange(num_envs, dtype=np.uint64)
        self.episodes = np.zeros(num_envs, np.int64)
        self.steps = np.zeros(num_envs, np.int64)
        self.episode_cost = np.zeros(num_envs)
        self.memory: Memory = task.initial_memory(self._noise(np.arange(num_envs)))
        self._disturbs = bool(self._disturbed) or type(task).disturb is not Task.disturb
        self._limited = np.flatnonzero(self.constraints.limited)
        self._all = np.arange(num_envs)
        self.reset()
        self.reward_names = tuple(task.reward(self.signals.view, self.memory))
        self.extras: Mapping[str, tuple[int, ...]] = {}
        self.control_timestep = self.simulation.control_timestep
        self.action_space: spaces.Box = action_space(*task.action_bounds(model))
        self.observation_space: spaces.Box = observation_space(self.observe().shape[1])

    def seed(self, seeds: ArrayLike, ids: IntArray | None = None) -> None:
        """Give some copies, or all, a seed each, and forget how many episodes they have begun.

        Raises:
            TaskError: A seed is negative, no whole number, or has more than 64 bits.
        """
        which = self._all if ids is None else ids
        self.seeds[which] = as_seeds(seeds)
        self.episodes[which] = 0

    def _noise(self, ids: IntArray) -> Noise:
        return Noise(self.seeds[ids], self.episodes[ids], self.steps[ids])

    def reset(self, ids: IntArray | None = None, options: Mapping[str, Any] | None = None) -> None:
        """Begin a new episode for some copies (sorted ids), or for all; see `Task.arrange` for options.

        Raises:
            TaskError: An option is unknown to the task, or invalid. The copies then are as they were.
        """
        if not options:
            self._begin(ids, {})
            return
        before = self.episodes.copy(), self.steps.copy(), self.episode_cost.copy()
        memory = {key: array.copy() for key, array in self.memory.items()}
        try:
            self._begin(ids, options)
        except TaskError:
            self.episodes[:], self.steps[:], self.episode_cost[:] = before
            for key, array in memory.items():
                self.memory[key][...] = array  # in place: signals show these very arrays
            raise

    def _begin(self, ids: IntArray | None, options: Mapping[str, Any]) -> None:
        which = self._all if ids is None else ids
        seen = self.episodes[which] > 0
        self.episodes[which] += 1
        self.steps[which] = 0
        self.episode_cost[which] = 0.0
        noise = self._noise(which)
        self._remember(which, noise, seen)
        memory = {key: array[which] for key, array in self.memory.items()}
        if options:
            memory = self.task.arrange(noise, memory, options)
            for key, array in memory.items():
                self.memory[key][which] = array
        fields = self._disturbed.fields(self.task.randomize(noise, self.simulation.model, memory), len(which))
        if fields:
            self.simulation.set_model_fields(which, fields)
        self.simulation.set_state(which, *self.task.place(noise, self.simulation.model, memory))
        self.signals.show_memory(self.memory)
        self.signals.reset(which)
        if self._disturbed:
            self._disturbed.begin(which, self.task.control(self.signals.view["action"], self.memory)[which])

    def _remember(self, which: IntArray, noise: Noise, seen: BoolArray) -> None:
        """Let copies remember what they do at the start of an episode: their first, or one that follows another (`seen`)."""
        if not self.memory:
            return
        first, following = self.task.initial_memory(noise), {}
        if seen.any() and type(self.task).next_memory is not Task.next_memory:
            last = {key: array[which] for key, array in self.memory.items()}
            following = self.task.next_memory(noise, last, {key: array[which] for key, array in self.signals.view.items()})
            if following.keys() != first.keys():
                raise TaskError(
                    f"next_memory returns {sorted(following)}, initial_memory {sorted(first)}: they must be the same"
                )
        for key, start in first.items():
            chosen = (
                start if not following else np.where(seen[(...,) + (np.newaxis,) * (start.ndim - 1)], following[key], start)
            )
            self.memory[key][which] = chosen

    def observe(self) -> FloatArray:
        """Return the present observation of every copy, a new (N, obs) array."""
        return self.task.observe(self.signals.view, self.memory)

    def present(self) -> Signals:
        """Return the present signals that the task and its constraints require."""
        return self.signals.view

    def values(self, ids: IntArray | None = None) -> FloatArray:
        """Return the present signed constraint values of all copies or of some, (N, K) or (len(ids), K)."""
        view = self.signals.view
        some = view if ids is None else {name: view[name][ids] for name in self.constraints.requires}
        return self.constraints.values(some)

    def step(self, actions: ArrayLike, ids: IntArray | None = None) -> Transition:
        """Advance by one control step.

        Args:
            actions: (N, na). Not clipped: MuJoCo clamps controls to their ranges, reward terms see the action itself.
            ids: Sorted copies to advance, or None for all. The rows of others are meaningless in what is returned.

        Raises:
            TaskError: The actions' shape is wrong or a number is not finite.
        """
        bad, idle = self._act(actions, ids)
        return self._transition(bad, idle)

    def step_values(self, actions: ArrayLike, ids: IntArray | None = None) -> tuple[FloatArray, BoolArray]:
        """Advance as `step` does and return constraint values (N, K) and who diverged (N,) alone, for looking ahead.

        No reward, observation or cost is made. Divergences are not reported.
        """
        bad, idle = self._act(actions, ids)
        values, diverged = self.values(), np.zeros(self.num_envs, np.bool_)
        diverged[bad] = True
        self._advance_memory(idle)
        return values, diverged

    def _act(self, actions: ArrayLike, ids: IntArray | None) -> tuple[IntArray, IntArray | None]:
        """Take actions, step physics and bring signals up to date; return who diverged, and who was not to be advanced."""
        action = np.array(actions, copy=True)
        if action.shape != (self.num_envs, self.action_space.shape[0]):
            raise TaskError(f"actions have shape {action.shape}, expected {(self.num_envs, self.action_space.shape[0])}")
        if action.dtype.kind != "f":
            action = action.astype(np.float64)
        finite = np.isfinite(action).all(axis=1)
        if not finite.all() and not (finite if ids is None else finite[ids]).all():
            culprits = np.flatnonzero(~finite).tolist()
            raise TaskError(f"actions of copies {culprits[:5]} are not finite")
        signals, task = self.signals, self.task
        idle = None if ids is None else np.setdiff1d(self._all, ids)
        kept = None if idle is None else signals.rows(idle)
        signals.before_step()
        signals.set_action(action)
        if self._disturbs:
            self._disturb(ids)
        ctrl, late = task.control(action, self.memory), None
        if self._disturbed:
            ctrl, before = self._disturbed.controls(ctrl)
            late = (self._disturbed.late, before)
        self.simulation.ctrl[:] = ctrl
        bad = self.simulation.step(ids, late)
        self.steps[self._all if ids is None else ids] += 1
        signals.update()
        if idle is not None and kept is not None:
            signals.put_back(idle, kept)
        return bad, idle

    def _disturb(self, ids: IntArray | None) -> None:
        which = self._all if ids is None else ids
        qvel = self.simulation.qvel[which]
        noise = self._noise(which)
        self.task.disturb(noise, qvel)
        self._disturbed.push(noise, self.steps[which], qvel)
        self.simulation.qvel[which] = qvel

    def renderer(self, width: int, height: int) -> EnvRenderer:
        """Return what draws the first copy in frames of `width` x `height` pixels."""
        return EnvRenderer(self.simulation, self.task.camera, width, height, lambda: self.task.markers(self.memory))

    @property
    def disturbed(self) -> bool:
        """Whether an evaluation disturbs the copies, which no look-ahead foresees."""
        return bool(self._disturbed)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that decides how the copies go on, as new arrays."""
        own = {"seeds": self.seeds, "episodes": self.episodes, "steps": self.steps, "episode_cost": self.episode_cost}
        parts = {"": own, "simulation/": self.simulation.state(), "signals/": self.signals.state(), "memory/": self.memory}
        return {prefix + key: array.copy() for prefix, part in parts.items() for key, array in part.items()}

    def load_state(self, state: Mapping[str, NDArray[Any]], exact: bool = True) -> None:
        """Go on, bit for bit, from where `state` was taken.

        Args:
            state: What `state` returned.
            exact: See `Simulation.load_state`.

        Raises:
            TaskError: The state is of another task, number of copies or version, or the copies are disturbed.
        """
        if self._disturbed:
            raise TaskError("disturbed copies are for evaluation and cannot go on from a saved state")
        mine = self.state()
        # model fields that differ between copies exist only once a copy has been given its own; only those that the task
        # randomises are taken from a state, since others, written by somebody who means harm, reach into MuJoCo's memory
        varied = self.task.randomize(self._noise(self._all), self.simulation.model, self.memory)
        own = {f"simulation/model/{field}" for field in varied}
        missing = [key for key in mine if key not in state]
        wrong = [key for key in state if key in mine and state[key].shape != mine[key].shape]
        strange = [key for key in state if key not in mine and key not in own]
        for problem, keys in (("lacks", missing), ("has another shape in", wrong), ("has an unknown", strange)):
            if keys:
                raise TaskError(f"the saved state {problem} {keys[0]!r}; it is of another task or number of copies")

        def part(prefix: str) -> dict[str, NDArray[Any]]:
            return {key[len(prefix) :]: array for key, array in state.items() if key.startswith(prefix)}

        self.simulation.load_state(part("simulation/"), exact)
        self.signals.load_state(part("signals/"))
        for key, saved in part("memory/").items():
            self.memory[key] = saved.copy()
        self.signals.show_memory(self.memory)
        for key in ("seeds", "episodes", "steps", "episode_cost"):
            getattr(self, key)[:] = state[key]

    def metrics(self) -> Mapping[str, float]:
        """Return the task's `metrics` as ``task/<name>``."""
        return {f"task/{name}": value for name, value in self.task.metrics(self.memory).items()}

    def outcomes(self) -> Mapping[str, FloatArray]:
        """Return the task's `outcomes`."""
        return self.task.outcomes(self.memory)

    def close(self) -> None:
        """Nothing is held that Python does not free."""

    def _transition(self, bad: IntArray, idle: IntArray | None = None) -> Transition:
        task, view = self.task, self.signals.view
        # copies: a term may be a view of a live signal, or float32 as the action is
        terms = {name: np.array(term, np.float64) for name, term in task.reward(view, self.memory).items()}
        reward = np.zeros(self.num_envs)
        for term in terms.values():
            reward += term
        evaluation = self.constraints.evaluate(view)
        ended = task.terminated(view, self.memory)
        terminated = np.zeros(self.num_envs, np.bool_) if ended is None else ended
        diverged = np.zeros(self.num_envs, np.bool_)
        if bad.size:
            diverged[bad] = True
            terminated = terminated | diverged
            for i in bad.tolist():
                self.simulation.report_divergence(i, int(self.steps[i]), int(self.seeds[i]))
        truncated = self.steps >= self.max_episode_steps
        cost = np.zeros(self.num_envs)
        for c in self._limited:
            cost += evaluation.costs[:, c]
        if idle is not None:
            cost[idle] = 0.0
        self.episode_cost += cost
        self._advance_memory(idle)
        return Transition(
            self.observe(), reward, terms, terminated, truncated, evaluation.values, evaluation.costs,
            evaluation.violated, cost, self.episode_cost.copy(), diverged,
        )  # fmt: skip

    def _advance_memory(self, idle: IntArray | None) -> None:
        if not self.memory:
            return
        before, self.memory = self.memory, self.task.advance(self.memory, self.signals.view, self._noise(self._all))
        if idle is not None:
            for key, array in self.memory.items():
                array[idle] = before[key][idle]
        self.signals.show_memory(self.memory)


def _substeps(task: Task, timestep: float) -> int:
    """Return the physics steps per control step.

    Raises:
        TaskError: The control timestep is not a whole multiple of the model's.
    """
    substeps = round(task.control_timestep / timestep)
    if substeps < 1 or abs(substeps * timestep - task.control_timestep) > 1e-9:
        raise TaskError(
            f"control_timestep {task.control_timestep} s of {type(task).__name__} is not a whole multiple of the model's "
            f"timestep {timestep} s"
        )
    return substeps

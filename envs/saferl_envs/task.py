"""Task: the one abstract class that an environment author fills in.

A task is pure functions of arrays over N copies: no loop over copies, no rendering, no generator of its own. The same code
runs one environment (N = 1) and a batch of 512, and gives the same bits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import mujoco
import numpy as np

from saferl_envs.constraints import Constraint
from saferl_envs.noise import Noise
from saferl_envs.signals import BoolArray, FloatArray, SignalInfo, Signals

Memory = dict[str, FloatArray]
"""What a task remembers between steps: name to an array with a leading axis N."""


class State(NamedTuple):
    """Initial state of n copies: positions (n, nq) and velocities (n, nv) in MuJoCo's order."""

    qpos: FloatArray
    qvel: FloatArray


class Task(ABC):
    """One robot doing one thing under named constraints.

    A subclass fills in the class attributes and the abstract methods; it may be given keyword arguments, which become the
    keyword arguments of `gymnasium.make`.

    Attributes:
        control_timestep: Seconds per control step; a whole multiple of the model's timestep.
        max_episode_steps: Control steps before an episode is truncated.
        requires: Signals that `observe`, `reward`, `terminated`, `advance` and `control` read.
        base_joints: Joints that move the base (``rootx`` ...) and are not joints of the robot for joint constraints.
        base_body: Body whose pose the ``base_*`` signals describe, or None for a robot fixed to the world.
        contact_groups: Group name to geom names, behind the signals ``contact_force/<group>`` and the like.
        contact_partners: Group name to a body, where only contacts with that body and what moves with it count.
        memory_signals: What of the memory constraints may read too, e.g. the command: name to components and unit.
        derived_signals: What the task derives from other signals in `derive`, e.g. a height scan: name to components, unit.
        camera: Name of the camera for rendering, or None for one that follows the base.
        rest: Positions (nq,) at which the robot may stand still within its constraints, or None for the model's own.
    """

    control_timestep: ClassVar[float]
    max_episode_steps: ClassVar[int] = 1000
    requires: ClassVar[tuple[str, ...]] = ("qpos", "qvel", "action")
    base_joints: ClassVar[tuple[str, ...]] = ()
    base_body: ClassVar[str | None] = None
    contact_groups: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    contact_partners: ClassVar[Mapping[str, str]] = {}
    memory_signals: ClassVar[Mapping[str, SignalInfo]] = {}
    derived_signals: ClassVar[Mapping[str, SignalInfo]] = {}
    camera: ClassVar[str | None] = None
    rest: ClassVar[tuple[float, ...] | None] = None

    @abstractmethod
    def spec(self) -> mujoco.MjSpec:
        """Return the model before compilation. Sensors that constraints need are added to it by the caller."""

    @property
    @abstractmethod
    def constraints(self) -> tuple[Constraint, ...]:
        """The constraints of the task, at least one."""

    @abstractmethod
    def initial_state(self, noise: Noise, model: mujoco.MjModel) -> State:
        """Return the initial state of ``noise.n`` copies."""

    def place(self, noise: Noise, model: mujoco.MjModel, memory: Memory) -> State:
        """Return the initial state of copies that remember `memory`, where it depends on that (on which terrain they stand)."""
        return self.initial_state(noise, model)

    @abstractmethod
    def observe(self, signals: Signals, memory: Memory) -> FloatArray:
        """Return the observation, a new (N, obs) array."""

    @abstractmethod
    def reward(self, signals: Signals, memory: Memory) -> Mapping[str, FloatArray]:
        """Return named reward terms, each (N,); the reward is their sum in this order."""

    def terminated(self, signals: Signals, memory: Memory) -> BoolArray | None:
        """Return (N,) whether the episode ends in a terminal state, or None where it never does."""
        return None

    def derive(self, signals: Signals) -> Mapping[str, FloatArray]:
        """Return the arrays (N, d) of `derived_signals`, after every step and reset and before anything else reads them."""
        return {}

    def metrics(self, memory: Memory) -> Mapping[str, float]:
        """Return numbers that say how training goes, logged as ``task/<name>``; by default none."""
        return {}

    def outcomes(self, memory: Memory) -> Mapping[str, FloatArray]:
        """Return how episodes that end now have gone, (N,) each, NaN where a number does not apply; by default nothing."""
        return {}

    def control(self, action: FloatArray, memory: Memory) -> FloatArray:
        """Return MuJoCo's controls (N, nu) for actions (N, na); by default the action itself."""
        return action

    def brake(self, qpos: FloatArray, qvel: FloatArray) -> FloatArray | None:
        """Return actions (N, na) that bring robots in states (N, nq) and (N, nv) to a stop; None where the task knows none."""
        return None

    def at_rest(self, qpos: FloatArray, qvel: FloatArray) -> BoolArray | None:
        """Return (N,) whether `brake` has nothing left to do, and no constraint changes any more; None where nobody can say."""
        return None

    def swerves(self, actions: FloatArray) -> FloatArray | None:
        """Return (N, S, na) what gets robots out of the way in place of actions (N, na); None where the task knows nothing."""
        return None

    def action_bounds(self, model: mujoco.MjModel) -> tuple[FloatArray, FloatArray]:
        """Return the action space's bounds (na,); by default the actuators' control ranges."""
        low, high = model.actuator_ctrlrange.T
        return np.asarray(low, np.float64), np.asarray(high, np.float64)

    def initial_memory(self, noise: Noise) -> Memory:
        """Return what ``noise.n`` copies remember at the start of an episode; by default nothing."""
        return {}

    def next_memory(self, noise: Noise, last: Memory, signals: Signals) -> Memory:
        """Return what copies remember at the start of an episode that follows another; by default as in their first.

        Args:
            noise: Of the n copies.
            last: What they remembered at the end of the episode before, n rows.
            signals: Of that end, n rows.
        """
        return self.initial_memory(noise)

    def arrange(self, noise: Noise, memory: Memory, options: Mapping[str, Any]) -> Memory:
        """Return what copies remember at the start of an episode for which ``reset(options=...)`` asks something.

        By default options are ignored.

        Args:
            noise: Of the n copies.
            memory: What they would remember, n rows.
            options: Those of the reset.

        Raises:
            TaskError: An option is unknown or invalid.
        """
        return memory

    def markers(self, memory: Memory) -> Mapping[str, FloatArray]:
        """Return where bodies that are only seen stand, (N, 3) m each, by the names of the model's mocap bodies."""
        return {}

    def disturb(self, noise: Noise, qvel: FloatArray) -> None:  # noqa: B027 - a hook, not a duty
        """Change velocities (n, nv) in place before a step, e.g. by a push; by default nothing."""

    def advance(self, memory: Memory, signals: Signals, noise: Noise) -> Memory:
        """Return the memory after a step, once rewards and constraints have been evaluated."""
        return memory

    def randomize(self, noise: Noise, model: mujoco.MjModel, memory: Memory) -> Mapping[str, FloatArray]:
        """Return per-copy values of model fields for the coming episode, ``{"geom_friction": (n, ngeom, 3)}``.

        Args:
            noise: Of the n copies.
            model: The model.
            memory: What they remember at the start of the episode, n rows.
        """
        return {}

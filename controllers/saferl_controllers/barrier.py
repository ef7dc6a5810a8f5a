"""A barrier safeguard: actions that a robot can still be brought to rest after, seen by looking ahead in the simulation.

For any task with constraints ``g <= 0``. With margins ``m = -g``, less what is asked to be kept beyond, action a is followed by
a backup controller for the rest of a horizon, which gives margins ``m_t(a)``, t = 1 ... T. Asked is the discrete-time barrier
condition (Agrawal and Sreenath 2017) from the present margin on, along the whole of it, and never more than the backup alone
achieves::

    m_t(a) >= floor_t = min((1 - rate)^t m_0, m_t(backup)),   and >= 0 where the backup stays above 0

Where a proposed action does not meet it, rows ``J (a' - a) >= floor - m(a)`` with J by finite differences of the batched
simulation give the closest action that does to first order, and so on from there. That a backup trajectory extends the barrier
function to limits on positions is Gurriet, Mote, Ames and Feron 2018 (backup sets); taking the rows of all its steps, and the
floor, are ours. Three options of ours depart from this: `margin_rate` lowers the floor of a robot at its margin and lets
corrections aim back out of it; `until_rest` takes a robot that the backup has brought to rest to stand from there on; `swerve`
lets robots go round what they would only be stopped by.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, model_validator

from saferl_controllers.backup import Backup, Brake, holding_backup, linear_backup, returning_backup
from saferl_controllers.look_ahead import LookAhead, Tried
from saferl_controllers.projection.fast import PolytopeProjection
from saferl_controllers.registry import SafeguardSettings, register_safeguard
from saferl_controllers.safeguard import Safeguard, Safeguarded, require_width
from saferl_controllers.swerve import Swerve
from saferl_envs.copies import Copies
from saferl_envs.engine import Engine
from saferl_envs.errors import ConfigError
from saferl_envs.signals import BoolArray, FloatArray, IntArray, Signals

ROWS = 24
"""How many of the horizon's rows are projected onto: those with the least room."""
_AT, _OUTER = 0.1, 0.5
"""Shares of the margin: how close to it a robot stands at it, and how much of it `margin_rate` gives away."""
_TIGHTEN = 1e-6
"""Of the floor, relative to the margins, so that rounding does not undo what was projected."""


class BarrierSafeguard(Safeguard):
    """Keeps copies of a task where a backup controller keeps their constraints.

    Args:
        engine: The copies; `filter` corrects actions for their present state.
        backup: What follows an action in the look-ahead.
        horizon: T, control steps looked ahead, the first of them with the action.
        rate: Share of its margin that a constraint may lose per step.
        rounds: How often the rows are taken anew before the ladder goes on.
        about: Which action they are taken about first, the proposal or the backup's; then the last that was tried.
        difference: Of the finite differences, as a share of the actions' range.
        constraints: Names of those to keep, or None for all.
        margin: How far from their limits constraint values are kept, in their unit, where the backup allows.
        margin_rate: Share of what is left of the margin's outer half that may be lost per step by a robot at the margin, which
            corrections bring back at that rate, or else one coordinate of the action at its bound.
        until_rest: Whether the look-ahead of a copy ends where its backup, `Brake`, has brought it to rest.
        swerve: Control steps for which a proposal must be safe to hold; what cannot be held becomes the task's own swerve, with
            which all else goes on as with a proposal. 0 leaves proposals as they are.
        threads: For physics, 0 for all cores.

    Rungs: 0 as proposed, in bounds; with `swerve`, 1 the swerve; the next `rounds` projected so often; then the backup's
    action, or what leads out of the margin; last, the tried action whose worst margin is best.

    Raises:
        ConfigError: A number is out of range, actions have no bounds, or a constraint does not exist.
    """

    def __init__(
        self,
        engine: Engine,
        backup: Backup,
        *,
        horizon: int = 20,
        rate: float = 0.2,
        rounds: int = 3,
        about: Literal["proposal", "backup"] = "proposal",
        difference: float = 1e-3,
        constraints: tuple[str, ...] | None = None,
        margin: float = 0.0,
        margin_rate: float = 0.0,
        until_rest: bool = False,
        swerve: int = 0,
        threads: int = 0,
    ) -> None:
        if min(horizon - 1, rounds, swerve) < 0 or margin < 0.0 or not 0.0 < rate <= 1.0 or not 0.0 <= margin_rate < 1.0:
            raise ConfigError(
                f"barrier safeguard: horizon {horizon}, rounds {rounds}, swerve {swerve} and margin {margin:g} must not be "
                f"below 1, 0, 0 and 0, 0 < rate <= 1, not {rate:g}, and 0 <= margin_rate < 1, not {margin_rate:g}"
            )
        if margin_rate > 0.0 and margin == 0.0:
            raise ConfigError("barrier safeguard: margin_rate gives some of a margin away, and there is none; set margin")
        low, high = (np.asarray(bound, np.float64) for bound in engine.task.action_bounds(engine.simulation.model))
        if not np.isfinite(high - low).all():
            raise ConfigError("barrier safeguard: actions must have finite bounds")
        self.engine, self.backup, self.horizon, self.rate, self.rounds = engine, backup, horizon, rate, rounds
        self.margin, self.margin_rate, self.about = margin, margin_rate, about
        self.low, self.high, self._difference = low, high, difference * (high - low)
        self._project = PolytopeProjection(low, high, 1.0 / np.square(high - low))
        self.ahead = LookAhead(
            engine, backup, horizon, constraints=constraints, margin=margin, until_rest=until_rest, threads=threads
        )
        self._swerve = Swerve(self.ahead, swerve, _OUTER * margin) if swerve else None
        self._first = 1 if self._swerve is None else 2
        self.rungs = self._first + rounds + 2
        self._decay = (1.0 - rate) ** np.arange(1, horizon + 1)

    def filter(self, signals: Signals, proposed: FloatArray) -> Safeguarded:
        """Return what to execute in place of the proposed actions (N, na), for the engine's present state.

        Raises:
            ConfigError: The proposals' width is not that of the task's actions, or there are not as many as copies.
        """
        require_width(proposed, self.low)
        if len(proposed) != self.engine.num_envs:
            raise ConfigError(f"barrier safeguard of {self.engine.num_envs} copies: got {len(proposed)} proposals")
        n, everybody = len(proposed), np.arange(len(proposed))
        wanted = self._rounded(proposed, proposed.dtype)
        rung, now = np.zeros(n, np.intp), self.ahead.now()
        if self._swerve is not None:
            swerved, turned = self._swerve(wanted, now)
            wanted, rung[turned] = self._rounded(swerved, proposed.dtype), 1
        tried = self.ahead.follow(everybody, wanted)
        action, margins, ends = tried.actions.copy(), tried.margins.copy(), tried.ends.copy()
        # no floor is higher than this one, so the backup need only be looked at where it is not reached
        floor = np.maximum(self._decay[:, np.newaxis] * now[:, np.newaxis], 0.0)
        ids = np.flatnonzero(~_above(margins, floor))
        backup = self.ahead.follow(ids, self._rounded(self.backup(self.engine), proposed.dtype)) if ids.size else tried
        floor[ids] = self._floor(now[ids], backup.margins[ids])
        aim = self._aim(now, floor)
        open_ = ~_above(margins, floor)
        best = Tried(action.copy(), margins.copy(), ends)
        for k in range(1, self.rounds + 1):
            ids = np.flatnonzero(open_)
            if not ids.size:
                break
            about = backup if k == 1 and self.about == "backup" else Tried(action, margins, ends)
            action[ids] = self._rounded(self._corrected(ids, wanted, about, aim), proposed.dtype)
            tried = self.ahead.follow(ids, action)
            margins[ids], ends[ids] = tried.margins[ids], tried.ends[ids]
            rung[ids] = self._first + k - 1
            _keep_better(best, ids, action, margins)
            open_[ids] = ~_above(margins[ids], floor[ids])
        ids = np.flatnonzero(open_)
        if ids.size:
            last, led = backup, np.zeros(n, np.bool_)
            if self.margin_rate > 0.0:
                last, led = self._way_out(ids, now, backup, floor, proposed.dtype)
            action[ids], margins[ids], rung[ids] = last.actions[ids], last.margins[ids], self.rungs - 2
            _keep_better(best, ids, action, margins)
            lost = ids[(margins[ids].min(axis=(1, 2)) < 0.0) & ~led[ids]]
            action[lost], margins[lost], rung[lost] = best.actions[lost], best.margins[lost], self.rungs - 1
        worst = margins.min(axis=(1, 2)) + self.margin
        return Safeguarded(
            action,
            worst >= 0.0,
            np.maximum(-worst, 0.0),
            # in the precision of what was proposed: a bound that has none there is no correction
            np.asarray((_in(action, proposed.dtype) != proposed).any(axis=1)),
            np.asarray((worst >= 0.0) & (not self.engine.disturbed)),  # what was seen is not what will come
            rung,
        )

    def _rounded(self, actions: FloatArray, precision: np.dtype[Any]) -> FloatArray:
        """Return actions as they will be executed: in bounds, and with no more digits than the proposed ones have."""
        held: FloatArray = np.clip(_in(actions, precision).astype(np.float64), self.low, self.high)
        return held

    def _floor(self, now: FloatArray, backup: FloatArray) -> FloatArray:
        """Return what margins (N, T, K) must reach: of the present ones what the rate leaves, no more than the backup's."""
        floor = np.minimum(self._decay[:, np.newaxis] * now[:, np.newaxis], backup)
        floor = np.where(backup >= 0.0, np.maximum(floor, 0.0), floor)
        if self.margin_rate == 0.0:
            return floor
        # at the margin, or where the backup drifts into it: with no room at all nothing but the backup is let through
        outer = _OUTER * self.margin
        left = np.minimum(now + outer, outer)
        give = left[:, np.newaxis] * ((1.0 - self.margin_rate) ** np.arange(1, self.horizon + 1))[:, np.newaxis] - outer
        there = (left > 0.0) & ((now < _AT * self.margin) | (backup.min(axis=1) < 0.0))
        return np.where(there[:, np.newaxis], np.minimum(floor, give), floor)

    def _aim(self, now: FloatArray, floor: FloatArray) -> FloatArray:
        """Return what corrections aim at: the floor, and back out of the margin for a robot that has come into it."""
        if self.margin_rate == 0.0:
            return floor
        kept = (1.0 - self.margin_rate) ** np.arange(1, self.horizon + 1)
        back = np.minimum(now, 0.0)[:, np.newaxis] * kept[:, np.newaxis]
        return np.where((now < _AT * self.margin)[:, np.newaxis], np.maximum(floor, back), floor)

    def _way_out(
        self, ids: IntArray, now: FloatArray, backup: Tried, floor: FloatArray, precision: np.dtype[Any]
    ) -> tuple[Tried, BoolArray]:
        """Return the backup's actions, or for copies `ids` in their margin what leads out of it, and (N,) for which.

        That is, of these actions with one coordinate at a bound, which meet the floor, the one with most room in the end.
        """
        actions, margins, led = backup.actions.copy(), backup.margins.copy(), np.zeros(len(now), np.bool_)
        ids = ids[now[ids].min(axis=1) < 0.0]
        for j, bound in np.ndindex(actions.shape[1], 2 if ids.size else 0):
            extreme = backup.actions.copy()
            extreme[:, j] = (self.low, self.high)[bound][j]
            tried = self.ahead.follow(ids, self._rounded(extreme, precision))
            better = tried.margins[ids, -1].min(axis=1) > margins[ids, -1].min(axis=1)
            better = ids[better & _above(tried.margins[ids], floor[ids])]
            actions[better], margins[better], led[better] = tried.actions[better], tried.margins[better], True
        return Tried(actions, margins, backup.ends), led

    def _corrected(self, ids: IntArray, wanted: FloatArray, about: Tried, floor: FloatArray) -> FloatArray:
        """Return for copies `ids` the actions (len(ids), na) closest to the wanted ones that meet the floor to first order."""
        actions, margins, _ = about
        # differences away from the nearer bound
        step = np.where(actions > 0.5 * (self.low + self.high), -self._difference, self._difference)
        slopes = self.ahead.slopes(ids, about, step)
        flat = slopes.reshape(*slopes.shape[:2], -1).swapaxes(1, 2)
        room = (margins - floor - _TIGHTEN * (1.0 + np.abs(floor)))[ids].reshape(len(ids), -1)
        if room.shape[1] > ROWS:
            order = np.argpartition(room, ROWS, axis=1)[:, :ROWS]
            room, flat = np.take_along_axis(room, order, 1), np.take_along_axis(flat, order[..., np.newaxis], 1)
        offsets = room - np.einsum("kri,ki->kr", flat, actions[ids])
        point: FloatArray = self._project(wanted[ids], -flat, offsets).point
        return point


def _in(actions: FloatArray, precision: np.dtype[Any]) -> NDArray[Any]:
    """Return actions with as many digits as floats of some precision have; others than floats have none to lose."""
    return actions.astype(precision) if precision.kind == "f" else actions


def _above(margins: FloatArray, floor: FloatArray) -> BoolArray:
    """Return (N,) whether all margins reach the floor."""
    return np.asarray((margins >= floor - 1e-9 * (1.0 + np.abs(floor))).all(axis=(1, 2)))


def _keep_better(best: Tried, ids: IntArray, actions: FloatArray, margins: FloatArray) -> None:
    """Note the actions of copies `ids` whose worst margin is better than what was noted."""
    better = ids[margins[ids].min(axis=(1, 2)) > best.margins[ids].min(axis=(1, 2))]
    best.actions[better], best.margins[better] = actions[better], margins[better]


_USED_BY = {"rest": ("linear", "returning"), "hold": ("holding",), "gain": ("returning",)}
_USED_BY |= dict.fromkeys(("position_cost", "velocity_cost", "action_cost"), ("linear",))
"""Which backups an option is for."""


@register_safeguard(
    "barrier",
    "barrier conditions along a look-ahead in the simulation with a linear backup; verifies what it lets pass",
    "Agrawal and Sreenath 2017; Gurriet et al. 2018",
)
class BarrierSettings(SafeguardSettings):
    """Settings of the barrier safeguard.

    Attributes:
        horizon: Control steps looked ahead.
        rate: Share of its margin that a constraint may lose per step.
        rounds: How often rows are taken anew.
        about: Where they are taken first. About the ``proposal`` corrections are smallest where the robot's response is smooth;
            about the ``backup`` the rows always have a solution, and see actuators that the proposal saturates.
        difference: Of the finite differences, as a share of the actions' range.
        constraints: Names of those to keep, or None for all.
        margin: How far from their limits constraint values are kept, in their unit.
        margin_rate: Share of what is left of the margin's outer half that may be lost per step by a robot that has come to
            the margin; corrections bring it back at that rate. With 0 the margin is kept; more lets a robot that leans on it
            turn away where that takes some room.
        until_rest: Whether the look-ahead of a copy ends where ``braking`` has brought it to rest, which is far cheaper.
        swerve: Control steps for which a proposal must be safe to hold, or else the robot turns away from what is in its way,
            to the side with more room; for tasks that know how. Without it a robot that goes for what is behind an obstacle is
            stopped and stays. 0: none.
        backup: For robots of hinges and slides ``linear``, a linear-quadratic regulator about `rest`, or ``returning`` where
            they are driven by the speed of joints, which go back to `rest` in proportion to how far they are; for tasks that
            know one ``braking``, their own way to stop; for any robot ``holding``, one action for all.
        rest: (nq,) positions at which the backup rests, or None for the task's, or the model's own.
        hold: (na,) the action of ``holding``, or None for the middle of its range.
        gain: Of ``returning``, 1/s.
        position_cost: Of the regulator, per squared unit of every coordinate.
        velocity_cost: The same of every velocity.
        action_cost: The same of every action, in half ranges.
    """

    name: str = "barrier"
    horizon: int = Field(20, ge=1, le=10_000)
    rate: float = Field(0.2, gt=0, le=1)
    rounds: int = Field(3, ge=0)
    about: Literal["proposal", "backup"] = "proposal"
    difference: float = Field(1e-3, ge=1e-6, le=0.5)
    constraints: tuple[str, ...] | None = Field(None, min_length=1)
    margin: float = Field(0.0, ge=0)
    margin_rate: float = Field(0.0, ge=0, lt=1)
    until_rest: bool = False
    swerve: int = Field(0, ge=0, le=10_000)
    backup: Literal["linear", "returning", "braking", "holding"] = "linear"
    rest: tuple[float, ...] | None = None
    hold: tuple[float, ...] | None = None
    gain: PositiveFloat = 4.0
    position_cost: PositiveFloat = 1.0
    velocity_cost: PositiveFloat = 0.1
    action_cost: PositiveFloat = 0.1

    @model_validator(mode="after")
    def _options_are_of_the_backup(self) -> Self:
        for key, used_by in _USED_BY.items():
            if self.backup not in used_by and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} has no effect on backup {self.backup}, only on {' and '.join(used_by)}")
        return self

    def build(self, copies: Copies) -> BarrierSafeguard:
        """Return the safeguard of copies of a simulated task."""
        if not isinstance(copies, Engine):
            raise ConfigError(
                "safeguard barrier looks ahead in the simulation: it guards tasks of this suite, not other environments"
            )
        backup: Backup
        if self.backup == "braking":
            backup = Brake(copies)
        elif self.backup == "holding":
            backup = holding_backup(copies, self.hold)
        elif self.backup == "returning":
            backup = returning_backup(copies, self.rest, gain=self.gain)
        else:
            backup = linear_backup(
                copies, self.rest, position_cost=self.position_cost, velocity_cost=self.velocity_cost,
                action_cost=self.action_cost,
            )  # fmt: skip
        return BarrierSafeguard(
            copies, backup, horizon=self.horizon, rate=self.rate, rounds=self.rounds, about=self.about,
            difference=self.difference, constraints=self.constraints, margin=self.margin, margin_rate=self.margin_rate,
            until_rest=self.until_rest, swerve=self.swerve, threads=copies.simulation.batch.nthread,
        )  # fmt: skip

"""Robots that drive about brake before hazards, go round them, and back out of their margins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from saferl_controllers import safeguards
from saferl_controllers.backup import Brake, linear_backup
from saferl_controllers.barrier import BarrierSafeguard
from saferl_envs.engine import Engine
from saferl_envs.errors import ConfigError
from saferl_envs.foresight import Foresight
from saferl_envs.tasks.navigation_robots import Car
from toys import engine

Array = np.ndarray[Any, Any]


DRIVES = {"PointGoal1-v0": (0.0, (0.3, 0.0)), "CarGoal1-v0": (1.571, (1.0, 1.0))}
"""Heading and actions with which a robot drives along x."""


@pytest.mark.parametrize("name", DRIVES)
def test_a_robot_on_the_floor_brakes_before_it_enters_a_hazard(name: str) -> None:
    heading, forward = DRIVES[name]
    ahead = [(0.8, 0.0), *((-1.0, 0.4 * k) for k in range(7))]
    layout = {"robot": (0.0, 0.0, heading), "hazards": ahead, "vases": (-1.0, -1.0), "goal": (1.4, 1.0)}
    free, kept = engine(name, 1), engine(name, 1)
    for copies in (free, kept):
        copies.reset(options={"layout": layout})
    safeguard = safeguards()["barrier"].settings.model_validate(
        {"name": "barrier", "backup": "braking", "horizon": 40, "constraints": ["hazards"]}
    ).build(kept)  # fmt: skip
    proposed = np.array([forward], np.float32)
    hazards = kept.constraints.slices[kept.constraints.names.index("hazards")]
    entered = corrected = 0
    for _ in range(60):
        entered += int((free.step(proposed).values[:, hazards] > 0.0).any())
        found = safeguard.filter(kept.present(), proposed)
        assert found.verified.all()
        assert (kept.step(found.action).values[:, hazards] <= 0.0).all()
        corrected += int(found.intervened.any())
    assert entered > 5
    assert corrected > 5
    assert kept.simulation.qpos[0, 0] > 0.2  # it has come close


def _towards_the_goal(copies: Engine) -> Array:
    """Return what drives a robot straight to its goal, whatever is in between."""
    task: Any = copies.task
    motion = task.robot.motion(copies.simulation.qpos, copies.simulation.qvel)
    to = copies.memory["goal"] - motion.position
    car = isinstance(task.robot, Car)  # drives along minus its y
    off = np.arctan2(to[:, 1], to[:, 0]) - motion.heading + 0.5 * np.pi * car
    off = (off + np.pi) % (2.0 * np.pi) - np.pi
    drive, turn = np.where(np.abs(off) < 0.5, 1.0, 0.0), np.clip(2.0 * off, -1.0, 1.0)
    actions = np.stack((drive + turn, drive - turn) if car else (drive, turn), axis=1)
    return np.clip(actions, -1.0, 1.0)


@pytest.mark.parametrize(("name", "steps"), [("PointGoal1-v0", 30), ("CarGoal1-v0", 20)])
def test_a_robot_that_swerves_goes_round_what_stops_others(name: str, steps: int) -> None:
    ahead = [(0.7, 0.03), *((-1.4, 0.4 * k - 1.2) for k in range(7))]
    layout = {"robot": (0.0, 0.0, DRIVES[name][0]), "hazards": ahead, "vases": (-1.0, -1.0), "goal": (1.4, 0.0)}
    reached = {}
    for swerve in (0, steps):
        copies = engine(name, 1)
        copies.reset(options={"layout": layout})
        safeguard = BarrierSafeguard(
            copies, Brake(copies), horizon=40, rate=1.0, constraints=("hazards",), until_rest=True, swerve=swerve, threads=1
        )
        hazards = copies.constraints.slices[copies.constraints.names.index("hazards")]
        rungs = set()
        for _ in range(200):
            found = safeguard.filter(copies.present(), _towards_the_goal(copies))
            assert found.verified.all()
            rungs.add(int(found.rung[0]))
            transition = copies.step(found.action)
            assert (transition.values[:, hazards] <= 0.0).all()
            reached[swerve] = bool(transition.reward_terms["goal"][0])
            if reached[swerve]:
                break
        assert rungs <= set(range(safeguard.rungs))
        assert (1 in rungs) or not swerve
    assert reached == {0: False, steps: True}


def test_a_robot_that_nothing_projected_brings_out_of_its_margin_backs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    bearing, away = -0.7, 0.2115
    ahead = [(away * np.cos(bearing), away * np.sin(bearing)), *((-1.4, 0.4 * k - 1.2) for k in range(7))]
    layout = {"robot": (0.0, 0.0, 0.0), "hazards": ahead, "vases": (-1.0, -1.0), "goal": (1.4, 0.0)}
    out = {}
    for escapes in (True, False):
        if not escapes:
            monkeypatch.setattr(
                BarrierSafeguard, "_way_out", lambda self, ids, now, backup, *_: (backup, np.zeros(1, np.bool_))
            )
        copies = engine("PointGoal1-v0", 1)
        copies.reset(options={"layout": layout})
        safeguard = BarrierSafeguard(
            copies, Brake(copies), horizon=20, rate=1.0, rounds=2, about="backup", constraints=("hazards",), until_rest=True,
            margin=0.03, margin_rate=0.05, threads=1,
        )  # fmt: skip
        rungs = []
        for _ in range(60):
            found = safeguard.filter(copies.present(), np.array([[1.0, -1.0]], np.float32))
            assert found.verified.all()
            rungs.append(int(found.rung[0]))
            copies.step(found.action)
        out[escapes] = -float(copies.values()[0, 0])
        if escapes:
            assert safeguard.rungs - 2 in rungs
            assert safeguard.rungs - 1 not in rungs
    assert out[False] < 0.015
    assert out[True] > out[False] + 0.005


def test_swerves_are_refused_where_nobody_knows_how() -> None:
    copies = engine("CartPoleBalance-v0", 1)
    with pytest.raises(ConfigError, match="swerve needs a robot that can turn away, and CartPoleBalance does not say how"):
        BarrierSafeguard(copies, linear_backup(copies), swerve=5)


def test_about_the_backup_rows_see_actuators_that_the_proposal_saturates() -> None:
    # the point's motor gives its largest force from a twentieth of the action's range on
    copies, forward = engine("PointGoal1-v0", 8), np.tile([1.0, 0.3], (8, 1))
    options: dict[str, Any] = {"constraints": ("hazards",), "margin": 0.01, "rate": 1.0, "rounds": 1}
    made = {about: BarrierSafeguard(copies, Brake(copies), about=about, **options) for about in ("proposal", "backup")}
    projected, kept = dict.fromkeys(made, 0), 0.0
    for _ in range(120):
        found = {about: safeguard.filter(copies.present(), forward) for about, safeguard in made.items()}
        for about, result in found.items():
            projected[about] += int((result.rung == 1).sum())
            assert result.verified.all()
        there = found["backup"].rung == 1
        kept += float((np.abs(found["backup"].action[there, 1] - 0.3) < 1e-6).sum())
        copies.step(found["backup"].action)
        assert copies.values()[:, :8].max() <= 0.0
    assert projected["backup"] > 4 * projected["proposal"]
    assert kept > 0.2 * projected["backup"]  # how the point turns stays as proposed where it need not change


def test_looking_ahead_ends_where_the_robot_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    stepped = {False: 0, True: 0}
    step = Foresight.step

    def counted(ahead: Foresight, actions: Array) -> Array:
        stepped[until_rest] += int(ahead._chosen.sum())
        return step(ahead, actions)

    monkeypatch.setattr(Foresight, "step", counted)
    copies = engine("PointGoal1-v0", 8)
    options: dict[str, Any] = {"constraints": ("hazards",), "margin": 0.03, "rate": 1.0, "rounds": 2, "about": "backup"}
    made = {rest: BarrierSafeguard(copies, Brake(copies), until_rest=rest, **options) for rest in (False, True)}
    rng, same = np.random.default_rng(0), 0
    for _ in range(100):
        proposed = rng.uniform(-0.2, 1.0, (8, 2))
        found = {}
        for until_rest, safeguard in made.items():
            found[until_rest] = safeguard.filter(copies.present(), proposed)
        same += int((found[True].rung == found[False].rung).sum())
        assert found[True].verified.all()
        copies.step(found[True].action)
        assert copies.values()[:, :8].max() <= 0.0
    assert stepped[True] < 0.7 * stepped[False]
    assert same > 0.9 * 800
    fast = engine("PointGoal1-v0", 1)
    speeds = []
    for t in range(60):
        fast.step(np.array([[1.0, 0.0]]) if t < 30 else Brake(fast)(fast))
        speeds.append(float(np.hypot(*fast.simulation.qvel[0, :2])))
        assert not Brake(fast).at_rest(fast) or speeds[-1] < 0.02
    assert speeds[29] > 1.0
    assert max(speeds[-12:]) < 0.02
    assert Brake(fast).at_rest(fast)
    assert not Brake.at_rest(made[True].backup, engine("PandaReach-v0", 2)).any()  # type: ignore[arg-type]

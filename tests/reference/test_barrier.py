"""Looking ahead is the future itself, and a barrier safeguard keeps what it verifies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from saferl_controllers import safeguards
from saferl_controllers.backup import Brake, linear_backup, linearized, regulator, returning_backup
from saferl_controllers.barrier import BarrierSafeguard
from saferl_envs import make_task
from saferl_envs.engine import Engine
from saferl_envs.errors import ConfigError
from saferl_envs.foresight import DIVERGED, Foresight
from saferl_envs.make import make_copies
from saferl_envs.tasks.navigation_robots import Car

Array = np.ndarray[Any, Any]
HOVER = np.full(2, 0.027 * 9.81 / 0.298 - 1.0)


def engine(name: str, n: int, **kwargs: Any) -> Engine:
    made = Engine(make_task(f"saferl/{name}", **kwargs), n, threads=1)
    made.seed(np.arange(n))
    made.reset()
    return made


def random_actions(copies: Engine, rng: np.random.Generator, branches: int = 1) -> Array:
    low, high = copies.action_space.low, copies.action_space.high
    return rng.uniform(low, high, (branches, copies.num_envs, len(low))).swapaxes(0, 1)


@pytest.mark.parametrize(
    "name",
    [
        "CartPoleBalance-v0",
        "HalfCheetahVelocity-v0",
        "Solo12Flat-v0",
        "QuadrotorCircle-v0",
        "PandaReach-v0",
        "PointGoal1-v0",
        "CarGoal2-v0",
    ],
)
def test_a_branch_is_what_would_have_happened(name: str) -> None:
    rng = np.random.default_rng(0)
    copies = engine(name, 3)
    for _ in range(7):
        copies.step(random_actions(copies, rng)[:, 0])
    ahead = Foresight(copies, 2, threads=1)
    ahead.begin()
    plans = [random_actions(copies, rng, 2) for _ in range(5)]
    foreseen = [ahead.step(plan) for plan in plans]
    for plan, seen in zip(plans, foreseen, strict=True):
        assert copies.step(plan[:, 1]).values.tobytes() == seen[:, 1].tobytes()
        assert seen[:, 0].tobytes() != seen[:, 1].tobytes()


def test_some_branches_alone_come_out_the_same() -> None:
    rng = np.random.default_rng(0)
    copies = engine("CartPoleBalance-v0", 4)
    actions = random_actions(copies, rng, 3)
    ahead = Foresight(copies, 3, threads=1)
    ahead.begin()
    everything = ahead.step(actions)
    ahead.begin(np.array([1, 3]))
    assert ahead.step(actions)[[1, 3]].tobytes() == everything[[1, 3]].tobytes()


def test_looking_ahead_leaves_the_copies_alone() -> None:
    copies = engine("CartPoleBalance-v0", 2)
    before = {key: array.tobytes() for key, array in copies.state().items()}
    ahead = Foresight(copies, 2, threads=1)
    ahead.begin()
    ahead.step(np.ones((2, 2, 1)))
    assert {key: array.tobytes() for key, array in copies.state().items()} == before


def test_regulator_solves_riccatis_equation() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 4)) * 0.6, rng.normal(size=(4, 2))
    q, r = rng.uniform(0.5, 2.0, 4), rng.uniform(0.5, 2.0, 2)
    value = solve_discrete_are(a, b, np.diag(q), np.diag(r))
    expected = np.linalg.solve(np.diag(r) + b.T @ value @ b, b.T @ value @ a)
    np.testing.assert_allclose(regulator(a, b, q, r), expected, rtol=1e-7)


def test_regulator_says_where_it_cannot() -> None:
    with pytest.raises(ConfigError, match="does not settle"):
        regulator(np.diag([2.0, 0.5]), np.array([[0.0], [1.0]]), np.ones(2), np.ones(1), most=3000)


def test_linearized_pendulum_falls_as_the_textbook_says() -> None:
    copies = engine("CartPoleBalance-v0", 1)
    a, b = linearized(copies, np.zeros(2), np.zeros(2), np.zeros(1))
    # a uniform rod of length 1 with rounded ends on a cart: the angle's unstable eigenvalue, and the push of a unit action
    rates = np.log(np.linalg.eigvals(a).real.clip(1e-9)) / copies.control_timestep
    assert rates.max() == pytest.approx(np.sqrt(1.5 * 9.81 / (1.0 - 0.75 * 0.1 / 1.1)), rel=0.05)
    assert b[2, 0] > 0.0 > b[3, 0]


def test_linear_backup_brings_a_robot_to_rest() -> None:
    for name, rest in (("CartPoleBalance-v0", np.zeros(1)), ("QuadrotorCircle-v0", HOVER)):
        copies = engine(name, 4)
        backup = linear_backup(copies, np.zeros(copies.simulation.model.nq), rest)
        for _ in range(400):
            copies.step(backup(copies))
        assert np.abs(copies.simulation.qpos).max() < 1e-2
        assert np.abs(copies.simulation.qvel).max() < 1e-2


def test_linear_backup_refuses_what_has_no_plain_coordinates() -> None:
    copies = engine("AntVelocity-v0", 1)
    with pytest.raises(ConfigError, match="free or ball joint"):
        linear_backup(copies, copies.simulation.qpos[0], np.zeros(8))


def test_a_branch_that_breaks_down_is_not_safe() -> None:
    copies = engine("CartPoleBalance-v0", 2)
    ahead = Foresight(copies, 1, threads=1)
    ahead.begin()
    ahead.copies.simulation.qvel[0] = 1e11
    for _ in range(2):
        values = ahead.step(np.zeros((2, 1, 1)))
        assert (values[0] == DIVERGED).all()
        assert (values[1] < 0.0).all()
    ahead.begin()
    assert (ahead.step(np.zeros((2, 1, 1))) < 0.0).all()


@pytest.mark.parametrize(("kind", "strength"), [("motor_strength", 0.8), ("latency", 0.01)])
def test_disturbances_are_not_foreseen_and_stop_nothing(kind: str, strength: float) -> None:
    copies: Any = make_copies("saferl/QuadrotorCircle-v0", 2, threads=1, disturbances={kind: strength})
    safeguard = BarrierSafeguard(copies, linear_backup(copies), horizon=5, threads=1)
    ahead = Foresight(copies, 1, threads=1)
    for step in range(4):
        ahead.begin()
        assert ahead.copies.simulation.qpos.tobytes() == copies.simulation.qpos.tobytes()  # it begins where the robot is
        found = safeguard.filter(copies.present(), np.full((2, 2), 0.2 * (-1) ** step, np.float32))
        assert not found.verified.any()
        foreseen = ahead.step(found.action[:, np.newaxis])[:, 0]
        assert foreseen.tobytes() != copies.step(found.action).values.tobytes()


def test_copies_that_have_ended_do_not_stop_the_others() -> None:
    copies = engine("HopperVelocity-v0", 3)
    ahead = Foresight(copies, 1, threads=1)
    copies.step(np.full((3, 3), 0.1))
    copies.step(np.full((3, 3), 0.5), np.array([0, 2]))
    ahead.begin(np.array([0, 2]))
    foreseen = ahead.step(np.full((3, 1, 3), 0.2))[[0, 2], 0]
    assert copies.step(np.full((3, 3), 0.2), np.array([0, 2])).values[[0, 2]].tobytes() == foreseen.tobytes()


def test_what_is_verified_is_what_is_executed() -> None:
    copies = engine("CartPoleBalance-v0", 4)
    safeguard, ahead = BarrierSafeguard(copies, linear_backup(copies), horizon=20, threads=1), Foresight(copies, 1, threads=1)
    for _ in range(20):
        found = safeguard.filter(copies.present(), np.array([[1.0], [-1.0], [0.3], [1.7]], np.float32))
        assert (found.action.astype(np.float32) == found.action).all()  # nothing is lost where it becomes an action
        assert found.intervened[3]  # clipped is changed too
        ahead.begin()
        foreseen = ahead.step(found.action[:, np.newaxis])[:, 0]
        assert copies.step(found.action.astype(np.float32)).values.tobytes() == foreseen.tobytes()


def test_a_rest_outside_of_a_joints_range_is_refused() -> None:
    copies = engine("PandaReach-v0", 1)
    with pytest.raises(ConfigError, match="rest 0 of joint4 is outside its range"):
        returning_backup(copies, np.zeros(9))
    with pytest.raises(ConfigError, match="rest has 7 positions, the model has 9: person_x, person_y, joint1"):
        returning_backup(copies, np.zeros(7))


@pytest.mark.parametrize("adversarial", [False, True])
def test_what_is_verified_is_not_violated(adversarial: bool) -> None:
    copies = engine("CartPoleBalance-v0", 8)
    safeguard = BarrierSafeguard(copies, linear_backup(copies, np.zeros(2), np.zeros(1)), horizon=30, threads=1)
    rng, signs = np.random.default_rng(0), np.array([1.0, -1.0] * 4)[:, np.newaxis]
    corrected = 0
    for _ in range(35):
        proposed = signs if adversarial else random_actions(copies, rng)[:, 0]
        found = safeguard.filter(copies.signals.view, proposed)
        assert (np.abs(found.action) <= 1.0).all()
        assert (found.action[~found.intervened] == proposed[~found.intervened]).all()
        values = copies.step(found.action).values.max(axis=1)
        assert found.verified.all()
        assert (values <= 0.0).all()
        corrected += int(found.intervened.sum())
    assert corrected > (100 if adversarial else 10)


def test_an_arm_keeps_clear_of_somebody_who_walks_about() -> None:
    copies = engine("PandaReach-v0", 4)
    safeguard = safeguards()["barrier"].settings.model_validate(
        {"name": "barrier", "backup": "returning", "gain": 6.0}
    ).build(copies)  # fmt: skip
    rng, corrected = np.random.default_rng(0), 0
    proposed = rng.choice([-1.0, 1.0], (4, 7))
    for _ in range(25):
        found = safeguard.filter(copies.present(), proposed)
        assert found.verified.all()
        assert (copies.step(found.action).values <= 0.0).all()
        corrected += int(found.intervened.sum())
    assert corrected > 10


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
            monkeypatch.setattr(BarrierSafeguard, "_way_out", lambda self, ids, now, backup, *rest: backup)
        copies = engine("PointGoal1-v0", 1)
        copies.reset(options={"layout": layout})
        safeguard = BarrierSafeguard(
            copies, Brake(copies), horizon=20, rate=1.0, rounds=2, about="backup", constraints=("hazards",), until_rest=True,
            margin=0.03, margin_rate=0.05, threads=1,
        )  # fmt: skip
        for _ in range(60):
            found = safeguard.filter(copies.present(), np.array([[1.0, -1.0]], np.float32))
            assert found.verified.all()
            copies.step(found.action)
        out[escapes] = -float(copies.values()[0, 0])
    assert out[False] < 0.015
    assert out[True] > out[False] + 0.005


def test_swerves_are_refused_where_nobody_knows_how() -> None:
    copies = engine("CartPoleBalance-v0", 1)
    with pytest.raises(ConfigError, match="swerve needs a robot that can turn away, and CartPoleBalance does not say how"):
        BarrierSafeguard(copies, linear_backup(copies), swerve=5)


GUARDED = ("torque", "joint_velocity", "hip_roll", "base_orientation")


def test_a_quadruped_is_guarded_by_standing_still() -> None:
    copies = engine("Solo12Flat-v0", 2)
    with pytest.raises(ConfigError, match="free or ball joint"):
        safeguards()["barrier"].settings.model_validate({"name": "barrier"}).build(copies)
    with pytest.raises(ConfigError, match=r"backup holding: action .* must be 12 numbers"):
        safeguards()["barrier"].settings.model_validate({"backup": "holding", "hold": [0.0]}).build(copies)
    safeguard = safeguards()["barrier"].settings.model_validate(
        {"backup": "holding", "constraints": GUARDED}
    ).build(copies)  # fmt: skip
    kept = np.r_[tuple(copies.constraints.slices[copies.constraints.names.index(name)] for name in GUARDED)]
    calm = safeguard.filter(copies.present(), np.zeros((2, 12), np.float32))
    assert calm.verified.all()
    assert not calm.intervened.any()
    rng, wild = np.random.default_rng(0), engine("Solo12Flat-v0", 2)
    verified = wildest = 0.0
    for _ in range(20):
        proposed = rng.choice([-5.0, 5.0], (2, 12))
        found = safeguard.filter(copies.present(), proposed)
        wildest = max(wildest, wild.step(proposed).values[:, kept].max())
        values = copies.step(found.action).values[:, kept]
        assert (values[found.verified] <= 0.0).all()
        verified += found.verified.mean() / 20
    assert verified > 0.5
    assert wildest > 0.0


def test_a_margin_is_kept_from_the_limit() -> None:
    copies = engine("CartPoleBalance-v0", 1)
    nearest = {}
    for margin, rate in ((0.0, 0.0), (0.1, 0.0), (0.1, 0.05)):
        copies.seed(np.zeros(1))
        copies.reset()
        safeguard = BarrierSafeguard(
            copies, linear_backup(copies, np.zeros(2), np.zeros(1)), horizon=40, margin=margin, margin_rate=rate, threads=1
        )
        values = []
        for _ in range(100):
            found = safeguard.filter(copies.present(), np.ones((1, 1)))
            assert found.verified.all()
            values.append(copies.step(found.action).values.max())
        nearest[margin, rate] = max(values)
    assert -0.1 < nearest[0.0, 0.0] <= 1e-9
    assert -0.2 < nearest[0.1, 0.0] <= -0.1 + 1e-9
    assert -0.1 < nearest[0.1, 0.05] <= -0.05


def test_a_robot_that_nobody_taught_to_brake_is_refused() -> None:
    with pytest.raises(ConfigError, match="CartPoleBalance does not say how its robot brakes"):
        Brake(engine("CartPoleBalance-v0", 1))


@pytest.mark.parametrize("name", ["PointGoal1-v0", "CarGoal1-v0"])
def test_brakes_bring_a_robot_to_a_stop(name: str) -> None:
    copies = engine(name, 16)
    actions, brake = np.random.default_rng(0).uniform(-1.0, 1.0, (16, 2)), Brake(copies)
    for _ in range(40):
        copies.step(actions)
    task: Any = copies.task
    before = np.hypot(*task.robot.motion(copies.simulation.qpos, copies.simulation.qvel).velocity.T)
    for _ in range(200):
        copies.step(brake(copies))
    after = np.hypot(*task.robot.motion(copies.simulation.qpos, copies.simulation.qvel).velocity.T)
    assert before.mean() > 0.3
    assert after.max() < 0.05
    assert np.abs(task.robot.motion(copies.simulation.qpos, copies.simulation.qvel).turning).max() < 1.0


def test_without_it_the_adversary_breaks_the_limits() -> None:
    copies = engine("CartPoleBalance-v0", 2)
    worst = max(copies.step(np.array([[1.0], [-1.0]])).values.max() for _ in range(60))
    assert worst > 0.0


def test_a_hopeless_state_is_said_to_be_one() -> None:
    copies = engine("CartPoleBalance-v0", 2)
    copies.simulation.set_state(np.arange(2), np.array([[0.49, 0.0], [0.0, 0.0]]), np.array([[2.0, 0.0], [0.0, 0.0]]))
    copies.signals.update()
    safeguard = BarrierSafeguard(copies, linear_backup(copies, np.zeros(2), np.zeros(1)), horizon=40, threads=1)
    found = safeguard.filter(copies.signals.view, np.zeros((2, 1)))
    assert found.feasible.tolist() == [False, True]
    assert found.slack[0] > 0.0 == found.slack[1]
    assert not found.verified[0]


def test_only_named_constraints_are_kept() -> None:
    copies = engine("CartPoleBalance-v0", 2)
    backup = linear_backup(copies, np.zeros(2), np.zeros(1))
    safeguard = BarrierSafeguard(copies, backup, horizon=40, constraints=("pole_angle",), threads=1)
    copies.simulation.set_state(np.arange(2), np.array([[0.6, 0.0], [0.0, 0.0]]), np.zeros((2, 2)))
    copies.signals.update()
    assert safeguard.filter(copies.signals.view, np.zeros((2, 1))).feasible.all()
    with pytest.raises(ConfigError, match="no constraint 'pole'; there are cart_position, pole_angle"):
        BarrierSafeguard(copies, backup, constraints=("pole",))
    with pytest.raises(ConfigError, match="rate"):
        BarrierSafeguard(copies, backup, rate=0.0)
    with pytest.raises(ConfigError, match="set margin"):
        BarrierSafeguard(copies, backup, margin_rate=0.1)
    with pytest.raises(ConfigError, match="until_rest needs"):
        BarrierSafeguard(copies, backup, until_rest=True)


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

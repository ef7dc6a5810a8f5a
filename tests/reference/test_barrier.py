"""A barrier safeguard keeps what it verifies, and says where it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from saferl_controllers import safeguards
from saferl_controllers.backup import linear_backup
from saferl_controllers.barrier import BarrierSafeguard
from saferl_envs.errors import ConfigError
from toys import engine, random_actions


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


def test_without_it_the_adversary_breaks_the_limits() -> None:
    copies = engine("CartPoleBalance-v0", 2)
    worst = max(copies.step(np.array([[1.0], [-1.0]])).values.max() for _ in range(60))
    assert worst > 0.0


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


def test_a_proposal_at_a_bound_that_has_no_such_float_is_not_corrected() -> None:
    copies = engine("HumanoidVelocity-v0", 1)
    safeguard = safeguards()["barrier"].settings.model_validate({"backup": "holding", "horizon": 1}).build(copies)
    found = safeguard.filter(copies.present(), copies.action_space.high[np.newaxis])
    assert copies.action_space.high.dtype == np.float32
    assert found.action.max() < copies.action_space.high.max()  # 0.4 as a double is less
    assert found.rung.tolist() == [0]
    assert not found.intervened.any()


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

"""ReLOAD-PPO: its multipliers are those of the tables, its policy mixes with the extrapolated ones of its own rollout."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch as th
from saferl.algorithms import methods
from saferl.algorithms.lagrangian import LagrangianPPO
from saferl.bounded_ascent import BoundedAscent
from saferl.evaluation.oscillation import oscillation
from saferl.multipliers import DualAscent
from saferl.optimistic_ascent import OptimisticAscent
from saferl.slow_scale import SlowScale
from saferl.tabular.games import descend_ascend
from saferl.vec import ConstrainedVecEnv

from saferl_envs.errors import ConfigError


def ascent(optimistic: str = "both", **kwargs: object) -> OptimisticAscent:
    return OptimisticAscent([0.5, 1.0], ["<=", ">="], learning_rate=0.1, optimistic=optimistic, **kwargs)


def test_two_steps_by_hand() -> None:
    rule = ascent(initial=0.2)
    np.testing.assert_array_equal(rule.weights, [0.2, -0.2])
    rule.update(np.array([1.5, 3.0]))  # errors 1 and -2, the first step is a plain one
    np.testing.assert_allclose(rule.values, [0.3, 0.0])
    np.testing.assert_allclose(rule.weights, [2 * 0.3 - 0.2, -(0.0 - 0.2)])
    rule.update(np.array([1.0, 0.5]))  # errors 0.5 and 0.5: 2 e - e' is 0 and 3
    np.testing.assert_allclose(rule.values, [0.3, 0.3])
    np.testing.assert_allclose(rule.weights, [0.3, -0.6])


def test_extrapolated_weights_may_be_held_at_zero() -> None:
    rule = ascent(initial=0.2, clip_weights=True)
    rule.update(np.array([0.0, 3.0]))
    assert rule.weights[1] == 0.0
    np.testing.assert_allclose(rule.weights[0], 2 * 0.15 - 0.2)


def test_a_cap_holds_what_the_policy_uses_too() -> None:
    rule = ascent(initial=0.2, maximum=0.25)
    rule.update(np.array([1.5, 3.0]))
    np.testing.assert_allclose(rule.values, [0.25, 0.0])
    np.testing.assert_allclose(rule.weights, [0.25, 0.2])  # 0.3 and -0.2 without it, turned round by its sense


def test_without_optimism_it_is_dual_ascent() -> None:
    plain, known = ascent("none"), DualAscent([0.5, 1.0], ["<=", ">="], learning_rate=0.1)
    for costs in np.random.default_rng(0).uniform(0, 2, (20, 2)):
        plain.update(costs)
        known.update(costs)
        np.testing.assert_array_equal(plain.values, known.values)
        np.testing.assert_array_equal(plain.weights, known.weights)


@pytest.mark.parametrize(
    ("optimistic", "x_too", "y_too"), [("both", True, True), ("multiplier", False, True), ("policy", True, False)]
)
def test_on_a_plane_it_plays_the_bilinear_game(optimistic: str, x_too: bool, y_too: bool) -> None:
    """An equality's multiplier against a player who descends on weight times x is the game xy."""
    xs, ys = descend_ascend(np.ones((1, 1)), np.ones(1), np.ones(1), 0.1, 200, x_too, y_too)
    rule = OptimisticAscent([0.0], ["=="], learning_rate=0.1, optimistic=optimistic, initial=1.0)
    x = 1.0
    for k in range(200):
        assert (x, rule.values[0]) == pytest.approx((xs[k, 0], ys[k, 0]), abs=1e-12)
        weight = rule.weights[0]
        rule.update(np.array([x]))
        x -= 0.1 * weight


def test_its_state_goes_on() -> None:
    rule, other = ascent(), ascent()
    for costs in ([1.0, 0.2], [0.3, 0.7]):
        rule.update(np.array(costs))
    other.load_state_dict(rule.state_dict())
    for each in (rule, other):
        each.update(np.array([0.9, 0.9]))
    np.testing.assert_array_equal(rule.weights, other.weights)


def test_a_rollout_is_mixed_with_the_multipliers_it_was_collected_under(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    before: list[np.ndarray] = []
    original, moved = LagrangianPPO.mix, LagrangianPPO.see_costs

    def mix(self, reward, costs):
        weights = self.multipliers.weights if self._held is None else self._held
        seen.append(np.array(weights))
        return original(self, reward, costs)

    def see(self, costs):
        before.append(self.multipliers.weights.copy())
        moved(self, costs)

    monkeypatch.setattr(LagrangianPPO, "mix", mix)
    monkeypatch.setattr(LagrangianPPO, "see_costs", see)
    settings = methods()["reload"].settings(
        n_steps=16, batch_size=64, n_epochs=1, net_arch=(8,), cost_limits={"cart_position": 1}
    )
    env = ConstrainedVecEnv("saferl/CartPoleBalance-v0", 4, threads=1, limits={"cart_position": 0.001})
    model = settings.build(env, seed=0, device="cpu")
    model.learn(4 * 64)
    assert len(seen) == len(before) == 4
    np.testing.assert_array_equal(seen, before)
    assert any((a != b).any() for a, b in itertools.pairwise(seen))


def test_slow_scales_remember_the_size_of_rollouts() -> None:
    scale, values = SlowScale(2), th.tensor([[1.0, 10.0], [3.0, 30.0]], dtype=th.float64)
    first = values.std(dim=0)
    th.testing.assert_close(scale(values), (values - values.mean(dim=0)) / first)
    doubled = scale(2 * values)
    th.testing.assert_close(doubled, 2 * (values - values.mean(dim=0)) / (0.95 * first + 0.05 * 2 * first))
    other = SlowScale(2)
    other.load_state_dict(scale.state_dict())
    th.testing.assert_close(other(values), scale(values))
    with pytest.raises(ConfigError, match="2 advantages, expected 3"):
        SlowScale(3).load_state_dict(scale.state_dict())


def test_bounded_multipliers_mix_convexly() -> None:
    """(A_0 - sum lambda A) / (1 + sum lambda) is ((N - sum s) A_0 - sum s A) / N, and no s leaves (0, 1)."""
    rule = BoundedAscent([0.5, 1.0], ["<=", ">="], learning_rate=5.0, optimistic="none", initial=0.3)
    for costs in np.random.default_rng(0).uniform(0, 2, (50, 2)):
        s = rule._squashed
        assert (s > 0.0).all()
        assert (s < 1.0).all()
        reward, cost = 1.7, np.array([0.4, -2.0])
        mixed = (reward - rule.weights @ cost) / (1.0 + np.abs(rule.weights).sum())
        signed = s * [1.0, -1.0]
        np.testing.assert_allclose(mixed, ((2 - s.sum()) * reward - signed @ cost) / 2, rtol=1e-9)
        rule.update(costs)


def test_one_bounded_multiplier_by_hand() -> None:
    rule = BoundedAscent([0.5], ["<="], learning_rate=2.0)
    np.testing.assert_allclose(rule.values, [1.0])  # s = 0.5
    rule.update(np.array([1.5]))  # slope 0.25 * 1, x = 2 * 0.25
    s = 1.0 / (1.0 + np.exp(-0.5))
    np.testing.assert_allclose(rule.values, [s / (1.0 - s)])
    ahead = 2 * s - 0.5
    np.testing.assert_allclose(rule.weights, [ahead / (1.0 - ahead)])
    slope = s * (1 - s) * -0.2
    rule.update(np.array([0.3]))
    s = 1.0 / (1.0 + np.exp(-(0.5 + 2.0 * (2 * slope - 0.25))))
    np.testing.assert_allclose(rule.values, [s / (1.0 - s)])


def test_a_bounded_equality_has_both_signs() -> None:
    rule = BoundedAscent([0.5], ["=="], learning_rate=1.0)
    assert rule.values[0] == 0.0
    rule.update(np.array([0.0]))
    assert -1.0 < rule._squashed[0] < 0.0 > rule.weights[0]


@pytest.mark.parametrize(("optimistic", "rests"), [("both", True), ("none", False)])
def test_bounded_multipliers_come_to_rest_on_the_bandit_only_with_optimism(optimistic: str, rests: bool) -> None:
    """Two arms, one of which pays 1 and costs 1, threshold 0.5; the policy follows the convex mixture by softmax steps."""
    rule = BoundedAscent([0.5], ["<="], learning_rate=2.0, optimistic=optimistic)
    logit, pulled = 0.3, []
    for _ in range(4000):
        p = 1.0 / (1.0 + np.exp(-logit))
        pulled.append(p)
        weight = rule.weights[0]
        rule.update(np.array([p]))
        logit += 0.5 * (1.0 - weight) / (1.0 + weight)
    found = oscillation(np.array(pulled), 0.5, part=0.2)
    assert (found["oscillation"] < 1e-3 and found["distance"] < 1e-3) if rests else found["oscillation"] > 0.5


def test_bounded_multipliers_are_asked_for_in_the_settings() -> None:
    settings = methods()["reload"].settings(bounded=True)
    assert isinstance(settings.rule([1.0], ["<="]), BoundedAscent)
    with pytest.raises(ValueError, match="multiplier_maximum"):
        methods()["reload"].settings(bounded=True, multiplier_maximum=10)
    assert settings.multiplier_initial == 0.5
    assert type(settings).model_validate(settings.model_dump()) == settings
    assert methods()["reload"].settings().multiplier_initial == 0.0
    for wrong in (0, 2):
        with pytest.raises(ValueError, match="above 0 and below 1"):
            methods()["reload"].settings(bounded=True, multiplier_initial=wrong)

"""Penalties: the reward minus weights times costs, in the units in which the critic sees rewards."""

from __future__ import annotations

import numpy as np
import pytest
from saferl.algorithms import PenaltyPPO
from saferl.vec import ConstrainedVecEnv
from stable_baselines3.common.vec_env import VecNormalize

from saferl_envs.errors import ConfigError

ENV = "saferl/CartPoleBalance-v0"


def trained(normalized: bool, **arguments: object) -> PenaltyPPO:
    env = ConstrainedVecEnv(ENV, 4, threads=1, limits={"cart_position": 0.01})
    wrapped = VecNormalize(env, norm_reward=True) if normalized else env
    model = PenaltyPPO("MlpPolicy", wrapped, n_steps=16, batch_size=64, n_epochs=1, seed=0, device="cpu", **arguments)
    return model.learn(64)


@pytest.mark.parametrize("normalized", [False, True])
def test_stored_rewards_are_rewards_minus_weighted_costs(normalized: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, charged = [], []
    original = PenaltyPPO.continuation

    def watch(self, recorded, rewards):
        normalizer = self.get_vec_normalize_env()
        unit = 1.0 if normalizer is None else float(np.sqrt(normalizer.ret_rms.var + normalizer.epsilon))
        costs = recorded.evaluation.costs
        expected.append(rewards - (2.0 * costs[:, 0] + 0.5 * costs[:, 1]) / unit)
        charged.append(costs.sum())
        return original(self, recorded, rewards)

    monkeypatch.setattr(PenaltyPPO, "continuation", watch)
    model = trained(normalized, weight=2.0, weights_by_name={"pole_angle": 0.5})
    assert [spec["name"] for spec in model.constraint_specs] == ["cart_position", "pole_angle"]
    assert sum(charged) > 0
    np.testing.assert_allclose(model.rollout_buffer.rewards, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.rollout_buffer.continuation, 1.0)


def test_weight_zero_is_plain_ppo() -> None:
    from saferl.algorithms import ConstrainedPPO

    penalised = trained(True, weight=0.0)
    env = VecNormalize(ConstrainedVecEnv(ENV, 4, threads=1, limits={"cart_position": 0.01}), norm_reward=True)
    plain = ConstrainedPPO("MlpPolicy", env, n_steps=16, batch_size=64, n_epochs=1, seed=0, device="cpu").learn(64)
    for a, b in zip(penalised.policy.parameters(), plain.policy.parameters(), strict=True):
        assert (a == b).all()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"weights_by_name": {"pole": 1.0}}, "unknown constraint 'pole'"),
        ({"weights_by_name": {"pole_angle": -1.0}}, r"method\.weights_by_name\.pole_angle: must be a number of at least 0"),
        ({"weight": -1.0}, r"method\.weight: must be a number of at least 0"),
        ({"weight": float("inf")}, "at least 0, got inf"),
    ],
)
def test_bad_weights_are_refused(arguments: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        trained(False, **arguments)


def test_a_lower_bound_cannot_be_penalised() -> None:
    constraints = [{"family": "base_height", "name": "height", "limit": 1.0, "sense": ">=", "cost_limit": 3}]
    env = ConstrainedVecEnv("saferl/HopperVelocity-v0", 2, threads=1, constraints=constraints)
    with pytest.raises(ConfigError, match="'height' is to be >="):
        PenaltyPPO("MlpPolicy", env, n_steps=4, device="cpu")

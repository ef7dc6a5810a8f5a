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
    seen = []
    original = PenaltyPPO.continuation

    def watch(self, recorded, rewards):
        found = original(self, recorded, rewards)
        unit = self.reward_unit()
        expected = [
            r - sum(w * c for w, c in zip((2.0, 0.5), costs, strict=True)) / unit
            for r, costs in zip(rewards.tolist(), recorded.evaluation.costs.tolist(), strict=True)
        ]
        seen.append((found[1], expected, recorded.evaluation.costs.sum()))
        return found

    monkeypatch.setattr(PenaltyPPO, "continuation", watch)
    model = trained(normalized, weight=2.0, weights_by_name={"pole_angle": 0.5})
    assert [spec["name"] for spec in model.constraint_specs] == ["cart_position", "pole_angle"]
    assert sum(cost for _, _, cost in seen) > 0
    for found, expected, _ in seen:
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_array_equal(model.rollout_buffer.continuation, 1.0)


def test_weight_zero_is_plain_ppo() -> None:
    from saferl.algorithms import ConstrainedPPO

    penalised = trained(True, weight=0.0)
    env = VecNormalize(ConstrainedVecEnv(ENV, 4, threads=1, limits={"cart_position": 0.01}), norm_reward=True)
    plain = ConstrainedPPO("MlpPolicy", env, n_steps=16, batch_size=64, n_epochs=1, seed=0, device="cpu").learn(64)
    for a, b in zip(penalised.policy.parameters(), plain.policy.parameters(), strict=True):
        assert (a == b).all()


@pytest.mark.parametrize(
    ("weights", "problem"), [({"pole": 1.0}, "unknown constraint 'pole'"), ({"pole_angle": -1.0}, "at least 0")]
)
def test_bad_weights_are_refused(weights: dict[str, float], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        trained(False, weights_by_name=weights)


def test_a_lower_bound_cannot_be_penalised() -> None:
    constraints = [{"family": "base_height", "name": "height", "limit": 1.0, "sense": ">=", "cost_limit": 3}]
    env = ConstrainedVecEnv("saferl/HopperVelocity-v0", 2, threads=1, constraints=constraints)
    with pytest.raises(ConfigError, match="'height' is to be >="):
        PenaltyPPO("MlpPolicy", env, n_steps=4, device="cpu")

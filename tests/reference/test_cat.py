"""CaT against its specification: the formula (A1), scaled futures (A2), and plain PPO where nothing is violated (A3)."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from saferl.algorithms.cat import CaT
from saferl.algorithms.ppo import ConstrainedPPO
from saferl.buffers import ContinuationRolloutBuffer
from saferl.termination import FLOOR, TerminationProbability, curriculum, matched_memory
from saferl.vec import ConstrainedVecEnv
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from saferl_envs.errors import CheckpointError, ConfigError

SPECS = [
    {"name": "a", "family": "x", "components": ["1", "2"], "kind": "soft"},
    {"name": "b", "family": "x", "components": ["1"], "kind": "hard"},
]


def by_hand(history, tau, p_max, min_p=0.0):
    """The formula of the specification, written with loops."""
    c_max, deltas = None, []
    for values in history:
        m = [max(max(row[j] for row in values), 1e-6) for j in range(len(values[0]))]
        c_max = m if c_max is None else [tau * c + (1 - tau) * x for c, x in zip(c_max, m, strict=True)]
        deltas.append(
            [
                max(min_p + min(max(v / c_max[j], 0), 1) * (p_max[j] - min_p) if v > 0 else 0.0 for j, v in enumerate(row))
                for row in values
            ]
        )
    return c_max, deltas


@pytest.mark.parametrize("min_p", [0.0, 0.02])
def test_delta_equals_the_formula_on_hand_made_violations(min_p):
    history = [
        [[0.5, -1.0, -2.0], [2.0, 0.1, -0.1], [-1.0, 0.0, 0.4]],
        [[-1.0, -1.0, -1.0], [-1.0, -2.0, -1.0], [-3.0, -1.0, -1.0]],  # nobody violates: the floor
        [[4.0, 0.2, 0.0], [1.0, 1e-8, 1.0], [-1.0, 3.0, 0.5]],
    ]
    rule = TerminationProbability(SPECS, tau=0.95, min_p=min_p)
    rule.set_p_max({"soft": 0.25, "hard": 1.0, "style": 0.0})
    c_max, expected = by_hand(history, 0.95, [0.25, 0.25, 1.0], min_p)
    for values, wanted in zip(history, expected, strict=True):
        np.testing.assert_allclose(rule(np.array(values)), wanted, atol=1e-6)
    np.testing.assert_allclose(rule.normaliser, c_max, atol=1e-12)


def test_square_roots_are_taken_before_everything_else():
    values = np.random.default_rng(0).normal(size=(20, 5, 3))
    roots, plain = (TerminationProbability(SPECS, tau=0.95, square_root=flag) for flag in (True, False))
    for rule in (roots, plain):
        rule.set_p_max({"soft": 0.25, "hard": 1.0, "style": 0.0})
    for step in values:
        np.testing.assert_allclose(roots(step), plain(np.sign(step) * np.sqrt(np.abs(step))), rtol=0, atol=1e-12)


def test_the_first_maximum_seeds_the_average_and_the_floor_holds():
    rule = TerminationProbability(SPECS, tau=0.95)
    rule.set_p_max({"soft": 0.25, "hard": 1.0, "style": 0.0})
    rule(np.array([[3.0, -1.0, -1.0]]))
    np.testing.assert_array_equal(rule.normaliser, [3.0, FLOOR, FLOOR])


def test_kinds_and_overrides_choose_p_max():
    rule = TerminationProbability(SPECS, tau=0.9, overrides={"b": 0.4})
    rule.set_p_max({"soft": 0.1, "hard": 1.0, "style": 0.0})
    np.testing.assert_array_equal(rule.p_max, [0.1, 0.4])
    with pytest.raises(ConfigError, match=r"p_max_by_name.*'c'.*valid: a, b"):
        TerminationProbability(SPECS, tau=0.9, overrides={"c": 0.4})


def test_curriculum_is_linear_in_survival_time():
    for k, p in ((0, 0.05), (0.25, 0.0625), (0.5, 1 / 12), (0.75, 0.125), (1, 0.25), (2, 0.25)):
        assert curriculum(k, 0.05, 0.25) == pytest.approx(p, abs=1e-12)
    assert matched_memory(4096) == pytest.approx(0.95, abs=5e-4)


def buffer_with(rewards, values, continuation, gamma, gae_lambda, starts=None):
    steps, n = rewards.shape
    box = spaces.Box(-1, 1, (1,))
    buffer = ContinuationRolloutBuffer(steps, box, box, device="cpu", gamma=gamma, gae_lambda=gae_lambda, n_envs=n)
    for t in range(steps):
        start = np.zeros(n) if starts is None else starts[t]
        zero = np.zeros((n, 1))
        buffer.add(zero, zero, rewards[t], start, torch.tensor(values[t]), torch.zeros(n))
    buffer.continuation[:] = continuation
    return buffer


def test_returns_with_lambda_one_equal_the_product_formula():
    rng = np.random.default_rng(0)
    steps, n, gamma = 64, 3, 0.97
    rewards, values = rng.uniform(0, 1, (steps, n)), rng.normal(size=(steps, n)).astype(np.float32)
    delta = rng.uniform(0, 1, (steps, n)) * (rng.uniform(size=(steps, n)) < 0.5)
    last = rng.normal(size=n).astype(np.float32)
    buffer = buffer_with(rewards * (1 - delta), values, 1 - delta, gamma, 1.0)
    buffer.compute_returns_and_advantage(torch.tensor(last), np.zeros(n, bool))
    for t in range(steps):
        expected = np.zeros(n)
        survival = np.ones(n)
        for k in range(t, steps):
            survival = survival * (1 - delta[k])
            expected += gamma ** (k - t) * survival * rewards[k]
        expected += gamma ** (steps - t) * survival * last
        np.testing.assert_allclose(buffer.returns[t], expected, atol=1e-5)


def test_two_state_chain_has_its_closed_form_return():
    # reward 1 in both states; every second step is violated with delta: J = (1 + g(1-d)) / (1 - g^2 (1-d)) from a safe one
    gamma, delta, steps = 0.9, 0.3, 400
    keep = np.where(np.arange(steps) % 2 == 0, 1.0, 1.0 - delta)[:, None]
    buffer = buffer_with(keep.copy(), np.zeros((steps, 1), np.float32), keep, gamma, 1.0)
    buffer.compute_returns_and_advantage(torch.zeros(1), np.zeros(1, bool))
    expected = (1 + gamma * (1 - delta)) / (1 - gamma**2 * (1 - delta))
    assert buffer.returns[0, 0] == pytest.approx(expected, abs=1e-5)


def test_delta_one_everywhere_leaves_no_return():
    buffer = buffer_with(np.zeros((8, 2)), np.ones((8, 2), np.float32), 0.0, 0.99, 0.95)
    buffer.compute_returns_and_advantage(torch.ones(2), np.zeros(2, bool))
    np.testing.assert_allclose(buffer.returns, 0.0, atol=1e-7)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.policy.parameters()])


def make_env(env_id="saferl/HalfCheetahLimits-v0", **kwargs):
    return VecNormalize(ConstrainedVecEnv(env_id, 8, threads=1, max_episode_steps=40, **kwargs))


ARGUMENTS = {"n_steps": 32, "batch_size": 64, "n_epochs": 2, "seed": 3, "device": "cpu"}


def test_without_violations_cat_trains_the_weights_of_plain_sb3_ppo_bit_for_bit():
    never = {"joint_speed": 1e6, "action_rate": 1e6}
    trained = []
    for cls in (PPO, ConstrainedPPO, CaT):
        model = cls("MlpPolicy", make_env(limits=never), **ARGUMENTS)
        model.learn(1024)
        trained.append(weights(model))
    assert torch.equal(trained[0], trained[1])
    assert torch.equal(trained[0], trained[2])
    violated = CaT("MlpPolicy", make_env(limits={"joint_speed": 1.0}), **ARGUMENTS)
    violated.learn(1024)
    assert not torch.equal(trained[0], weights(violated))  # the comparison can fail


def test_a_zip_keeps_every_bit_and_training_goes_on_identically(tmp_path):
    def fresh():
        return CaT("MlpPolicy", make_env(), **ARGUMENTS)

    model = fresh()
    model.learn(512)
    model.save(tmp_path / "model.zip")
    loaded = CaT.load(tmp_path / "model.zip")
    assert torch.equal(weights(model), weights(loaded))
    np.testing.assert_array_equal(model.termination.normaliser, loaded.termination.normaliser)
    np.testing.assert_array_equal(model.termination.p_max, loaded.termination.p_max)
    assert loaded.termination.seeded
    assert loaded.constraint_specs == model.constraint_specs
    continued = []
    for start in (model, loaded):
        env = make_env()
        start.set_env(env)
        start.set_random_seed(9)
        start.learn(512, reset_num_timesteps=False)
        continued.append(weights(start))
    assert torch.equal(*continued)


def test_a_model_refuses_an_environment_with_other_constraints(tmp_path):
    model = CaT("MlpPolicy", make_env(), **ARGUMENTS)
    with pytest.raises(CheckpointError, match="joint_speed"):
        model.set_env(VecNormalize(ConstrainedVecEnv("saferl/HalfCheetahVelocity-v0", 8)))


def test_rewards_of_mixed_sign_keep_their_penalties():
    model = CaT("MlpPolicy", make_env(), **ARGUMENTS)
    from saferl.recorder import Recorded

    from saferl_envs.constraints import Evaluation

    values = np.full((8, 12), -1.0)
    values[:2, 0] = 1.0
    own = np.array([2.0, -2.0, 2.0, -2.0, 0.0, 0.0, 0.0, 0.0])
    bonus = np.array([0.5, 0.5, 0.5, 0, 0, 0, 0, 0])
    recorded = Recorded(Evaluation(values, np.zeros((8, 2)), values[:, :2] > 0), own, {})
    keep, scaled = model.continuation(recorded, own + bonus)
    np.testing.assert_allclose(keep[:3], [0.95, 0.95, 1.0])
    np.testing.assert_allclose(scaled[:4], [2.0 * 0.95 + 0.5 * 0.95, -2.0 + 0.5 * 0.95, 2.5, -2.0])
    model.paper_clip = True
    _, clipped = model.continuation(recorded, own + bonus)
    np.testing.assert_allclose(clipped[:2], [2.0 * 0.95 + 0.5 * 0.95, 0.0 + 0.5 * 0.95])

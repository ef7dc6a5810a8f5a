"""Cost critics and multipliers against brute force, and PID control against the dual ascent it contains."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from saferl.algorithms.lagrangian import LagrangianPPO, PIDLagSettings, PPOLagSettings
from saferl.cost_critics import CostCritics, cost_advantages
from saferl.experiment.build import make_model, make_vec_env
from saferl.experiment.config import build_config
from saferl.multipliers import PID, DualAscent
from stable_baselines3.common.logger import Logger
from torch import nn

from saferl_envs.errors import ConfigError


def brute_force(costs, values, next_values, ended, gamma, gae_lambda):
    """Sum the definition of the advantage: (gamma lambda)^k delta_t+k up to the end of the episode."""
    steps, n, c = costs.shape
    advantages = np.zeros((steps, n, c))
    for t in range(steps):
        for i in range(n):
            for k in range(steps - t):
                s = t + k
                delta = costs[s, i] + gamma * next_values[s, i] - values[s, i]
                advantages[t, i] += (gamma * gae_lambda) ** k * delta
                if ended[s, i]:
                    break
    return advantages


@pytest.mark.parametrize(("gamma", "gae_lambda"), [(0.99, 0.95), (1.0, 1.0), (0.9, 0.0)])
def test_cost_advantages_equal_brute_force(gamma, gae_lambda, record_property):
    rng = np.random.default_rng(0)
    costs, values, next_values = rng.uniform(size=(3, 23, 4, 3))
    ended = rng.uniform(size=(23, 4)) < 0.15
    assert ended.any()
    advantages, returns = cost_advantages(costs, values, next_values, ended, gamma, gae_lambda)
    expected = brute_force(costs, values, next_values, ended, gamma, gae_lambda)
    np.testing.assert_allclose(advantages, expected, atol=1e-12)
    np.testing.assert_allclose(returns, expected + values, atol=1e-12)
    record_property("measured", float(np.abs(advantages - expected).max()))


def test_with_lambda_one_cost_returns_are_discounted_sums():
    rng = np.random.default_rng(1)
    costs = rng.uniform(size=(30, 2, 1))
    ended = np.zeros((30, 2), bool)
    ended[[12, 29]] = True
    values = rng.uniform(size=costs.shape)
    next_values = np.concatenate((values[1:], values[:1]))
    next_values[ended] = 0.0  # terminated: nothing follows
    _, returns = cost_advantages(costs, values, next_values, ended, 0.97, 1.0)
    expected = sum(0.97**k * costs[13 + k] for k in range(17))
    np.testing.assert_allclose(returns[13], expected, atol=1e-12)


def test_parallel_critics_are_independent_networks():
    torch.manual_seed(0)
    critics = CostCritics(5, 3, (8, 7), nn.Tanh, 1e-3, 1.0)
    x = torch.randn(11, 5)
    found = critics(x)
    assert found.shape == (11, 3)
    layers = [layer for layer in critics.network if hasattr(layer, "weight")]
    for c in range(3):
        h = x
        for k, layer in enumerate(layers):
            h = h @ layer.weight[c] + layer.bias[c]
            h = torch.tanh(h) if k < len(layers) - 1 else h
        torch.testing.assert_close(found[:, c], h[:, 0])
    found[:, 1].sum().backward()
    for layer in layers:
        assert layer.weight.grad[[0, 2]].abs().sum() == 0
        assert layer.weight.grad[1].abs().sum() > 0


def test_orthogonal_initial_weights():
    critics = CostCritics(6, 2, (6,), nn.Tanh, 1e-3, 1.0)
    for member in critics.network[0].weight:
        torch.testing.assert_close(member.T @ member, 2.0 * torch.eye(6), atol=1e-5, rtol=0)


@pytest.fixture
def rollout():
    """A model whose buffer holds a rollout with both kinds of ends."""
    config = build_config(
        {
            "env": {"id": "saferl/HopperVelocity-v0", "num_envs": 3, "max_episode_steps": 25, "limits": {"speed": 0.1}},
            "method": {"name": "ppo_lag", "n_steps": 40, "batch_size": 60, "net_arch": [8], "cost_gae_lambda": 1.0},
            "threads": 1,
        },
        "test",
    )
    model = make_model(config, make_vec_env(config))
    model.set_logger(Logger(None, []))
    _, callback = model._setup_learn(10_000)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, 40)
    return model


def test_targets_of_a_real_rollout_equal_brute_force_with_truncation_and_termination(rollout, record_property):
    model, buffer = rollout, rollout.rollout_buffer
    truncated = {(t, i): last for t, i, last in buffer.truncated}
    ends = {(int(t), int(i)) for t, i in np.argwhere(buffer.ended)}
    assert truncated
    assert ends - truncated.keys(), "no episode terminated"
    _, _, targets = model._evaluate_costs()

    def value(observation):
        seen = torch.as_tensor(np.asarray(observation, np.float32))[None]
        return float(model.cost_critics.values(seen)[0, 0])

    expected = np.zeros((40, 3))
    for i in range(3):
        following = value(model._last_obs[i])
        for t in reversed(range(40)):
            if (t, i) in ends:
                following = value(truncated[t, i]) if (t, i) in truncated else 0.0
            following = expected[t, i] = buffer.costs[t, i, 0] + model.gamma * following
    found = targets.numpy().reshape(3, 40).T / model.cost_critics.scale
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    record_property("measured", float(np.abs(found - expected).max()))


costs_of_updates = st.lists(st.lists(st.floats(0, 1000), min_size=3, max_size=3), min_size=1, max_size=30)


@given(costs_of_updates, st.floats(1e-4, 1.0), st.floats(0, 5))
def test_integral_control_is_dual_ascent_bit_for_bit(updates, rate, initial):
    limits, senses = [25.0, 100.0, 3.0], ["<=", ">=", "=="]
    ascent = DualAscent(limits, senses, initial, learning_rate=rate)
    pid = PID(limits, senses, initial, kp=0.0, ki=rate, kd=0.0)
    for costs in updates:
        ascent.update(np.array(costs))
        pid.update(np.array(costs))
        np.testing.assert_array_equal(ascent.values, pid.values)
        assert (ascent.values[:2] >= 0).all()


def test_training_with_integral_control_equals_training_with_dual_ascent(tmp_path):
    from saferl.experiment.checkpoint import read_checkpoint
    from saferl.experiment.train import train

    shared = {"n_steps": 16, "batch_size": 32, "net_arch": [8], "multiplier_initial": 0.5}
    rules = {
        "ppo_lag": {"multiplier_optimizer": "sgd", "multiplier_lr": 0.01},
        "pid_lag": {"kp": 0.0, "ki": 0.01, "kd": 0.0},
    }
    found = []
    for name, rule in rules.items():
        config = build_config(
            {
                "env": {
                    "id": "saferl/HopperVelocity-v0",
                    "num_envs": 4,
                    "max_episode_steps": 15,
                    "limits": {"speed": 0.1},
                    "cost_limits": {"speed": 1.0},
                },
                "method": {"name": name, **shared, **rule},
                "total_timesteps": 1280,
                "evaluation": {"times": 0, "episodes": 1},
                "video": {"seconds": 0},
                "threads": 1,
            },
            "test",
        )
        found.append(read_checkpoint(train(config, tmp_path / name).last)["states"])
    assert found[0]["multipliers"]["values"][0] > 0
    assert torch.equal(found[0]["multipliers"]["values"], found[1]["multipliers"]["values"])
    for part in ("policy", "cost_critics"):
        for key, tensor in found[0][part].items():
            assert torch.equal(tensor, found[1][part][key]), key


def test_pid_by_hand():
    """Three updates of every term, computed from the paper's equations with pencil and paper."""
    pid = PID([10.0], ["<="], 0.0, kp=0.5, ki=0.1, kd=2.0, p_smoothing=0.5, d_smoothing=0.0, d_delay=1)
    pid.update(np.array([14.0]))  # e 4: I 0.4, P 2, D 0 (nothing before)
    assert pid.values[0] == pytest.approx(0.5 * 2 + 0.4)
    pid.update(np.array([20.0]))  # e 10: I 1.4, P 6, D 6
    assert pid.values[0] == pytest.approx(0.5 * 6 + 1.4 + 2 * 6)
    pid.update(np.array([0.0]))  # e -10: I 0.4, P -2, D 0 (falling)
    assert pid.values[0] == 0.0


def test_a_satisfied_constraint_has_no_multiplier_and_nothing_winds_up_below_zero():
    pid = PID([25.0], ["<="], 0.0, kp=0.1, ki=0.01, kd=0.01)
    for _ in range(200):
        pid.update(np.array([3.0]))
        assert pid.values[0] == 0.0
    pid.update(np.array([400.0]))
    assert pid.values[0] > 0


def test_a_proportional_term_answers_a_step_of_the_limit_faster():
    def updates_until(kp):
        pid = PID([25.0], ["<="], 0.0, kp=kp, ki=0.001, kd=0.0, p_smoothing=0.5)
        for k in range(1000):
            pid.update(np.array([100.0]))
            if pid.values[0] > 1.0:
                return k
        return 1000

    assert updates_until(0.05) < updates_until(0.0) / 5


def test_senses():
    for rule in (lambda s: DualAscent([10.0], [s], learning_rate=0.1), lambda s: PID([10.0], [s], kp=0.1, ki=0.1, kd=0.1)):
        least, equal = rule(">="), rule("==")
        for _ in range(5):
            least.update(np.array([4.0]))  # too little cost: reward it
            equal.update(np.array([4.0]))
        assert least.values[0] > 0 > least.weights[0]
        assert equal.values[0] < 0
        assert equal.weights[0] < 0
        for _ in range(50):
            least.update(np.array([40.0]))
            equal.update(np.array([40.0]))
        assert least.values[0] == 0
        assert equal.weights[0] > 0


def test_adam_moves_by_its_rate_whatever_the_size_of_the_error():
    rule = DualAscent([25.0], ["<="], 0.001, learning_rate=0.035, optimizer="adam")
    rule.update(np.array([900.0]))
    assert rule.values[0] == pytest.approx(0.036)
    parameter = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([parameter], lr=0.035)
    mine = DualAscent([0.0], ["=="], 0.0, learning_rate=0.035, optimizer="adam")
    for cost in (3.0, -1.0, 0.5, 20.0):
        parameter.grad = torch.tensor([-cost], dtype=torch.float64)
        adam.step()
        mine.update(np.array([cost]))
        assert mine.values[0] == pytest.approx(float(parameter.detach()), abs=1e-12)


def test_the_cap_and_the_scale():
    rule = DualAscent([25.0], ["<="], 0.0, 2.0, 10.0, learning_rate=0.1)
    rule.update(np.array([35.0]))
    assert rule.values[0] == pytest.approx(0.1)
    for _ in range(100):
        rule.update(np.array([900.0]))
    assert rule.values[0] == 2.0


def test_errors_relative_to_the_limits_move_constraints_of_different_units_alike():
    rule = DualAscent([25.0, 0.1, -2.0], ["<=", "<=", ">="], learning_rate=0.5, cost_scale="limit")
    rule.update(np.array([50.0, 0.2, -4.0]))
    assert rule.values == pytest.approx([0.5, 0.5, 0.5])
    with pytest.raises(ConfigError, match="limits other than 0"):
        DualAscent([25.0, 0.0], ["<=", "<="], learning_rate=0.5, cost_scale="limit")


def test_mixed_advantages(rollout):
    assert isinstance(rollout, LagrangianPPO)
    rollout.multipliers.values[:] = 3.0
    reward, costs = torch.tensor([1.0, -1.0]), torch.tensor([[0.5], [2.0]])
    torch.testing.assert_close(rollout.mix(reward, costs), torch.tensor([(1 - 1.5) / 4, (-1 - 6) / 4]))
    rollout.sum_norm = False
    torch.testing.assert_close(rollout.mix(reward, costs), torch.tensor([1 - 1.5, -1.0 - 6]))


def test_states_round_trip_and_do_not_mix():
    pid = PIDLagSettings().rule([25.0, 3.0], ["<=", "=="])
    for k in range(15):
        pid.update(np.array([30.0 + k, 1.0]))
    fresh = PIDLagSettings().rule([25.0, 3.0], ["<=", "=="])
    fresh.load_state_dict(pid.state_dict())
    for rule in (pid, fresh):
        rule.update(np.array([31.0, 4.0]))
    np.testing.assert_array_equal(pid.values, fresh.values)
    with pytest.raises(ConfigError, match="does not fit"):
        PPOLagSettings().rule([25.0, 3.0], ["<=", "=="]).load_state_dict(pid.state_dict())

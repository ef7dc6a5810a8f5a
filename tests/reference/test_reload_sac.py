"""ReLOAD on SAC: what its buffer holds, which way its actor goes, and under which multipliers."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from saferl.algorithms import methods
from saferl.optimistic_ascent import OptimisticAscent
from saferl.replay import Batch
from saferl.vec import ConstrainedVecEnv

from saferl_envs.errors import ConfigError

SMALL = {"n_steps": 10, "batch_size": 32, "learning_starts": 0, "net_arch": (16,), "cost_net_arch": (16,), "buffer_size": 200}
COPIES, EPISODE = 4, 25


def build(sense: str = "<=", **settings: object):
    """Return a learner on cart-pole; the position is limited so tightly that every step violates."""
    constraint = {
        "family": "signal_limit", "name": "edge", "signal": "joint_position", "components": ["slider"], "bound": "absolute",
        "limit": 1e-6, "cost_limit": 5.0, "sense": sense,
    }  # fmt: skip
    env = ConstrainedVecEnv("saferl/CartPoleBalance-v0", COPIES, threads=1, constraints=[constraint], max_episode_steps=EPISODE)
    return methods()["reload_sac"].settings(**{**SMALL, **settings}).build(env, seed=0, device="cpu")


def test_the_buffer_keeps_costs_beside_their_transitions_and_goes_round():
    model = build()
    model.learn(40 * 10)
    buffer = model.replay_buffer
    assert buffer.buffer_size == 200 // COPIES
    assert (buffer.pos, buffer.full) == (100 % 50, True)
    np.testing.assert_array_equal(buffer.newest(3), [47, 48, 49])
    np.testing.assert_array_equal(buffer.newest(1000), np.arange(50))
    model.learn(40, reset_num_timesteps=False)
    np.testing.assert_array_equal(buffer.newest(3), [7, 8, 9])
    np.testing.assert_array_equal(buffer.newest(13), [47, 48, 49, *range(10)])
    # |x| after the step says whether it violated
    np.testing.assert_allclose(buffer.values[..., 0], np.abs(buffer.next_observations[..., 0]) - 1e-6, atol=1e-6)
    np.testing.assert_array_equal(buffer.costs[..., 0] > 0, buffer.values[..., 0] > 0)


def test_a_time_limit_is_no_terminal():
    model = build()
    model.learn(40 * 3)  # thirty steps: all episodes have ended by the time limit once
    buffer = model.replay_buffer
    assert buffer.dones[EPISODE - 1].all()
    drawn = [buffer.draw(200, None) for _ in range(3)]
    assert not any(batch.dones.any() for batch in drawn)


def test_another_environment_leaves_what_is_stored_and_the_buffer_can_be_saved(tmp_path):
    model = build()
    model.learn(80)
    before = model.replay_buffer.costs.copy()
    assert before.any()
    model.set_env(build().env.venv)
    np.testing.assert_array_equal(model.replay_buffer.costs, before)
    model.save_replay_buffer(tmp_path / "buffer.pkl")
    other = build()
    other.load_replay_buffer(tmp_path / "buffer.pkl")
    np.testing.assert_array_equal(other.replay_buffer.costs, before)
    other.learn(40, reset_num_timesteps=False)
    assert other.replay_buffer.costs[2 * 10 : 3 * 10].any()


class _Linear(th.nn.Module):
    """A critic whose value is the first action times a slope."""

    def __init__(self, slope: float, members: int) -> None:
        super().__init__()
        self.slope, self.scale, self.members = th.nn.Parameter(th.tensor(slope)), 1.0, members

    def forward(self, observations: th.Tensor, actions: th.Tensor | None = None) -> th.Tensor | tuple[th.Tensor, ...]:
        first = (observations if actions is None else actions)[:, -1:]
        values = self.slope * first
        return values if actions is None else (values,) * self.members


@pytest.mark.parametrize(("weight", "sign"), [(0.0, 1.0), (2.0, -1.0), (-2.0, 1.0)])
def test_the_actor_climbs_the_mixture(weight, sign):
    """Reward grows with the action, and so does the cost: a price of 2 turns it round, a negative one (``>=``) does not."""
    model = build(ent_coef=1e-8, learning_rate=1e-2)
    model.learn(40)
    for name in ("critic", "critic_target"):
        setattr(model, name, _Linear(1.0, 2))
    model.critic.optimizer = th.optim.SGD(model.critic.parameters(), lr=0.0)
    for name in ("cost_critics", "cost_targets"):
        setattr(model, name, _Linear(1.0, 1))
    model.cost_critics.optimizer = th.optim.SGD(model.cost_critics.parameters(), lr=0.0)
    observations = th.randn(64, 5)
    zeros = th.zeros(64, 1)
    batch = Batch(observations, zeros, observations, zeros, zeros, zeros, zeros, zeros, zeros)
    with th.no_grad():
        before = float(model.actor(observations, deterministic=True).mean())
    for _ in range(20):
        model._step(batch, th.tensor([weight]))
    with th.no_grad():
        after = float(model.actor(observations, deterministic=True).mean())
    assert sign * (after - before) > 0.05


def test_cost_critics_learn_the_discounted_cost():
    """Every step costs 1 and nothing ends: the value is 1 / (1 - gamma), and without entropy in it."""
    model = build(gamma=0.5, tau=0.2, learning_rate=1e-2, ent_coef=1.0)
    model.learn(40)
    observations, actions = th.randn(64, 5), th.rand(64, 1) * 2 - 1
    zeros = th.zeros(64, 1)
    batch = Batch(observations, actions, observations, zeros, zeros, th.ones(64, 1), th.ones(64, 1), zeros, actions)
    for _ in range(400):
        model._step(batch, th.zeros(1))
    values = model.cost_critics.values(th.cat((observations, actions), dim=1))
    th.testing.assert_close(values, th.full((64, 1), 2.0), rtol=0.1, atol=0.1)
    ended = batch._replace(dones=th.ones(64, 1))
    for _ in range(400):
        model._step(ended, th.zeros(1))
    values = model.cost_critics.values(th.cat((observations, actions), dim=1))
    th.testing.assert_close(values, th.ones(64, 1), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("sense", ["<=", ">="])
@pytest.mark.parametrize("optimistic", ["none", "both"])
def test_the_actor_sees_the_multipliers_its_own_steps_were_taken_under(monkeypatch, sense, optimistic):
    model = build(sense, optimistic=optimistic, multiplier_initial=0.5)
    steps, moved = [], []
    original, update = type(model)._step, OptimisticAscent.update

    def step(self, batch, weights):
        steps.append(float(weights[0]))
        return original(self, batch, weights)

    def watched(self, costs):
        moved.append((float(self.weights[0]), float(costs[0])))
        update(self, costs)

    monkeypatch.setattr(type(model), "_step", step)
    monkeypatch.setattr(OptimisticAscent, "update", watched)
    model.learn(40 * 6)
    assert moved
    assert all(cost == EPISODE for _, cost in moved)  # J: every step of 25 violates
    known = [weight for weight, _ in moved]
    assert set(np.float32(known)) <= set(np.float32(steps))
    assert steps[-1] == pytest.approx(known[-1])  # not what the update made of it
    assert (np.sign(known[0]) > 0) == (sense == "<=")


def test_what_is_not_supported_is_said():
    env = build().env.venv
    for key, value in (("use_sde", True), ("target_update_interval", 2)):
        with pytest.raises(ConfigError, match=key):
            type(build())("MlpPolicy", env, **{key: value})
    with pytest.raises(ConfigError, match="not one update"):
        build(update_ratio=0.01)


def test_a_slow_actor_is_slow_and_critics_are_not():
    moved = {}
    for rate in (None, 1e-9):
        model = build(actor_learning_rate=rate)
        before = {
            name: th.cat([p.flatten().clone() for p in getattr(model, name).parameters()]) for name in ("actor", "critic")
        }
        model.learn(80)
        after = {name: th.cat([p.flatten() for p in getattr(model, name).parameters()]) for name in before}
        moved[rate] = {name: float((after[name] - before[name]).abs().max()) for name in before}
    assert moved[1e-9]["actor"] < 1e-6 < 1e-4 < moved[None]["actor"]
    assert moved[1e-9]["critic"] > 1e-4

"""ACS on PPO against what its equations say: rows, bar, what is stored and what is executed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th
from saferl.algorithms.acs_ppo import ACSPPO
from saferl.experiment.build import load_model, make_copies, make_model, make_vec_env, predictor
from saferl.experiment.config import build_config
from saferl.experiment.train import train

from saferl_envs.errors import ConfigError

CONTENT: dict[str, Any] = {
    "env": {"id": "saferl/QuadrotorCircle-v0", "num_envs": 4, "max_episode_steps": 20},
    "method": {"name": "acs_ppo", "n_steps": 16, "batch_size": 32, "n_epochs": 2, "net_arch": [8], "warmup_fraction": 0.0},
    "total_timesteps": 256,
    "threads": 1,
    "evaluation": {"times": 0, "episodes": 2},
    "video": {"seconds": 0},
}


def build(**changes: Any) -> ACSPPO:
    config = build_config({**CONTENT, "method": {**CONTENT["method"], **changes}}, "test")
    model = make_model(config, make_vec_env(config))
    assert isinstance(model, ACSPPO)
    return model


def simple(model: ACSPPO, used: list[float], slopes: list[list[float]], allowed: list[float]) -> None:
    """Let costs be constants and what actions add linear."""
    features = model.policy.features_dim

    class Used(th.nn.Module):
        def forward(self, seen: th.Tensor) -> th.Tensor:
            return th.tensor(used).expand(len(seen), -1)

    class Added(th.nn.Module):
        def forward(self, seen: th.Tensor) -> th.Tensor:
            return seen[:, features:] @ th.tensor(slopes).T

    found: Any = Added()
    found.allowed = th.tensor(allowed, dtype=th.float64)
    model.cost_critics, model.advantage_critics = Used(), found  # type: ignore[assignment]


def rollout_of(model: Any) -> Any:
    """Collect a rollout with a simple model."""
    model.cost_critics.values = lambda features: th.zeros(len(features), 2)
    model.cost_critics.scale = 0.01
    model._setup_learn(64)
    model.collect_rollouts(model.env, _Nothing(), model.rollout_buffer, 16)
    model._logger = _Nothing()
    return model._rollout()


def test_all_constraints_are_kept_at_once() -> None:
    model = build(alpha=0.5)
    simple(model, [0.1, 0.3], [[1.0, 0.0], [0.0, 1.0]], [0.2, 0.1])
    found = model.correct(th.zeros(3, 11), np.array([[0.9, 0.9], [0.0, -0.5], [-0.2, 0.5]]))
    # x <= 0.5 (0.2 - 0.1), y <= 0.5 (0.1 - 0.3)
    np.testing.assert_allclose(found.action, [[0.05, -0.1], [0.0, -0.5], [-0.2, -0.1]], atol=1e-6)
    assert found.intervened.tolist() == [True, False, True]
    assert found.feasible.all()


def test_what_cannot_be_kept_exceeds_least() -> None:
    model = build(alpha=1.0)
    simple(model, [5.0, 0.0], [[1.0, 0.0], [0.0, 0.0]], [0.0, 1.0])
    found = model.correct(th.zeros(1, 11), np.array([[0.3, 0.4]]))
    np.testing.assert_allclose(found.action, [[-1.0, 0.4]], atol=1e-5)
    assert not found.feasible[0]


def test_nothing_is_flung_about_where_nothing_can_be_gained() -> None:
    model = build(alpha=1.0)
    for slope, moved in ((0.01, False), (1.0, True)):  # against what is allowed per step, 0.1
        simple(model, [5.0, 0.0], [[slope, 0.0], [0.0, 0.0]], [0.1, 1.0])
        found = model.correct(th.zeros(1, 11), np.array([[0.3, 0.4]]))
        assert not found.feasible[0]
        assert bool(found.intervened[0]) is moved
        assert (found.action[0, 0] < 0.0) == moved
        assert found.slack[0] > 0.0


def test_networks_that_have_seen_no_cost_say_nothing() -> None:
    model = build()
    seen = th.randn(50, 11)
    assert (model.cost_critics(seen) == 0.0).all()
    assert (model.advantage_critics(th.cat((seen, th.rand(50, 2)), dim=1)) == 0.0).all()


def test_the_upper_policy_pays_for_what_its_proposals_exceed() -> None:
    model: Any = build(log_std_init=1.0, alpha=1.0, pressure=2.0)
    simple(model, [0.0, 0.0], [[1.0, 0.0], [0.0, 0.0]], [-0.5, 1.0])
    rollout = rollout_of(model)
    proposed = rollout.actions[:, 0].clamp(-1.0, 1.0)
    np.testing.assert_allclose(rollout.features[:, -2], 100.0 * (proposed + 0.5).clamp(min=0.0), rtol=1e-5, atol=1e-4)
    assert (rollout.features[:, -1] == 0.0).all()
    climbed = []
    model.policy_loss = lambda batch, log_prob: climbed.append(batch.cost_advantages) or log_prob.sum()
    model._loss(rollout)
    np.testing.assert_allclose(climbed[0], rollout.cost_advantages + rollout.features[:, -2:])


def test_costs_without_a_discount_are_refused() -> None:
    with pytest.raises(ConfigError, match="needs a cost_gamma"):
        build(cost_gamma=1.0)


def test_before_a_cost_is_known_everything_passes() -> None:
    model = build()
    proposed = np.random.default_rng(0).uniform(-1.0, 1.0, (20, 2))
    found = model.correct(th.zeros(20, 11), proposed)
    assert not found.intervened.any()
    assert (found.action == proposed).all()


def test_limits_are_allowed_per_step() -> None:
    model = build(cost_limits={"box": 4.0, "pitch": 2.0})
    model.learn(200)
    # every episode has twenty steps, or fewer
    allowed = model.advantage_critics.allowed.numpy()
    assert allowed[0] == pytest.approx(2 * allowed[1])
    assert 4.0 / 20 <= allowed[0] <= 4.0


def test_the_buffer_keeps_the_proposal_and_the_environment_takes_the_correction() -> None:
    model: Any = build(log_std_init=1.0, alpha=1.0)
    simple(model, [0.0, 0.0], [[1.0, 0.0], [0.0, 0.0]], [-0.5, 1.0])
    executed = []
    copies = model.recorder._base.copies
    step = copies.step

    def noted(actions: Any, ids: Any = None) -> Any:
        executed.append(np.array(actions))
        return step(actions, ids)

    copies.step = noted
    model._setup_learn(64)
    model.collect_rollouts(model.env, _Nothing(), model.rollout_buffer, 16)
    stored = model.rollout_buffer.actions
    assert (np.stack(executed)[..., 0] <= -0.5 + 1e-5).all()
    assert (stored[..., 0] > 0.0).any()
    log_prob = model.policy.evaluate_actions(
        th.as_tensor(model.rollout_buffer.observations[0]), th.as_tensor(stored[0])
    )[1]  # fmt: skip
    np.testing.assert_allclose(log_prob.detach().numpy(), model.rollout_buffer.log_probs[0], atol=1e-5)


def test_advantages_are_learned_of_what_was_executed() -> None:
    model: Any = build(log_std_init=1.0, alpha=1.0)
    simple(model, [0.0, 0.0], [[1.0, 0.0], [0.0, 0.0]], [-0.5, 1.0])
    rollout = rollout_of(model)
    executed = rollout.features[:, model.policy.features_dim :]
    assert (executed[:, 0] <= -0.5 + 1e-5).all()
    assert (rollout.actions[:, 0] > 0.0).any()


class _Nothing:
    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: True


def test_the_trained_policy_brings_its_safeguard_along(tmp_path: Any) -> None:
    config = build_config(CONTENT, "test")
    run = train(config, tmp_path / "run")
    model: Any = load_model(run.config(), run.checkpoint("last"))
    assert np.isfinite(model.advantage_critics.allowed.numpy()).all()
    observation = make_copies(config, 3).observe()
    simple(model, [0.0, 0.0], [[1.0, 0.0], [0.0, 0.0]], [-0.5, 1.0])
    guarded = predictor(model, True)(observation)
    model.corrects = False
    alone = predictor(model, True)(observation)
    assert (guarded[:, 0] <= -0.39).all()
    assert not np.array_equal(guarded, alone)


def test_other_senses_and_actions_are_refused() -> None:
    pole = {"family": "signal_limit", "name": "tilt", "signal": "observation", "components": ["observation_2"], "limit": 0.1}
    for env, words in (
        ({"id": "CartPole-v1", "constraints": [{**pole, "cost_limit": 3}]}, "needs a Box as action space, got Discrete"),
        ({"id": "Pendulum-v1", "constraints": [{**pole, "cost_limit": 3, "sense": ">="}]}, "another sense"),
    ):
        config = build_config({**CONTENT, "env": {"num_envs": 2, **env}}, "test")
        with pytest.raises(ConfigError, match=words):
            make_model(config, make_vec_env(config))

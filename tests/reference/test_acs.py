"""ACS against what its equations say: the bar, the correction, the critics' fixed points, and who sees which action."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th
from saferl.algorithms.acs import ACS
from saferl.experiment.build import load_model, make_copies, make_model, make_vec_env, predictor
from saferl.experiment.config import build_config
from saferl.experiment.train import train
from saferl.replay import Batch

from saferl_envs.errors import ConfigError

CONTENT: dict[str, Any] = {
    "env": {"id": "saferl/QuadrotorCircle-v0", "num_envs": 4},
    "method": {
        "name": "acs",
        "n_steps": 16,
        "batch_size": 32,
        "learning_starts": 64,
        "net_arch": [16],
        "safety_net_arch": [16],
    },
    "total_timesteps": 640,
    "threads": 1,
    "evaluation": {"times": 0, "episodes": 2},
    "video": {"seconds": 0},
}


def build(**changes: Any) -> ACS:
    config = build_config({**CONTENT, "method": {**CONTENT["method"], **changes}}, "test")
    model = make_model(config, make_vec_env(config))
    assert isinstance(model, ACS)
    return model


def linear_risk(model: ACS, bias: float, slope: list[float], value: float) -> None:
    """Let the slow critic be ``bias + slope . action`` and the value network a constant."""
    features = model.actor.features_dim

    class Risk(th.nn.Module):
        def forward(self, inputs: th.Tensor) -> th.Tensor:
            return bias + inputs[:, features:] @ th.tensor(slope)[:, None]

    class Value(th.nn.Module):
        def forward(self, inputs: th.Tensor) -> th.Tensor:
            return th.full((len(inputs), 1), value)

    model.safety_target, model.safety_value = Risk(), Value()  # type: ignore[assignment]


def test_the_bar_takes_back_a_share_of_the_excess() -> None:
    model = build(alpha=0.25, tolerance=0.1)
    linear_risk(model, 0.0, [1.0, 0.0], value=0.5)
    assert model.bar == pytest.approx(0.1)  # a policy that is only played is past all schedules
    limit = model._limit(th.zeros(3, model.actor.features_dim), model.bar)
    np.testing.assert_allclose(limit, np.full((3, 1), 0.75 * 0.5 + 0.25 * 0.1), rtol=1e-6)


def test_alpha_one_is_the_fixed_threshold_of_a_safety_critic() -> None:
    model = build(alpha=1.0, tolerance=0.1)
    for value in (0.0, 0.7):
        linear_risk(model, 0.0, [1.0, 0.0], value)
        assert float(model._limit(th.zeros(1, model.actor.features_dim), model.bar)) == pytest.approx(0.1)


def test_the_tolerance_falls_once_corrections_begin() -> None:
    model = build(warmup_fraction=0.2, tolerance_fraction=0.6, tolerance=0.1, tolerance_start=0.9)
    model._total_timesteps = 1000
    for steps, expected in ((0, 0.9), (200, 0.9), (400, 0.5), (600, 0.1), (1000, 0.1)):
        model.num_timesteps = steps
        assert model.bar == pytest.approx(expected)


def test_a_played_policy_is_past_all_schedules_but_not_before_they_begin() -> None:
    model: Any = build(alpha=1.0, tolerance=0.2, warmup_fraction=0.5, tolerance_fraction=0.9)
    linear_risk(model, 0.0, [1.0, 0.0], value=0.0)
    observation = np.zeros((1, 11), np.float32)
    model._total_timesteps = 1000
    model.policy.actor.mu = _Ones()
    model.num_timesteps = 400
    assert model.predict(observation)[0][0, 0] == pytest.approx(1.0)  # what corrections go by is not learned yet
    model.num_timesteps = 600
    assert model.bar > 0.5
    assert model.predict(observation)[0][0, 0] == pytest.approx(0.2, abs=1e-6)


class _Ones(th.nn.Module):
    def forward(self, features: th.Tensor) -> th.Tensor:
        return th.ones(len(features), 2)


def test_corrections_are_exact_where_the_critic_is_linear() -> None:
    model = build(alpha=1.0, tolerance=0.2)
    linear_risk(model, 0.0, [0.6, 0.8], value=0.0)
    proposed = np.array([[0.5, 0.5], [0.1, 0.1], [1.0, -1.0], [1.0, 1.0]])
    found = model.correct(th.zeros(4, 11), proposed)
    # the closest point of 0.6 x + 0.8 y <= 0.2
    excess = np.maximum(proposed @ [0.6, 0.8] - 0.2, 0.0)[:, np.newaxis]
    np.testing.assert_allclose(found.actions, proposed - excess * [0.6, 0.8], atol=1e-6)
    assert found.intervened.tolist() == [True, False, False, True]
    assert found.feasible.all()


def test_what_cannot_be_met_goes_to_the_safest_corner_and_says_so() -> None:
    model = build(alpha=1.0, tolerance=0.0)
    linear_risk(model, 5.0, [1.0, -1.0], value=0.0)
    found = model.correct(th.zeros(1, 11), np.array([[0.3, 0.2]]))
    assert found.actions.tolist() == [[-1.0, 1.0]]
    assert not found.feasible[0]


def test_only_unsafe_actions_are_moved() -> None:
    model = build()
    rng = np.random.default_rng(0)
    proposed = rng.uniform(-1.0, 1.0, (50, 2)).astype(np.float32)
    observations = th.as_tensor(rng.normal(size=(50, 11)), dtype=th.float32)
    with th.no_grad():
        risk = model.safety_target(th.cat((observations, th.as_tensor(proposed)), dim=1))[:, 0].numpy()
        safe = risk <= model._limit(observations, model.bar)[:, 0].numpy()
    found = model.correct(observations, proposed)
    assert 0 < safe.sum() < 50
    assert (found.actions[safe] == proposed[safe]).all()
    assert not found.intervened[safe].any()


def batch_of(model: ACS, violated: float, done: float = 0.0) -> Batch:
    n = 64
    observations, actions = th.randn(n, 11), th.rand(n, 2) * 2 - 1
    return Batch(
        observations, actions, th.randn(n, 11), th.full((n, 1), done), th.zeros(n, 1), th.full((n, 2), violated),
        th.full((n, 2), violated), th.zeros(n, 3), actions,
    )  # fmt: skip


@pytest.mark.parametrize(("violated", "done", "expected"), [(1.0, 0.0, 1.0), (0.0, 0.0, 0.0), (1.0, 1.0, 0.5)])
def test_the_critic_learns_the_discounted_share_of_violations(violated: float, done: float, expected: float) -> None:
    th.manual_seed(0)
    model = build(gamma=0.5, tau=0.2, learning_rate=1e-2)
    for _ in range(300):
        model._n_updates += 1
        model._step(batch_of(model, violated, done))
    batch = batch_of(model, violated, done)
    with th.no_grad():
        risk = model.safety(th.cat((batch.observations, batch.actions), dim=1))
        value = model.safety_value(batch.observations)
    assert float(risk.mean()) == pytest.approx(expected, abs=0.05)
    assert float(value.mean()) == pytest.approx(expected, abs=0.05)


def test_only_guarded_constraints_count() -> None:
    assert build()._columns == [0, 1]
    assert build(guarded=["pitch"])._columns == [1]
    with pytest.raises(ConfigError, match=r"method.guarded.*unknown constraint 'pich' \(did you mean 'pitch'\?\)"):
        build(guarded=["pich"])


def test_critics_see_what_was_executed() -> None:
    model = build(warmup_fraction=0.0, tolerance_start=0.0, tolerance=0.0, alpha=1.0)
    model._setup_learn(640)
    linear_risk(model, 0.5, [1.0, 0.0], value=0.0)
    model.num_timesteps = 100
    action, stored = model._sample_action(64, model.action_noise, 4)
    assert (stored[:, 0] <= -0.5 + 1e-6).all()
    np.testing.assert_allclose(model.policy.scale_action(action), stored, atol=1e-6)
    model.num_timesteps = 0  # random actions of the beginning are not corrected
    _, stored = model._sample_action(64, model.action_noise, 4)
    assert (stored[:, 0] > -0.5).any()


def test_the_trained_policy_brings_its_safeguard_along(tmp_path: Any) -> None:
    config = build_config(CONTENT, "test")
    run = train(config, tmp_path / "run")
    model: Any = load_model(run.config(), run.checkpoint("last"))
    copies = make_copies(config, 3)
    observation = copies.observe()
    linear_risk(model, 0.5, [1.0, 0.0], value=0.0)
    guarded = predictor(model, True)(observation)
    model.corrects = False
    alone = predictor(model, True)(observation)
    assert (guarded[:, 0] <= -0.3).all()
    assert not np.array_equal(guarded, alone)

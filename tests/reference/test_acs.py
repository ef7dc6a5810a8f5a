"""ACS against what its equations say: the bar, the correction, the critics' fixed points, and who sees which action."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th
from saferl.algorithms.acs import ACS
from saferl.cost_critics import CostCritics, ParallelLinear
from saferl.dense_critic import DenseCritic
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


def set_risk(model: ACS, bias: float, kinks: list[tuple[list[float], float, float]]) -> None:
    """Let the slow critic be ``bias + sum_k height_k relu(slope_k . action + offset_k)``."""
    first, last = (layer for layer in model.safety_target.network if isinstance(layer, ParallelLinear))
    features = model.actor.features_dim
    with th.no_grad():
        for parameter in model.safety_target.parameters():
            parameter.zero_()
        last.bias.fill_(bias)
        for k, (slope, offset, height) in enumerate(kinks):
            first.weight[0, features:, k], first.bias[0, 0, k] = th.tensor(slope), offset
            last.weight[0, k, 0] = height


def linear_risk(model: ACS, bias: float, slope: list[float], value: float) -> None:
    """Let the slow critic be ``bias + slope . action`` and the value network a constant."""
    set_risk(model, bias, [(slope, 0.0, 1.0), ([-x for x in slope], 0.0, -1.0)])
    with th.no_grad():
        for parameter in model.safety_value.parameters():
            parameter.zero_()
        model.safety_value.network[-1].bias.fill_(value)  # type: ignore[operator,union-attr]


def test_slopes_are_those_of_torch() -> None:
    th.manual_seed(0)
    critic = CostCritics(7, 1, (16, 8, 8), th.nn.ReLU, 1e-2, 1.0)
    dense = DenseCritic(critic, 5)
    for _ in range(2):  # the second time after it has learned
        states, actions = th.randn(20, 5), th.rand(20, 2, requires_grad=True)
        risk = critic(th.cat((states, actions), dim=1))[:, 0]
        (slope,) = th.autograd.grad(risk.sum(), actions, retain_graph=True)
        found, found_slope = dense.slopes(dense.prepared(states.numpy()), actions.detach().double().numpy())
        np.testing.assert_allclose(found, risk.detach().numpy(), atol=1e-6)
        np.testing.assert_allclose(found_slope, slope.numpy(), atol=1e-6)
        assert (found_slope != 0.0).any(axis=1).all()
        assert dense.shows(critic)
        risk.square().mean().backward()
        critic.optimizer.step()
    assert not dense.shows(CostCritics(7, 1, (16, 8, 8), th.nn.ReLU, 1e-2, 1.0))


def test_the_bar_takes_back_a_share_of_the_excess() -> None:
    model = build(alpha=0.25, tolerance=0.1)
    linear_risk(model, 0.0, [1.0, 0.0], value=0.5)
    assert model.bar == pytest.approx(0.1)  # a policy that is only played is past all schedules
    limit = model._limit(th.zeros(3, model.actor.features_dim), model.bar).detach()
    np.testing.assert_allclose(limit, np.full((3, 1), 0.75 * 0.5 + 0.25 * 0.1), rtol=1e-6)


def test_alpha_one_is_the_fixed_threshold_of_a_safety_critic() -> None:
    model = build(alpha=1.0, tolerance=0.1)
    for value in (0.0, 0.7):
        linear_risk(model, 0.0, [1.0, 0.0], value)
        limit = model._limit(th.zeros(1, model.actor.features_dim), model.bar).detach()
        assert float(limit) == pytest.approx(0.1)


def test_the_tolerance_falls_once_corrections_begin() -> None:
    model = build(warmup_fraction=0.2, tolerance_fraction=0.6, tolerance=0.1, tolerance_start=0.9)
    model._total_timesteps = 1000
    for steps, expected in ((0, 0.9), (200, 0.9), (400, 0.3), (600, 0.1), (1000, 0.1)):  # by equal factors
        model.num_timesteps = steps
        assert model.bar == pytest.approx(expected)


def test_a_played_policy_is_past_all_schedules_but_not_before_they_begin() -> None:
    model: Any = build(alpha=1.0, tolerance=0.2, tolerance_start=1.0, warmup_fraction=0.5, tolerance_fraction=0.9)
    linear_risk(model, 0.0, [1.0, 0.0], value=0.0)
    observation = np.zeros((1, 11), np.float32)
    model._total_timesteps = 1000
    model.policy.actor.mu = _Ones()
    model.num_timesteps = 400
    assert model.predict(observation)[0][0, 0] == pytest.approx(1.0)  # what corrections go by is not learned yet
    model.num_timesteps = 600
    assert model.bar > 0.2
    assert model.predict(observation)[0][0, 0] == pytest.approx(0.2, abs=1e-5)


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
    np.testing.assert_allclose(found.action, proposed - excess * [0.6, 0.8], atol=1e-6)
    assert found.intervened.tolist() == [True, False, False, True]
    assert found.feasible.all()


def test_what_cannot_be_met_goes_to_the_safest_corner_and_says_so() -> None:
    model = build(alpha=1.0, tolerance=0.0)
    linear_risk(model, 5.0, [1.0, -1.0], value=0.0)
    found = model.correct(th.zeros(1, 11), np.array([[0.3, 0.2]]))
    assert found.action.tolist() == [[-1.0, 1.0]]
    assert not found.feasible[0]


def test_the_rungs_of_the_ladder() -> None:
    model: Any = build(alpha=1.0, tolerance=0.01, samples=64, rounds=8)
    linear_risk(model, 0.0, [1.0, 0.0], value=0.0)
    # more and more risk left of 0.42 and of 0.1 in the first action; a wall, and no slope behind it, in the second
    wall = [([0.0, -1e3], 0.0, 1.0), ([0.0, -1e3], -1.0, -1.0)]
    set_risk(model, 0.0, [([-1.0, 0.0], 0.42, 0.5), ([-1.0, 0.0], 0.1, 2.0), *wall])
    proposed = np.array([[0.45, 0.5], [-0.5, 0.5], [0.5, -0.1]])
    found = model.correct(th.zeros(3, 11), proposed)
    # as is; Newton's steps to where the risk is 0.01, a0 = 0.4; past the wall only samples come
    assert found.rung.tolist() == [0, 2, 3]
    assert found.feasible.all()
    assert (found.slack == 0.0).all()
    assert found.action[0].tolist() == pytest.approx([0.45, 0.5])
    assert found.action[1].tolist() == pytest.approx([0.4, 0.5], abs=1e-5)
    assert found.action[2, 1] >= -1e-4
    assert found.action[2, 0] >= 0.4 - 1e-5
    again = model.correct(th.zeros(3, 11), proposed)
    assert (again.action == found.action).all()  # samples are the same for the same proposal
    model._samples, model.rounds = model._samples[:0], 1
    short = model.correct(th.zeros(3, 11), proposed)
    assert short.rung.tolist() == [0, 4, 4]
    assert (short.slack[1:] > 0.0).all()


def test_where_nothing_suffices_the_safest_sample_is_taken_if_it_is_worth_while() -> None:
    model: Any = build(alpha=1.0, tolerance=0.01, samples=64)
    # a plateau of risk 0.9, and a ditch of 0.05 beyond 0.3 in the second action; no slope on either
    linear_risk(model, 0.0, [0.0, 0.0], value=0.0)
    edge = [([0.0, 1e3], -300.0, -0.85), ([0.0, 1e3], -301.0, 0.85)]
    set_risk(model, 0.9, edge)
    found = model.correct(th.zeros(1, 11), np.array([[0.2, -0.5]]))
    assert found.rung[0] == 4
    assert not found.feasible[0]
    assert found.slack[0] == pytest.approx(0.04, abs=1e-3)
    assert found.action[0, 1] > 0.3
    set_risk(model, 0.9, [(slope, offset, 0.01 * height) for slope, offset, height in edge])  # 0.0085 less is not worth it
    assert model.correct(th.zeros(1, 11), np.array([[0.2, -0.5]])).action[0].tolist() == pytest.approx([0.2, -0.5])


def test_a_second_training_goes_on_behind_the_safeguard() -> None:
    model: Any = build(warmup_fraction=0.5, tolerance_start=0.5, tolerance_fraction=0.9, tolerance=0.1)
    model.learn(640)
    assert model.begun
    model._setup_learn(640)
    model.num_timesteps = 0
    assert model.progress == 0.0
    assert model.begun
    assert model.bar == pytest.approx(0.1)


def test_behind_another_safeguard_steps_tell_what_that_executed(tmp_path: Any) -> None:
    content = {
        **CONTENT,
        "method": {**CONTENT["method"], "warmup_fraction": 0.0},
        "safeguard": {"name": "barrier", "horizon": 5},
    }
    config = build_config(content, "test")
    model: Any = make_model(config, make_vec_env(config))

    def note(local: dict[str, Any], _: Any) -> bool:
        for info in local["infos"]:
            assert {"action_proposed", "action_executed", "safeguard_verified"} <= info.keys()
            moved = np.abs(info["action_proposed"] - info["action_executed"]).max()
            assert bool(info["intervened"]) or moved <= 1e-6
        return True

    model.learn(256, callback=note)
    header = train(config, tmp_path / "run").progress.read_text().partition("\n")[0]
    assert {"safeguard/verified_rate", "learned_safeguard/intervention_rate"} <= set(header.split(","))


def test_steps_tell_of_corrections_and_logs_count_them() -> None:
    model: Any = build(warmup_fraction=0.0, tolerance_start=0.0, tolerance=0.0, alpha=1.0)
    told: list[dict[str, Any]] = []

    def note(local: dict[str, Any], _: Any) -> bool:
        told.extend(local["infos"])
        return True

    model.learn(128, callback=note)
    assert len(told) == 128
    for info in told:
        moved = not np.array_equal(info["action_proposed"], info["action_executed"])
        assert bool(info["intervened"]) == moved or np.allclose(info["action_proposed"], info["action_executed"], atol=1e-6)
        assert info["safeguard_rung"] in range(5)
        assert bool(info["safeguard_feasible"]) == (info["safeguard_slack"] == 0.0)
        assert not info["safeguard_verified"]


def test_only_unsafe_actions_are_moved() -> None:
    th.manual_seed(0)
    model = build(alpha=1.0, tolerance=0.0)
    th.nn.init.normal_(model.safety_target.network[-1].weight)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    proposed = rng.uniform(-1.0, 1.0, (50, 2)).astype(np.float32)
    observations = th.as_tensor(rng.normal(size=(50, 11)), dtype=th.float32)
    with th.no_grad():
        risk = model.safety_target(th.cat((observations, th.as_tensor(proposed)), dim=1))[:, 0].numpy()
        safe = risk <= model._limit(observations, model.bar)[:, 0].numpy()
    found = model.correct(observations, proposed)
    assert 0 < safe.sum() < 50
    assert (found.action[safe] == proposed[safe]).all()
    assert not found.intervened[safe].any()


def batch_of(model: ACS, violated: float, done: float = 0.0) -> Batch:
    n = 64
    observations, actions, dones = th.randn(n, 11), th.rand(n, 2) * 2 - 1, (th.rand(n, 1) < done).float()
    return Batch(
        observations, actions, th.randn(n, 11), dones, th.zeros(n, 1), th.full((n, 2), violated),
        th.full((n, 2), violated), th.zeros(n, 3), actions,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("violated", "done", "margins"), [(1.0, 0.0, {}), (0.0, 0.0, {}), (1.0, 0.5, {}), (0.0, 0.0, {"pitch": 0.1})]
)
def test_the_critic_learns_the_discounted_share_of_violations(violated: float, done: float, margins: dict[str, float]) -> None:
    # of all that follow, which do not end with an episode; every value is at its limit, within any margin
    expected = 1.0 if margins else violated
    th.manual_seed(0)
    model = build(safety_gamma=0.5, safety_tau=0.2, learning_rate=1e-2, margins=margins)
    for _ in range(300):
        model._n_updates += 1
        model._step(batch_of(model, violated, done))
    batch = batch_of(model, violated, done)
    with th.no_grad():
        risk = model.safety(th.cat((batch.observations, batch.actions), dim=1))
        value = model.safety_value(batch.observations)
    assert float(risk.mean()) == pytest.approx(expected, abs=0.05)
    assert float(value.mean()) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(("done", "expected"), [(0.0, 0.5 * 0.3), (1.0, 0.5 * 0.8)])
def test_an_end_counts_as_the_state_before_it(done: float, expected: float) -> None:
    model = build(safety_gamma=0.5)
    linear_risk(model, 0.3, [0.0, 0.0], value=0.8)  # after any step 0.3, in any state 0.8
    batch = batch_of(model, 0.0, done)
    loss = model.learn_safeguard(batch, batch.actions)["safety_loss"]  # of a critic that begins with 0
    assert float(loss) == pytest.approx(expected**2, rel=1e-4)


@pytest.mark.parametrize("violated", [0.0, 1.0])
def test_a_warm_up_is_enough_to_tell_safe_from_unsafe(violated: float) -> None:
    th.manual_seed(0)
    model = build(safety_net_arch=[128, 128])  # what it learns with is what is used by default
    for _ in range(2000):
        model._n_updates += 1
        model.learn_safeguard(batch := batch_of(model, violated), batch.actions)
        model.follow_safeguard()
    batch = batch_of(model, violated)
    with th.no_grad():
        risk = model.safety_target(th.cat((batch.observations, batch.actions), dim=1))
    if violated:
        assert float(risk.min()) > 0.5
    else:
        assert float(risk.abs().max()) < 0.25 * model.tolerance


def test_risk_is_that_of_what_would_be_executed() -> None:
    model: Any = build(warmup_fraction=0.0, tolerance_start=0.0, tolerance=0.0, alpha=1.0)
    model._setup_learn(640)
    model.num_timesteps = 100
    linear_risk(model, 0.5, [1.0, 0.0], value=0.0)
    model.actor_target.mu = _Ones()
    batch = batch_of(model, 0.0)
    np.testing.assert_allclose(model.following(batch)[:, 0], np.full(64, -0.499), atol=2e-6)  # the tolerance begins at 0.001
    np.testing.assert_allclose(model.following(batch)[:, 1], np.ones(64))
    model.correction = "gradient"  # USL's critic looks ahead to what is proposed
    assert (model.following(batch) == 1.0).all()


def test_nothing_is_flung_about_where_nothing_can_be_gained() -> None:
    model = build(alpha=1.0, tolerance=0.02)
    linear_risk(model, 0.021, [1e-4, 1e-4], value=0.0)
    found = model.correct(th.zeros(1, 11), np.array([[0.3, 0.2]]))
    assert not found.feasible[0]
    assert found.rung[0] == 4
    assert found.slack[0] == pytest.approx(0.001, abs=1e-4)
    # four times the share 1e-4 * 2.5 / (1e-4 * 2.5 + 0.02) of the way to the corner
    assert np.abs(found.action - [[0.3, 0.2]]).max() < 0.07


def test_a_constraint_to_stay_above_is_refused() -> None:
    constraint = {"family": "base_height", "name": "height", "limit": 0.5, "sense": ">=", "cost_limit": 3}
    env = {"id": "saferl/HopperVelocity-v0", "num_envs": 2, "constraints": [constraint]}
    config = build_config({**CONTENT, "env": env}, "test")
    copies = make_vec_env(config)
    with pytest.raises(ConfigError, match="constraint 'height' has the sense >=: a safeguard can only keep costs low"):
        make_model(config, copies)


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
    assert (stored[:, 0] <= -0.498).all()
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

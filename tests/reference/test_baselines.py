"""CRPO, P3O, FOCOPS and CPO against their closed forms on small problems, and against each other where they coincide."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch as th
from saferl.algorithms import CPO, CRPO, FOCOPS, P3O, methods
from saferl.algorithms.cost_critic_ppo import CostCriticPPO
from saferl.algorithms.focops import state_kl
from saferl.one_sided import OneSided
from saferl.rollout_tensors import Rollout
from saferl.vec import ConstrainedVecEnv
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution

from saferl_envs.errors import ConfigError

SMALL = {"n_steps": 32, "batch_size": 64, "n_epochs": 2, "net_arch": (16,)}


def build(method: str, sense: str = "<=", limit: float = 1.0, aggregate: str = "sum", **settings: object):
    """Return a small learner on cart-pole; the position is limited so tightly that every step violates."""
    constraint = {
        "family": "signal_limit", "name": "edge", "signal": "joint_position", "components": ["slider"], "bound": "absolute",
        "limit": 1e-6, "cost_limit": limit, "sense": sense, "aggregate": aggregate,
    }  # fmt: skip
    env = ConstrainedVecEnv("saferl/CartPoleBalance-v0", 4, threads=1, constraints=[constraint], max_episode_steps=20)
    return methods()[method].settings(**{**SMALL, **settings}).build(env, seed=0, device="cpu")


def weights(model) -> np.ndarray:
    return np.concatenate([p.detach().numpy().ravel() for p in model.policy.parameters()])


def batch(n: int = 64, seed: int = 0) -> tuple[Rollout, th.Tensor]:
    """Return a minibatch with one constraint, and log-probabilities of a policy that has moved."""
    generator = th.Generator().manual_seed(seed)
    draw = [th.randn(n, generator=generator, dtype=th.float64) for _ in range(4)]
    empty = th.zeros(n, 1, dtype=th.float64)
    made = Rollout(empty, empty, draw[0], draw[1], draw[2], empty, draw[3][:, None], empty)
    return made, draw[0] + 0.3 * th.randn(n, generator=generator, dtype=th.float64)


def test_conditions_turn_senses_round():
    conditions = OneSided([1.0, 2.0, 3.0], ["<=", ">=", "=="])
    assert not conditions.known
    conditions.see(np.array([4.0, 4.0, 4.0]), np.array([1.0, 2.0, 1.0]))
    assert conditions.known
    np.testing.assert_array_equal(conditions.errors, [3.0, -4.0, 1.0, -1.0])
    other = OneSided([1.0, 2.0, 3.0], ["<=", ">=", "=="])
    other.load_state_dict(conditions.state_dict())
    np.testing.assert_array_equal(other.errors, conditions.errors)
    with pytest.raises(ConfigError, match="4 conditions, expected 1"):
        OneSided([1.0], ["<="]).load_state_dict(conditions.state_dict())
    costs = th.tensor([[1.0, 2.0, 3.0]])
    th.testing.assert_close(conditions.advantages(costs), th.tensor([[1.0, -2.0, 3.0, -3.0]]))


# fixed multipliers


def test_fixed_lags_are_a_lagrangian_that_does_not_learn():
    found = []
    for method, settings in (("fixed_lag", {}), ("ppo_lag", {"multiplier_lr": 1e-300, "multiplier_optimizer": "sgd"})):
        model = build(method, limit=0.0, standardize="mixed", multiplier_initial=0.7, **settings)
        model.learn(512)
        assert model.multipliers.values[0] == 0.7
        found.append(weights(model))
    np.testing.assert_array_equal(*found)


# CRPO


def test_crpo_follows_the_reward_or_the_constraint_that_is_broken_most():
    model = build("crpo", tolerance=0.5)
    model.conditions, model.limited = OneSided([1.0, 10.0], ["<=", ">="]), [0, 0]
    model.set_logger(SimpleNamespace(record=lambda *_: None))
    reward, costs = th.tensor([1.0, 2.0]), th.tensor([[3.0, 4.0], [5.0, 6.0]])
    for seen, followed in (
        ([1.5, 10.0], reward),  # within the tolerance
        ([1.6, 10.0], -costs[:, 0]),
        ([1.6, 2.0], costs[:, 1]),  # 0.8 of its limit is more than 0.6; a cost that is too small is followed upwards
        (None, costs[:, 1]),  # nothing new is known
        ([0.0, 11.0], reward),
    ):
        model.see_costs(None if seen is None else np.array(seen))
        th.testing.assert_close(model.mix(reward, costs), followed)


def test_crpo_under_a_limit_that_always_holds_is_ppo_with_idle_multipliers():
    found = []
    for method, settings in (("crpo", {}), ("ppo_lag", {"standardize": "mixed"})):
        model = build(method, limit=1e6, **settings)
        assert isinstance(model, CRPO) == (method == "crpo")
        model.learn(512)
        found.append(weights(model))
    np.testing.assert_array_equal(*found)


def test_crpo_under_a_broken_limit_does_not_see_the_reward(monkeypatch: pytest.MonkeyPatch):
    model = build("crpo", limit=0.0)
    model.learn(256)
    assert model.broken == 0
    state = {key: value.clone() for key, value in model.policy.state_dict().items()}
    original = CostCriticPPO._rollout
    found = []
    for factor in (1.0, -3.0):
        model.policy.load_state_dict(state)
        monkeypatch.setattr(
            CostCriticPPO, "_rollout", lambda self, f=factor: (r := original(self))._replace(advantages=f * r.advantages)
        )
        rollout = model._rollout()
        _, log_prob, _ = model.policy.evaluate_actions(rollout.observations, rollout.actions)
        found.append(float(model.policy_loss(rollout, log_prob).detach()))
    assert found[0] == found[1]


# P3O


@pytest.mark.parametrize(("error", "active"), [(0.4, True), (-5.0, False)])
def test_p3o_adds_the_excess_that_its_surrogate_expects(error, active):
    model = build("p3o", penalty=7.0)
    assert isinstance(model, P3O)
    rollout, log_prob = batch()
    model.conditions.errors[:] = error
    ratio = (log_prob - rollout.old_log_prob).exp().numpy()
    advantage = rollout.advantages.numpy()
    advantage = (advantage - advantage.mean()) / (advantage.std(ddof=1) + 1e-8)
    held = np.clip(ratio, 0.8, 1.2)
    reward = np.minimum(ratio * advantage, held * advantage).mean()
    cost = rollout.cost_advantages.numpy()[:, 0]
    expected = np.maximum(ratio * cost, held * cost).mean() + error
    assert (expected > 0) == active
    found = float(model.policy_loss(rollout, log_prob).detach())
    np.testing.assert_allclose(found, -reward + 7.0 * max(0.0, expected), rtol=1e-12)


def test_p3o_before_the_first_episode_and_far_below_its_limit_is_ppo():
    model = build("p3o")
    rollout, log_prob = batch()
    plain = model.policy_loss(rollout, log_prob)
    model.conditions.errors[:] = -100.0
    th.testing.assert_close(model.policy_loss(rollout, log_prob), plain)


@pytest.mark.parametrize(("sense", "signs"), [("<=", [1.0]), (">=", [-1.0]), ("==", [1.0, -1.0])])
@pytest.mark.parametrize(
    ("aggregate", "limit", "gamma", "error"),
    # twenty steps, each of which violates
    [
        ("sum", 5.0, 0.99, 1.0 - 0.25),
        ("mean", 0.25, 0.99, 1.0 - 0.25),
        ("discounted", 0.0, 0.99, 1.0),
        ("discounted", 0.0, 1.0, 1.0),
        ("discounted", (1 - 0.9**20) / 0.1, 0.9, 0.0),
    ],
)
def test_p3os_error_is_per_step(sense, signs, aggregate, limit, gamma, error):
    model = build("p3o", sense=sense, limit=limit, aggregate=aggregate, gamma=gamma)
    model.learn(256)
    np.testing.assert_allclose(model.conditions.errors, np.array(signs) * error, atol=1e-6)


@pytest.mark.parametrize(("sense", "sign"), [("<=", 1.0), (">=", -1.0), ("==", 1.0)])
@pytest.mark.parametrize(
    ("aggregate", "limit", "error"), [("sum", 5.0, 15.0), ("mean", 0.25, 0.75), ("discounted", 0.0, (1 - 0.99**20) / 0.01)]
)
def test_reloads_multiplier_learns_from_the_error_in_the_aggregates_unit(sense, sign, aggregate, limit, error):
    """Twenty steps, each of which violates: the error is that of every iteration, so ascent's steps are known."""
    model = build("reload", sense=sense, limit=limit, aggregate=aggregate, multiplier_lr=0.1)
    model.learn(384)  # the first of three iterations may know no episode
    rule = model.multipliers
    np.testing.assert_allclose(rule._last_error, [sign * error], atol=1e-6)
    steps = rule.values[0] / (0.1 * error)
    if sign < 0:
        assert steps == 0.0
    else:
        assert steps == pytest.approx(round(steps), abs=1e-4)
        assert round(steps) >= 2


def test_a_limit_on_a_discounted_cost_has_the_discount_that_evaluation_judges_it_by():
    with pytest.raises(ConfigError, match="cost_gamma"):
        build("p3o", limit=5.0, aggregate="discounted", gamma=0.99, cost_gamma=0.9)
    assert build("p3o", limit=5.0, aggregate="discounted", gamma=0.99, cost_gamma=0.99).recorder.episodes.gamma == 0.99
    assert build("p3o", limit=5.0, gamma=0.99, cost_gamma=0.9).recorder.episodes.gamma == 0.99


# FOCOPS


class Logits:
    """A policy of one state: two arms."""

    def __init__(self, logits: th.Tensor) -> None:
        self.logits = logits

    def get_distribution(self, observations: th.Tensor) -> CategoricalDistribution:
        return CategoricalDistribution(2).proba_distribution(self.logits.expand(len(observations), 2))


def test_focops_finds_the_policy_of_its_closed_form():
    """Where nothing is cut off, the minimum of its loss is the old policy times exp(A / lambda), normalised."""
    temperature, arms = 1.5, th.tensor([0, 1, 1, 1])  # as often as the old policy pulls them
    old = th.tensor([0.25, 0.75], dtype=th.float64).log()
    logits = old.clone().requires_grad_()
    advantages = th.tensor([0.9, -0.3], dtype=th.float64)
    model = FOCOPS.__new__(FOCOPS)
    model.temperature, model.max_kl, model._acted = temperature, 10.0, Logits(old)
    model.policy = Logits(logits)
    model.mixed = lambda rollout: advantages[rollout.actions]
    empty = th.zeros(4, 1, dtype=th.float64)
    rollout = Rollout(empty, arms, old[arms], *(empty,) * 5)
    optimizer = th.optim.LBFGS([logits], lr=1, max_iter=100, tolerance_grad=1e-12, tolerance_change=1e-14)

    def loss() -> th.Tensor:
        optimizer.zero_grad()
        found = model.policy_loss(rollout, logits.log_softmax(0)[arms])
        found.backward()
        return found

    optimizer.step(loss)
    best = (old + advantages / temperature).softmax(0)
    th.testing.assert_close(logits.detach().softmax(0), best, rtol=1e-6, atol=1e-8)


def test_focops_leaves_states_outside_the_region_alone():
    old, new = th.zeros(2, dtype=th.float64), th.tensor([3.0, 0.0], dtype=th.float64, requires_grad=True)
    model = FOCOPS.__new__(FOCOPS)
    model.temperature, model.max_kl, model._acted, model.policy = 1.5, 0.02, Logits(old), Logits(new)
    model.mixed = lambda rollout: th.ones(3, dtype=th.float64)
    arms = th.tensor([0, 1, 1])
    rollout = Rollout(th.zeros(3, 1), arms, old.log_softmax(0)[arms], *(th.zeros(3, 1),) * 5)
    loss = model.policy_loss(rollout, new.log_softmax(0)[arms])
    assert float(loss.detach()) == 0.0
    (slope,) = th.autograd.grad(loss, new)
    assert not slope.any()


def test_divergence_of_states_is_the_closed_form_of_gaussians():
    mean, other = th.tensor([[0.0, 1.0], [2.0, 0.5]]), th.tensor([[0.3, 0.0], [2.0, 0.5]])
    log_std, log_other = th.tensor([0.1, -0.2]), th.tensor([0.0, 0.4])
    p = DiagGaussianDistribution(2).proba_distribution(mean, log_std)
    q = DiagGaussianDistribution(2).proba_distribution(other, log_other)
    by_hand = (log_other - log_std + (th.exp(2 * log_std) + (mean - other) ** 2) / (2 * th.exp(2 * log_other)) - 0.5).sum(1)
    th.testing.assert_close(state_kl(p, q), by_hand)


def test_focopss_multiplier_is_capped():
    model = build("focops", limit=0.0)
    model.learn(4096)
    assert model.multipliers.values[0] == 2.0


# CPO


def test_cpos_steps_stay_in_the_region_and_move_only_the_policy(monkeypatch: pytest.MonkeyPatch):
    model = build("cpo", limit=5.0, max_kl=0.005)
    assert isinstance(model, CPO)
    seen = []
    original = CPO._take_step

    def watched(self, rollout):
        before = {name: p.detach().clone() for name, p in self.policy.named_parameters()}
        with th.no_grad():
            old = self.policy.get_distribution(rollout.observations).distribution
        original(self, rollout)
        with th.no_grad():
            new = self.policy.get_distribution(rollout.observations).distribution
        moved = {name for name, p in self.policy.named_parameters() if not th.equal(p, before[name])}
        seen.append((float(th.distributions.kl_divergence(old, new).sum(1).mean()), moved))
        policy = {name for name, _ in self.policy.named_parameters() if "value" not in name}
        after = {name: p.detach().clone() for name, p in self.policy.named_parameters() if name in policy}
        monkeypatch.setattr(self, "_after", after, raising=False)

    monkeypatch.setattr(CPO, "_take_step", watched)
    for _ in range(6):
        model.learn(128, reset_num_timesteps=False)
        for name, p in model.policy.named_parameters():
            if name in model._after:  # training the critics has left the policy as the step made it
                th.testing.assert_close(p.detach(), model._after[name], rtol=0, atol=0)
    assert any(kl > 0.001 for kl, _ in seen)
    for kl, moved in seen:
        assert kl <= 0.005 + 1e-6
        assert all("value" not in name for name in moved)


@pytest.mark.parametrize("error", [0.0005, 0.002])
def test_cpo_goes_back_to_a_limit_also_where_that_costs_reward(error):
    """The cost's advantages are the reward's: nothing that lowers the one raises the other."""
    model = build("cpo", limit=5.0)
    model.learn(128)
    rollout = model._rollout()
    advantages = (rollout.advantages - rollout.advantages.mean()) / rollout.advantages.std()
    rollout = rollout._replace(cost_advantages=0.02 * advantages[:, None])
    model.conditions.errors[:] = error

    def expected_cost() -> float:
        with th.no_grad():
            log_prob = model.policy.evaluate_actions(rollout.observations, rollout.actions)[1]
            return float(((log_prob - rollout.old_log_prob).exp() * rollout.cost_advantages[:, 0]).mean())

    before = expected_cost()
    model._take_step(rollout)
    assert model.logger.name_to_value["train/step_share"] > 0.0
    assert expected_cost() < before


def test_cpo_refuses_what_it_cannot_do():
    for key in ("ent_coef", "target_kl"):
        with pytest.raises(ConfigError, match=key):
            build("cpo", **{key: 0.01})
    env = ConstrainedVecEnv("saferl/Solo12Flat-v0", 2, threads=1)
    limits = dict.fromkeys(env.constraints.names, 1.0)
    with pytest.raises(ConfigError, match=r"at most 10 constraints with cost limits.*got 14"):
        methods()["cpo"].settings(cost_limits=limits).build(env, 0, "cpu")
    with pytest.raises(ValueError, match="cost_scaling"):
        methods()["cpo"].settings(cost_scaling="standardize")


@pytest.mark.parametrize("method", ["ppo_lag", "reload", "focops", "cpo", "p3o", "crpo", "acs_ppo"])
@pytest.mark.parametrize(("sense", "start"), [("<=", 100.0), (">=", 25.0)])
def test_a_limit_falls_from_its_start(method: str, sense: str, start: float) -> None:
    if method == "acs_ppo" and sense == ">=":
        pytest.skip("keeps costs low only")
    model = build(method, sense, 25.0, cost_limit_start=100.0, cost_limit_fraction=0.5)

    def present() -> float:
        kept = getattr(model, "multipliers", None) or getattr(model, "conditions", None)
        return float((kept.limits if kept is not None else model._limits)[0])

    assert present() == start
    for steps, share in ((0, 1.0), (250, 0.5), (500, 0.0), (900, 0.0)):
        model._update_current_progress_remaining(steps, 1000)
        assert present() == pytest.approx(25.0 + share * (start - 25.0))

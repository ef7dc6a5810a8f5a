"""ReLOAD on problems with exact answers: optimism of both players, and only of both, brings the last iterate to rest."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from saferl.evaluation.oscillation import both_fine, oscillation
from saferl.tabular import problems
from saferl.tabular.cmdp import CMDP
from saferl.tabular.games import descend_ascend, multiplicative_weights
from saferl.tabular.optimum import solve
from saferl.tabular.players import ALGORITHMS, Trajectory, run

from saferl_envs.errors import ConfigError

RATES = {"bandit": (0.5, 0.5, 5_000), "three_states": (1.0, 0.5, 6_000), "garnet": (1.0, 1.0, 20_000)}


@functools.cache
def played(problem: str, algorithm: str, form: str = "multiplier") -> Trajectory:
    policy_rate, multiplier_rate, iterations = RATES[problem]
    return run(problems.make_problem(problem), algorithm, iterations, policy_rate, multiplier_rate, form)  # type: ignore[arg-type]


def swing(trajectory: Trajectory) -> float:
    """Range of the reward over the last fifth."""
    return float(np.ptp(trajectory.returns[-len(trajectory.returns) // 5 :, 0]))


# --- exact evaluation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", problems.PROBLEMS)
def test_values_are_those_of_a_long_simulation_of_the_chain(name: str) -> None:
    cmdp = problems.make_problem(name)
    policy = np.random.default_rng(0).dirichlet(np.ones(cmdp.actions), cmdp.states)
    values, occupancy = cmdp.values(policy), cmdp.occupancy(policy)
    expected, state = np.zeros(1 + len(cmdp.costs)), cmdp.initial.copy()
    for t in range(3000):
        pairs = state[:, np.newaxis] * policy
        expected += (1 - cmdp.gamma) * cmdp.gamma**t * np.einsum("ksa,sa->k", cmdp.rewards, pairs)
        state = np.einsum("sa,sat->t", pairs, cmdp.transitions)
    np.testing.assert_allclose(values.returns, expected, atol=1e-9)
    np.testing.assert_allclose(np.einsum("ksa,sa->k", cmdp.rewards, occupancy), expected, atol=1e-9)
    assert occupancy.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(values.v, np.einsum("sa,ksa->ks", policy, values.q), atol=1e-12)


def test_advantages_are_the_slope_of_the_return() -> None:
    """The policy gradient theorem, against finite differences along the logits."""
    cmdp = problems.garnet(states=5, actions=3, branching=2)
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(5, 3))

    def softmax(x: np.ndarray) -> np.ndarray:
        return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)

    policy = softmax(logits)
    values = cmdp.values(policy)
    slopes = cmdp.occupancy(policy) * (values.q[1] - values.v[1][:, np.newaxis]) / (1 - cmdp.gamma)
    for state, action in itertools.product(range(5), range(3)):
        nudge = np.zeros_like(logits)
        nudge[state, action] = 1e-6
        both = [cmdp.values(softmax(logits + sign * nudge)).returns[1] for sign in (1, -1)]
        assert slopes[state, action] == pytest.approx((both[0] - both[1]) / 2e-6, abs=1e-6)


# --- linear programs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reward", "price"), [("bandit", 0.5, 1.0), ("three_states", 0.4, 1.0), ("garnet", 0.6015, 1.193)]
)
def test_the_linear_program_gives_the_known_optimum(name: str, reward: float, price: float) -> None:
    found = solve(problems.make_problem(name))
    assert found.returns[0] == pytest.approx(reward, abs=1e-4)
    assert found.multipliers[0] == pytest.approx(price, abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_the_optimum_is_a_policy_no_mixture_of_deterministic_ones_beats(seed: int) -> None:
    """With one constraint the optimum mixes at most two deterministic policies: all of them are tried."""
    cmdp = problems.garnet(states=4, actions=2, branching=2, threshold=0.45, seed=seed)
    found = solve(cmdp)
    np.testing.assert_allclose(cmdp.values(found.policy).returns, found.returns, atol=1e-6)
    corners = [cmdp.values(np.eye(2)[list(choice)]).returns for choice in itertools.product(range(2), repeat=4)]
    best = -np.inf
    for (r, c), (s, d) in itertools.product(corners, corners):
        share = 1.0 if c <= 0.45 else (0.45 - d) / (c - d) if d <= 0.45 else -1.0
        best = max(best, share * r + (1 - share) * s if share >= 0 else -np.inf)
    assert found.returns[0] == pytest.approx(best, abs=1e-6)
    assert found.returns[1] <= 0.45 + 1e-7


def test_several_constraints_satisfy_complementary_slackness_and_strong_duality() -> None:
    cmdp = problems.garnet(constraints=3, threshold=0.55, seed=2).with_thresholds([0.5, 0.49, 0.9])
    found = solve(cmdp)
    np.testing.assert_allclose(found.multipliers * (found.returns[1:] - cmdp.thresholds), 0.0, atol=1e-6)
    mixed = cmdp.reward - np.einsum("k,ksa->sa", found.multipliers, cmdp.costs)
    free = solve(CMDP(cmdp.transitions, mixed, np.zeros((1, 20, 4)), [1.0], cmdp.initial, cmdp.gamma))
    assert free.returns[0] + found.multipliers @ cmdp.thresholds == pytest.approx(found.returns[0], abs=1e-6)


def test_what_cannot_be_met_is_refused() -> None:
    with pytest.raises(ConfigError, match="no policy meets"):
        solve(problems.bandit(threshold=-0.1))


# --- R1 to R6 ---------------------------------------------------------------------------------------------------------


def radius(optimistic_x: bool, optimistic_y: bool) -> float:
    one = np.ones(1)
    xs, ys = descend_ascend(np.ones((1, 1)), one, one, 0.1, 2000, optimistic_x, optimistic_y)
    return float(np.hypot(xs[-1, 0], ys[-1, 0]))


def test_r1_in_the_plane_only_both_optimistic_players_come_to_rest() -> None:
    assert radius(True, True) < 1e-3
    assert 0.5 <= radius(True, False) <= 5
    assert 0.5 <= radius(False, True) <= 5
    assert radius(False, False) > 100


def test_r1_on_simplices_optimistic_weights_reach_the_equilibrium_and_plain_ones_leave_it() -> None:
    pennies, x, y = np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([0.7, 0.3]), np.array([0.4, 0.6])
    rest = multiplicative_weights(pennies, x, y, 0.1, 4000, optimistic=True)
    away = multiplicative_weights(pennies, x, y, 0.1, 4000, optimistic=False)
    np.testing.assert_allclose([rest[0][-1], rest[1][-1]], 0.5, atol=1e-3)
    assert max(np.abs(away[0][-500:] - 0.5).max(), np.abs(away[1][-500:] - 0.5).max()) > 0.4


@pytest.mark.parametrize("form", ["multiplier", "full"])
@pytest.mark.parametrize("name", RATES)
def test_r2_the_last_iterate_of_reload_is_the_optimum(name: str, form: str) -> None:
    cmdp, best = problems.make_problem(name), solve(problems.make_problem(name))
    found = played(name, "reload", form)
    assert swing(found) < 1e-3
    assert found.returns[-1, 1] == pytest.approx(cmdp.thresholds[0], abs=1e-3)
    assert found.returns[-1, 0] == pytest.approx(best.returns[0], abs=1e-3)
    assert both_fine(found.returns[:, 0], best.returns[0], found.returns[:, 1:], cmdp.thresholds, part=0.2) == 1.0


@pytest.mark.parametrize("name", ["bandit", "three_states"])
def test_r2_r3_descent_ascent_swings_while_its_average_is_fine(name: str) -> None:
    found, threshold = played(name, "gda"), problems.make_problem(name).thresholds[0]
    assert swing(found) > 0.5
    assert found.returns[:, 1].mean() == pytest.approx(threshold, abs=0.1)
    metrics = oscillation(found.returns[:, 1], threshold)
    assert metrics["violation"] > 0.1
    assert metrics["crossings"] > 5


@pytest.mark.parametrize("algorithm", ["dual_only", "policy_only"])
@pytest.mark.parametrize("name", ["bandit", "three_states", "garnet"])
def test_r4_one_optimistic_player_is_not_enough(name: str, algorithm: str) -> None:
    assert swing(played(name, algorithm)) > 20 * swing(played(name, "reload"))


def test_r5_thresholds_in_the_middle_are_the_hardest() -> None:
    thresholds = [0.05, 0.1, 0.2, 0.4, 0.6, 0.7, 0.8]
    swings = [swing(run(problems.three_states(t), "gda", 4000, 1.0, 0.5)) for t in thresholds]
    assert 0.3 <= thresholds[int(np.argmax(swings))] <= 0.6


@pytest.mark.parametrize("threshold", [0.05, 0.1, 0.2, 0.4, 0.6, 0.7, 0.8])
def test_r5_reload_rests_at_every_threshold(threshold: float) -> None:
    assert swing(run(problems.three_states(threshold), "reload", 20_000, 1.0, 0.5)) < 1e-3


def test_r6_the_right_multiplier_held_fixed_does_not_pull_to_the_threshold() -> None:
    found = run(problems.bandit(), "gda", 2000, 0.5, fixed_multipliers=np.ones(1))
    assert np.ptp(found.returns[:, 1]) < 1e-9
    start = found.returns[0, 1]
    uneven = run(problems.bandit(threshold=0.2), "gda", 2000, 0.5, fixed_multipliers=np.ones(1))
    assert uneven.returns[-1, 1] == pytest.approx(start)


def test_noise_of_the_size_of_the_signal_takes_the_gain_away() -> None:
    """The specification's warning: optimism doubles gradient noise."""

    def violation(algorithm: str, noise: float) -> float:
        found = run(problems.three_states(), algorithm, 6000, 0.3, 0.15, noise=noise)
        return oscillation(found.returns[:, 1], 0.4, part=0.2)["violation"]

    assert violation("reload", 0.01) < 0.3 * violation("gda", 0.01)
    assert violation("reload", 0.2) > 0.6 * violation("gda", 0.2)


def test_wrong_words_are_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'reload'"):
        run(problems.bandit(), "reloads")
    with pytest.raises(ConfigError, match="unknown problem 'bandits'"):
        problems.make_problem("bandits")
    with pytest.raises(ConfigError, match="must be probabilities"):
        CMDP(np.ones((1, 2, 1)) * 0.5, np.ones((1, 2)), np.ones((1, 1, 2)), [0.5], [1.0], 0.9)
    assert set(ALGORITHMS) == {"gda", "dual_only", "policy_only", "reload"}

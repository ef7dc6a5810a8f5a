"""The Stable-Baselines3 face against SB3's own `DummyVecEnv` over the single environments."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from saferl import vec
from saferl.episode_costs import EpisodeCosts
from saferl.recorder import StepRecorder
from saferl.vec import ConstrainedVecEnv, LazyInfos
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from saferl_envs.errors import ConfigError, ConstraintError, TaskError

HOPPER = "saferl/HopperVelocity-v0"
N, LIMIT = 3, 25  # a random Hopper falls after about twenty steps, so both ends occur


def ours(num=N, **kwargs):
    return ConstrainedVecEnv(HOPPER, num, threads=1, **{"max_episode_steps": LIMIT, "limits": {"speed": 0.2}, **kwargs})


def theirs(num=N):
    make = lambda: Monitor(gymnasium.make(HOPPER, max_episode_steps=LIMIT, limits={"speed": 0.2}))  # noqa: E731
    return DummyVecEnv([make] * num)


def pair(wrap=lambda venv: venv, seed=7):
    """Return both faces, wrapped alike and seeded alike, and their first observations."""
    envs = wrap(ours()), wrap(theirs())
    for env in envs:
        env.seed(seed)
    return *envs, *(env.reset() for env in envs)


def actions(steps, seed=0, num=N):
    return np.random.default_rng(seed).uniform(-1, 1, (steps, num, 3)).astype(np.float32)


def assert_equal_infos(a, b):
    a, b = dict(a), dict(b)
    for side in (a, b):
        if "episode" in side:
            side["episode"] = {key: side["episode"][key] for key in ("r", "l")}
    assert a.keys() == b.keys()
    for key, value in b.items():
        if key == "episode":
            assert a[key]["l"] == value["l"]
            assert a[key]["r"] == pytest.approx(value["r"], abs=1e-6)
        else:
            assert type(a[key]) is type(value), key
            np.testing.assert_array_equal(a[key], value, err_msg=key)


# --- like DummyVecEnv ------------------------------------------------------------------------------------------------


def test_two_hundred_steps_are_those_of_dummy_vec_env():
    a, b, first, second = pair()
    assert a.observation_space == b.observation_space
    assert a.action_space == b.action_space
    assert a.num_envs == b.num_envs == N
    np.testing.assert_array_equal(first, second, strict=True)
    fell = ran_out = 0
    for action in actions(200):
        (o1, r1, d1, i1), (o2, r2, d2, i2) = a.step(action), b.step(action)
        np.testing.assert_array_equal(o1, o2, strict=True)
        np.testing.assert_array_equal(r1.astype(np.float32), r2)
        np.testing.assert_array_equal(d1, d2, strict=True)
        for x, y in zip(i1, i2, strict=True):
            assert_equal_infos(x, y)
            ran_out += x["TimeLimit.truncated"]
        fell += int(d1.sum())
    fell -= ran_out
    assert fell >= 5
    assert ran_out >= 2


def test_infos_read_late_say_what_infos_read_at_once_say():
    a, b, *_ = pair()
    kept = [(a.step(action)[3], b.step(action)[3]) for action in actions(60)]
    ends = 0
    for lazy, eager in kept:
        for x, y in zip(lazy, eager, strict=True):
            assert_equal_infos(x, y)
            ends += "episode" in x
    assert ends >= 3


def test_a_seed_is_used_once():
    a, b, *_ = pair()
    np.testing.assert_array_equal(a.reset(), b.reset())
    again = ours()
    again.seed(7)
    start = again.reset()
    assert not np.array_equal(start, again.reset())
    again.seed(7)
    np.testing.assert_array_equal(again.reset(), start)


def test_episode_statistics_hold_the_sum_of_every_constraints_costs():
    base = ours()
    env = StepRecorder(base)
    env.seed(0)
    env.reset()
    returns, lengths, costs, episodes, expected = np.zeros(N), np.zeros(N, int), np.zeros((N, 1)), 0, []
    for action in actions(80):
        _, rewards, dones, infos = env.step(action)
        returns += rewards
        lengths += 1
        costs += base.last_step.costs
        for i in range(N):
            assert ("episode" in infos[i]) == dones[i]
        for i in np.flatnonzero(dones):
            episode = infos[i]["episode"]
            assert episode["l"] == lengths[i]
            assert episode["r"] == pytest.approx(returns[i])
            assert infos[i]["episode_cost"] == costs[i, 0]
            expected.append(costs[i].copy())
            returns[i], lengths[i], costs[i] = 0.0, 0, 0.0
            episodes += 1
    assert episodes >= 6
    np.testing.assert_allclose(np.array(env.episodes.finished), expected)
    np.testing.assert_allclose(env.episodes.take_fresh(), np.mean(expected, axis=0))
    assert env.episodes.take_fresh() is None


@pytest.mark.parametrize("aggregate", ["sum", "mean", "discounted"])
def test_episode_costs_aggregate_as_the_constraint_says(aggregate):
    class Stub:
        def __init__(self, name):
            self.aggregate = aggregate

    episodes = EpisodeCosts([Stub("a")], 2)
    episodes.gamma = 0.5
    costs = np.array([[1.0, 4.0], [2.0, 4.0], [3.0, 4.0]])
    for t in range(3):
        episodes.add(costs[t][:, None], np.array([t == 2, False]))
    expected = {"sum": 6.0, "mean": 2.0, "discounted": 1.0 + 0.5 * 2.0 + 0.25 * 3.0}[aggregate]
    assert [float(e[0]) for e in episodes.finished] == [expected]
    assert list(episodes.lengths) == [3]
    saved = episodes.state()
    other = EpisodeCosts([Stub("a")], 2)
    other.gamma = 0.5
    other.load_state(saved)
    for record in (episodes, other):
        record.add(np.ones((2, 1)), np.array([False, True]))
    np.testing.assert_array_equal(np.array(episodes.finished), np.array(other.finished))


def test_a_reset_forgets_the_running_episode():
    env = ours()
    env.seed(3)
    env.reset()
    for action in actions(5):
        env.step(action)
    env.reset()
    dones = np.zeros(N, bool)
    steps = 0
    while not dones.any():
        _, _, dones, infos = env.step(np.zeros((N, 3), np.float32))
        steps += 1
    assert {infos[i]["episode"]["l"] for i in np.flatnonzero(dones)} == {steps}


# --- arrays ----------------------------------------------------------------------------------------------------------


def test_the_arrays_of_the_last_step_are_what_infos_say_before_any_reset():
    env = ours()
    assert env.last_step is None
    env.seed(0)
    env.reset()
    ends = 0
    for action in actions(60):
        observations, rewards, dones, infos = env.step(action)
        t = env.last_step
        assert t.values.shape == t.costs.shape == t.violated.shape == (N, 1)
        np.testing.assert_array_equal(t.reward, rewards)
        np.testing.assert_array_equal(t.terminated | t.truncated, dones)
        for i, info in enumerate(infos):
            np.testing.assert_array_equal(info["constraint_values"], t.values[i])
            np.testing.assert_array_equal(info["constraint_costs"], t.costs[i])
            assert info["cost"] == t.cost[i] == float(t.values[i, 0] > 0)
            if dones[i]:
                np.testing.assert_array_equal(info["terminal_observation"], t.observation[i])
                assert not np.array_equal(observations[i], t.observation[i])
                ends += 1
            else:
                np.testing.assert_array_equal(observations[i], t.observation[i])
    assert ends >= 3


def test_rewards_belong_to_the_caller():
    env = ours()
    env.reset()
    _, rewards, _, _ = env.step(np.zeros((N, 3)))
    rewards += 100.0  # as SB3 does at time limits
    assert (env.last_step.reward < 50).all()


# --- lazy infos ------------------------------------------------------------------------------------------------------


def test_lazy_infos_are_a_sequence_that_builds_only_what_is_read():
    built = []

    def build(i):
        built.append(i)
        return {"i": i}

    infos = LazyInfos(5, build)
    assert len(infos) == 5
    assert built == []
    assert infos[1] == infos[np.int64(1)] == infos[-4] == {"i": 1}
    assert built == [1]
    assert [info["i"] for info in infos[1:4]] == [1, 2, 3]
    assert [info["i"] for info in infos[::-2]] == [4, 2, 0]
    assert sorted(built) == [0, 1, 2, 3, 4]
    infos[-1]["note"] = "kept"
    assert infos[4]["note"] == "kept"
    assert infos[:][4]["note"] == "kept"
    assert [info["i"] for info in infos] == [info["i"] for info in list(infos)] == list(range(5))
    assert {"i": 3} in infos
    assert len(built) == 5
    for index in (5, -6):
        with pytest.raises(IndexError):
            infos[index]


def test_infos_of_a_step_cost_nothing_until_read(monkeypatch):
    calls = []
    original = vec.step_info
    monkeypatch.setattr(vec, "step_info", lambda *a: calls.append(1) or original(*a))
    env = ours()
    env.reset()
    _, _, _, infos = env.step(np.zeros((N, 3)))
    assert not calls
    assert infos[0]["cost"] == infos[-N]["cost"]
    assert infos[1] is infos[1]
    assert len(calls) == 1


# --- under SB3's wrappers and functions ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The environment is already wrapped with a `Monitor`")
@pytest.mark.parametrize("wrap", [VecNormalize, VecMonitor, lambda v: VecMonitor(VecNormalize(v, clip_obs=5.0, gamma=0.97))])
def test_wrappers_see_what_they_see_over_dummy_vec_env(wrap):
    a, b, first, second = pair(wrap)
    np.testing.assert_allclose(first, second, rtol=1e-12)
    ends = 0
    for action in actions(80):
        (o1, r1, d1, i1), (o2, r2, d2, i2) = a.step(action), b.step(action)
        np.testing.assert_allclose(o1, o2, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(r1, r2, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(d1, d2)
        for i in np.flatnonzero(d1):
            np.testing.assert_allclose(i1[i]["terminal_observation"], i2[i]["terminal_observation"], rtol=1e-5, atol=1e-5)
            assert i1[i]["episode"]["l"] == i2[i]["episode"]["l"]
            assert i1[i]["episode"]["r"] == pytest.approx(i2[i]["episode"]["r"], rel=1e-4)
            ends += 1
    assert ends >= 6


def test_evaluate_policy_gives_the_same_episodes_and_no_warning(recwarn):
    model = PPO("MlpPolicy", ours(), n_steps=8, batch_size=8, seed=0, device="cpu")
    results = []
    for env in (ours(), theirs()):
        env.seed(11)
        results.append(evaluate_policy(model, env, n_eval_episodes=7, return_episode_rewards=True))
    np.testing.assert_allclose(results[0][0], results[1][0], atol=1e-5)
    assert results[0][1] == results[1][1]
    assert len(results[0][1]) == 7
    assert not [w for w in recwarn if "Monitor" in str(w.message)]


def test_ppo_learns_the_same_from_both_faces():
    weights = []
    for env in (ours(), theirs()):
        model = PPO("MlpPolicy", env, n_steps=32, batch_size=48, n_epochs=2, seed=5, device="cpu").learn(192)
        weights.append(np.concatenate([p.detach().numpy().ravel() for p in model.policy.parameters()]))
        assert len(model.ep_info_buffer) > 3
    np.testing.assert_allclose(weights[0], weights[1], atol=1e-5)
    assert np.isfinite(weights[0]).all()


# --- the recorder ----------------------------------------------------------------------------------------------------


def test_the_recorder_notes_the_same_from_arrays_and_from_infos():
    recorders = [StepRecorder(VecNormalize(env)) for env in (ours(), theirs())]
    for recorder in recorders:
        recorder.seed(7)
        recorder.reset()
        assert recorder.last is None
        assert recorder.constraint_set.names == ("speed",)
        assert recorder.constraint_set[0].limit == 0.2
    violations = 0
    for action in actions(60):
        rewards = [recorder.step(action)[1] for recorder in recorders]
        a, b = (recorder.last for recorder in recorders)
        for x, y in zip(a.evaluation, b.evaluation, strict=True):
            np.testing.assert_array_equal(x, y, strict=True)
        np.testing.assert_array_equal(a.evaluation.values, recorders[0].unwrapped.last_step.values)
        np.testing.assert_array_equal(a.rewards, rewards[0])
        rewards[0] += 1.0
        assert not np.array_equal(recorders[0].last.rewards, rewards[0])
        np.testing.assert_allclose(a.rewards, b.rewards, rtol=1e-4, atol=1e-5)
        violations += int(a.evaluation.violated.sum())
    assert 0 < violations < 60 * N


def test_the_recorder_refuses_an_environment_without_constraints():
    with pytest.raises(ConfigError, match="no constraints"):
        StepRecorder(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")]))


# --- attributes and mistakes -----------------------------------------------------------------------------------------


def test_attributes_are_asked_as_of_any_vec_env():
    a, b = ours(), theirs()
    for env in (a, b):
        (found,) = env.env_method("get_wrapper_attr", "constraints", indices=[1])
        assert found[0].limit == 0.2
        assert [c.names for c in env.get_attr("constraints")] == [("speed",)] * N
        assert env.env_is_wrapped(Monitor) == [True] * N
        assert env.env_is_wrapped(gymnasium.wrappers.TimeAwareObservation, indices=0) == [False]
    assert a.get_attr("spec", 0)[0].id == b.get_attr("spec", 0)[0].id == HOPPER
    a.set_attr("note", 3)
    assert a.get_attr("note", [0, 2]) == [3, 3]
    assert a.has_attr("constraints")
    assert not a.has_attr("no_such_thing")


@pytest.mark.parametrize(
    ("kwargs", "kind", "words"),
    [
        ({"limits": {"sped": 1.0}}, ConstraintError, "sped.*speed"),
        ({"sped_limit": 1.0}, TaskError, "sped_limit"),
        ({"num": 0}, TaskError, "copies.*0"),
    ],
)
def test_mistakes_are_named(kwargs, kind, words):
    with pytest.raises(kind, match=words):
        ours(**kwargs)


def test_an_action_that_is_not_finite_is_refused():
    env = ours()
    env.reset()
    with pytest.raises(TaskError, match=r"copies \[2\]"):
        env.step(np.array([[0, 0, 0], [0, 0, 0], [0, np.nan, 0]]))

"""Constraints on other people's environments: hand-computed costs, vector equals single, bridges to six values."""

import copy
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import saferl_envs
from gym_toys import Dial, Picture, SixValues
from saferl_envs.constraints import ActionRate, ConstraintSet, SignalLimit
from saferl_envs.errors import ConstraintError, SaferlError, SignalError, TaskError
from saferl_envs.wrap import Constrained, ConstrainedVector, FiveValue, from_six_value, to_six_value

SLOW = SignalLimit(
    name="slow",
    signal="observation",
    components=("observation_2",),
    bound="absolute",
    limit=1.0,
    cost="excess",
    cost_limit=10.0,
)
SPEED = SignalLimit(name="speed", signal="info/speed", limit=0.8, cost="excess", cost_limit=3.0)
DIAL = [
    SPEED,
    SignalLimit(name="forces", signal="info/forces", components=("forces_0", "forces_2"), limit=0.5),
    SignalLimit(name="angle", signal="observation/angle", bound="absolute", limit=0.6, cost="sqrt", cost_limit=1.0),
    ActionRate(name="rate", limit=0.5),
    SignalLimit(name="poor", signal="reward", bound="lower", limit=0.0, cost="log1p"),
]


def test_pendulum_costs_are_those_computed_by_hand():
    constraints = [
        SLOW,
        ActionRate(name="jerk", limit=1.5, cost="signed"),
        SignalLimit(name="poor", signal="reward", bound="lower", limit=-3.0, cost_limit=100.0),
    ]
    env, plain = Constrained(gymnasium.make("Pendulum-v1"), constraints), gymnasium.make("Pendulum-v1")
    rng = np.random.default_rng(0)
    total, outcomes = 0.0, set()
    observation, info = env.reset(seed=0)
    np.testing.assert_array_equal(observation, plain.reset(seed=0)[0])
    assert info["constraint_values"] == pytest.approx([abs(observation[2]) - 1.0, -1.5, -3.0])
    assert info["cost"] == info["episode_cost"] == info["cost_slow"] == 0.0
    assert not info["constraint_costs"].any()
    before = 0.0
    for _ in range(60):
        action = rng.uniform(-2, 2, 1).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        expected = plain.step(action)
        np.testing.assert_array_equal(observation, expected[0])
        assert (reward, terminated, truncated) == expected[1:4]
        slow = max(abs(float(observation[2])) - 1.0, 0.0)
        jerk = abs(float(action[0]) - before) - 1.5
        poor = float(reward < -3.0)
        assert info["constraint_costs"] == pytest.approx([slow, jerk, poor], abs=1e-12)
        assert info["constraint_violation"].tolist() == [slow > 0, jerk > 0, poor > 0]
        assert (info["cost_slow"], info["cost_jerk"], info["cost_poor"]) == tuple(info["constraint_costs"])
        assert info["cost"] == pytest.approx(slow + poor, abs=1e-12)
        total += info["cost"]
        assert info["episode_cost"] == pytest.approx(total, abs=1e-12)
        before = float(action[0])
        outcomes.add((slow > 0, jerk > 0, poor > 0))
    assert all({o[k] for o in outcomes} == {True, False} for k in range(3))
    _, info = env.reset(seed=0)
    assert info["episode_cost"] == 0.0
    assert info["constraint_values"][1] == -1.5  # no action yet, and none before it


def test_cart_pole_costs_are_those_computed_by_hand():
    constraints = [
        SignalLimit(
            name="pole", signal="observation", components=("observation_2",), bound="absolute", limit=0.05, cost_limit=3
        ),
        SignalLimit(name="right", signal="action", limit=0.5),
        SignalLimit(name="both", signal="observation", components=("observation_1", "observation_3"), limit=0.3),
    ]
    env = Constrained(gymnasium.make("CartPole-v1"), constraints)
    rng = np.random.default_rng(1)
    env.reset(seed=1)
    seen = []
    done = False
    while not done:
        action = int(rng.integers(2))
        observation, _, done, _, info = env.step(action)
        _, speed, angle, rate = observation.astype(float)
        costs = [float(abs(angle) > 0.05), float(action == 1), float(max(speed, rate) > 0.3)]
        assert info["constraint_costs"].tolist() == costs
        assert info["constraint_values"].shape == (4,)
        assert info["cost"] == costs[0]
        seen.append(costs)
    assert info["episode_cost"] == sum(c[0] for c in seen)
    assert (np.ptp(seen, axis=0) == 1).all()


def test_the_constraints_are_known_before_the_first_step_and_the_spec_makes_the_same_again():
    env = Constrained(gymnasium.make("Pendulum-v1"), [SLOW.to_spec()])
    constraints = gymnasium.wrappers.RecordEpisodeStatistics(env).get_wrapper_attr("constraints")
    assert isinstance(constraints, ConstraintSet)
    assert constraints[0].cost_limit == 10.0
    again = gymnasium.make(EnvSpec.from_json(Constrained(gymnasium.make("toy/Dial-v0"), DIAL).spec.to_json()))
    first = Constrained(gymnasium.make("toy/Dial-v0"), DIAL)
    for e in (first, again):
        e.reset(seed=5)
    action = np.array([0.5, -0.9], np.float32)
    a, b = (e.step(action.copy())[4]["constraint_values"] for e in (first, again))
    np.testing.assert_array_equal(a, b)
    env.replace_constraints([SignalLimit(name="other", signal="reward", limit=0.0)])
    assert gymnasium.make(EnvSpec.from_json(env.spec.to_json())).get_wrapper_attr("constraints").names == ("other",)
    env.reset(seed=0)
    assert "cost_other" in env.step(env.action_space.sample())[4]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constrained(gymnasium.make("Pendulum-v1").unwrapped, [SLOW]),
        lambda: Constrained(gymnasium.make("toy/Dial-v0").unwrapped, DIAL),
        lambda: from_six_value(SixValues()),
    ],
)
def test_gymnasiums_checker_is_content(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for expected in (
            ".*different from the unwrapped",
            ".*symmetric and normalized",
            ".*m(in|ax)imum value is -?inf",
            ".*spec",
        ):
            warnings.filterwarnings("ignore", message=expected)
        check_env(make(), skip_render_check=True)


def test_what_was_returned_does_not_change_later_and_a_wrapped_environment_can_be_copied():
    env = Constrained(gymnasium.make("toy/Dial-v0"), DIAL)
    env.reset(seed=0)
    info = env.step(np.array([0.9, 0.9], np.float32))[4]
    kept = copy.deepcopy(info)
    twin = copy.deepcopy(env)
    after = env.step(np.array([-0.9, 0.9], np.float32))[4]
    np.testing.assert_equal(info, kept)
    np.testing.assert_equal(twin.step(np.array([-0.9, 0.9], np.float32))[4], after)


def test_an_action_that_the_environment_changes_is_judged_as_it_was_given():
    env = Constrained(gymnasium.make("toy/Dial-v0", gain=0.1), [SignalLimit(name="a", signal="action", limit=0.0)])
    env.reset(seed=0)
    assert env.step(np.array([0.5, -0.25], np.float32))[4]["constraint_values"].tolist() == [0.5, -0.25]


# --- info keys -------------------------------------------------------------------------------------------------------


def test_info_values_are_read_at_resets_where_they_are_there_and_zero_where_not():
    env = Constrained(gymnasium.make("toy/Dial-v0"), DIAL)
    assert env.reset(seed=0)[1]["constraint_values"][:3] == pytest.approx([0.25 - 0.8, -0.5, -0.5])
    shy = Constrained(gymnasium.make("toy/Dial-v0", shy=True), DIAL)
    assert shy.reset(seed=0)[1]["constraint_values"][:3] == pytest.approx([-0.8, -0.5, -0.5])
    info = env.step(np.array([0.5, -0.75], np.float32))[4]
    assert info["constraint_values"][:3] == pytest.approx([1.25 - 0.8, 1.0 - 0.5, 0.5 - 0.5])


def test_info_keys_are_found_in_a_second_instance_and_only_where_a_constraint_reads_one():
    Dial.made.clear()
    env = gymnasium.make("toy/Dial-v0")
    Constrained(env, [DIAL[2]])
    assert len(Dial.made) == 1
    Constrained(env, DIAL)
    assert len(Dial.made) == 2
    assert [d.calls for d in Dial.made] == [0, 2]
    assert env.unwrapped._np_random is None
    Dial.action_space.seed(1)  # all instances share it
    expected = [Dial.action_space.sample().tolist() for _ in range(2)]
    Dial.action_space.seed(1)
    drawn = [Dial.action_space.sample().tolist()]
    Constrained(env, DIAL)
    assert [*drawn, Dial.action_space.sample().tolist()] == expected
    Constrained(Dial(), DIAL, info_shapes={"speed": (), "forces": (3,)})
    assert Dial.made[-1].calls == 0
    alone = Dial()  # no spec, so there is no other way than to look at itself
    assert Constrained(alone, DIAL).constraints.num_components == 8
    assert alone.calls == 2


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"forget_at": 2}, r"'info/speed'.*missing after a step of copy"),
        ({"grow_at": 2}, r"'info/forces'.*shape \(4,\).*array of 3"),
    ],
)
def test_a_key_that_vanishes_or_changes_its_shape_is_named(kwargs, words):
    env = Constrained(gymnasium.make("toy/Dial-v0", **kwargs), DIAL)
    env.reset(seed=0)
    action = np.zeros(2, np.float32)
    env.step(action)
    with pytest.raises(SignalError, match=words):
        env.step(action)
    vector = ConstrainedVector(SyncVectorEnv([lambda: Dial(**kwargs)] * 2), DIAL)
    vector.reset(seed=0)
    vector.step(np.zeros((2, 2), np.float32))
    with pytest.raises(SignalError, match=words):
        vector.step(np.zeros((2, 2), np.float32))


@pytest.mark.parametrize(
    ("constraints", "words"),
    [
        ([], "at least one"),
        ([SLOW, SLOW], "occurs twice"),
        ([SignalLimit(name="a", signal="joint_torque", limit=1.0)], "valid: action, observation, previous_action, reward"),
        ([SignalLimit(name="a", signal="info/typo", limit=1.0)], "info/typo"),
        ([SignalLimit(name="a", signal="observation", components=("x",), limit=1.0)], "observation_0, observation_1"),
        ({"family": "signal_limit"}, "expected a list"),
    ],
)
def test_mistakes_are_named_in_one_line(constraints, words):
    for make in (
        lambda: Constrained(gymnasium.make("Pendulum-v1"), constraints),
        lambda: ConstrainedVector(gymnasium.make_vec("Pendulum-v1", 2), constraints),
    ):
        with pytest.raises(SaferlError, match=words) as caught:
            make()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shapes", [{"speed": 1}, {"speed": (2, 3)}, {1: ()}, ["speed"], {"speed": (0,)}])
def test_info_shapes_are_checked(shapes):
    with pytest.raises(ConstraintError, match="info_shapes"):
        Constrained(Dial(), [SPEED], info_shapes=shapes)


def test_pictures_are_let_through_but_are_no_signal():
    env = Constrained(
        gymnasium.make("toy/Picture-v0"), [SignalLimit(name="second", signal="action", components=("action_1",), limit=1)]
    )
    assert env.reset(seed=0)[0].shape == (4, 5, 3)
    assert env.step(np.array([1, 2]))[4]["constraint_values"].tolist() == [1.0]
    with pytest.raises(SignalError, match="unknown signal 'observation'"):
        Constrained(Picture(), [SLOW])


class Words(gymnasium.Env):
    """Observes a word and acts with a word and a number."""

    observation_space = gymnasium.spaces.Text(5)
    action_space = gymnasium.spaces.Tuple((gymnasium.spaces.Text(5), gymnasium.spaces.Box(0, 1, (2,))))

    def reset(self, *, seed=None, options=None):
        return "begin", {}

    def step(self, action):
        return action[0], float(action[1].sum()), False, False, {}


def test_what_is_no_number_is_let_through():
    env = Constrained(Words(), [SignalLimit(name="rich", signal="reward", limit=0.5)])
    assert env.reset()[1]["constraint_values"].tolist() == [-0.5]
    observation, *_, info = env.step(("go", np.array([1.0, 0.25])))
    assert (observation, info["constraint_values"].tolist()) == ("go", [0.75])
    with pytest.raises(SignalError, match="unknown signal 'action'; valid: reward"):
        Constrained(Words(), [SignalLimit(name="a", signal="action", limit=0.5)])


# --- vector environments ---------------------------------------------------------------------------------------------


def assert_same(a, b):
    """Assert that two (nested) results are equal in keys, shapes and every bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, (list, tuple)) or (isinstance(a, np.ndarray) and a.dtype == object):
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        np.testing.assert_array_equal(a, b, strict=isinstance(a, np.ndarray))


def drive(env, steps, mode, seed=11):
    """Yield everything that a vector environment returns, over several episodes."""
    rng = np.random.default_rng(seed)
    yield env.reset(seed=seed)
    for _ in range(steps):
        out = env.step(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))
        yield out
        done = out[2] | out[3]
        if mode is AutoresetMode.DISABLED and done.any():
            options = {"reset_mask": done}
            yield env.reset(options=options)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_wrapped_vector_environment_gives_the_numbers_of_wrapped_single_ones(mode):
    n = 3
    singles = SyncVectorEnv([lambda: Constrained(Dial(), DIAL)] * n, autoreset_mode=mode)
    together = ConstrainedVector(SyncVectorEnv([Dial] * n, autoreset_mode=mode), DIAL)
    finals = resets = 0
    for a, b in zip(drive(singles, 40, mode), drive(together, 40, mode), strict=True):
        assert_same(a, b)
        finals += "final_info" in b[-1]
        resets += len(b) == 5 and bool((b[4]["episode_cost"] == 0).any())
    assert resets > 3
    assert (finals > 3) == (mode is AutoresetMode.SAME_STEP)


def test_the_reset_step_carries_no_cost_and_final_info_the_last_values():
    always = [SignalLimit(name="on", signal="reward", limit=-1e9, cost_limit=1.0)]  # violated on every step
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
        env = ConstrainedVector(SyncVectorEnv([Dial] * 2, autoreset_mode=mode), always)
        env.reset(seed=0)
        previous = np.zeros(2, bool)
        steps = np.zeros(2)
        ends = 0
        for _ in range(20):
            _, _, terminated, _, info = env.step(np.zeros((2, 2), np.float32))
            steps += 1
            if mode is AutoresetMode.NEXT_STEP:
                steps[previous] = 0
                assert info["cost"].tolist() == (~previous).astype(float).tolist()
                assert info["episode_cost"].tolist() == steps.tolist()
                previous = terminated
            else:
                assert info["cost"].tolist() == (~terminated).astype(float).tolist()
                for i in np.flatnonzero(terminated):
                    assert info["final_info"]["episode_cost"][i] == steps[i]
                    assert info["final_info"]["cost"][i] == 1.0
                steps[terminated] = 0
            ends += terminated.sum()
        assert ends >= 4


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_our_own_batched_tasks_can_be_wrapped_too(mode):
    env_id = saferl_envs.task_ids()[0]
    upper = [
        SignalLimit(name="first", signal="observation", components=("observation_0", "observation_3"), limit=0.1, cost="excess")
    ]
    kwargs = {"max_episode_steps": 4}
    singles = SyncVectorEnv([lambda: Constrained(gymnasium.make(env_id, **kwargs), upper)] * 2, autoreset_mode=mode)
    batch = gymnasium.make_vec(env_id, num_envs=2, autoreset_mode=mode, threads=1, **kwargs)
    for a, b in zip(drive(singles, 10, mode), drive(ConstrainedVector(batch, upper), 10, mode), strict=True):
        for x, y in zip(a[:-1], b[:-1], strict=True):
            np.testing.assert_array_equal(x, y)
        for key in ("constraint_values", "constraint_costs", "cost", "episode_cost", "cost_first", "_cost_first"):
            np.testing.assert_array_equal(a[-1][key], b[-1][key])
            if "final_info" in b[-1]:
                np.testing.assert_array_equal(a[-1]["final_info"][key], b[-1]["final_info"][key])


def test_resetting_by_hand_takes_the_place_of_the_reset_step():
    always = [SignalLimit(name="on", signal="reward", limit=-1e9, cost_limit=1.0)]
    env = ConstrainedVector(SyncVectorEnv([Dial] * 2, autoreset_mode=AutoresetMode.NEXT_STEP), always)
    env.reset(seed=0)
    done = np.zeros(2, bool)
    while not done.any():
        done = env.step(np.zeros((2, 2), np.float32))[2]
    env.reset(seed=1)
    info = env.step(np.zeros((2, 2), np.float32))[4]
    assert info["cost"].tolist() == info["episode_cost"].tolist() == [1.0, 1.0]


def test_a_mask_is_not_taken_out_of_the_callers_options():
    env = ConstrainedVector(SyncVectorEnv([Dial] * 2, autoreset_mode=AutoresetMode.DISABLED), DIAL)
    env.reset(seed=0)
    options = {"reset_mask": np.array([True, False])}
    for _ in range(2):
        info = env.reset(options=options)[1]
        assert info["_cost"].tolist() == [True, False]


def test_workers_in_other_processes_give_the_same():
    mode = AutoresetMode.SAME_STEP
    near = ConstrainedVector(SyncVectorEnv([Dial] * 2, autoreset_mode=mode), DIAL)
    far = ConstrainedVector(AsyncVectorEnv([Dial] * 2, autoreset_mode=mode), DIAL)
    try:
        for a, b in zip(drive(near, 12, mode), drive(far, 12, mode), strict=True):
            assert_same(a, b)
    finally:
        far.close()


def test_a_vector_environment_that_hides_last_observations_is_refused():
    env = SyncVectorEnv([lambda: gymnasium.make("toy/Dial-v0")] * 2, autoreset_mode=AutoresetMode.NEXT_STEP)
    env.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
    wrapped = ConstrainedVector(env, [DIAL[2]])
    wrapped.reset(seed=0)
    with pytest.raises(TaskError, match="final_obs"):  # noqa: PT012 - at whichever step an episode ends
        for _ in range(9):
            wrapped.step(np.zeros((2, 2), np.float32))


# --- six values ------------------------------------------------------------------------------------------------------


def test_six_values_become_one_constraint():
    env, plain = from_six_value(SixValues(), cost_limit=7.0, name="drift"), SixValues()
    assert (env.constraints.names, env.constraints[0].cost_limit) == (("drift",), 7.0)
    observation, info = env.reset(seed=0)
    np.testing.assert_array_equal(observation, plain.reset(seed=0)[0])
    assert (info["cost"], info["episode_cost"]) == (0.0, 0.0)
    total, done = 0.0, False
    while not done:
        observation, reward, cost, done, _, _ = plain.step(1)
        out = env.step(1)
        np.testing.assert_array_equal(out[0], observation)
        assert out[1:4] == (reward, done, False)
        total += cost
        assert out[4]["cost"] == out[4]["cost_drift"] == cost
        assert out[4]["episode_cost"] == pytest.approx(total)
    assert total > 10.0


def test_a_reset_has_a_cost_too():
    assert FiveValue(SixValues()).reset(seed=0)[1]["cost"] == 0.0


def test_there_and_back_again():
    there = to_six_value(Constrained(gymnasium.make("Pendulum-v1"), [SLOW]))
    assert not isinstance(there, gymnasium.Env)
    assert there.observation_space == gymnasium.make("Pendulum-v1").observation_space
    back, direct = from_six_value(there), Constrained(gymnasium.make("Pendulum-v1"), [SLOW])
    for env in (back, direct):
        env.reset(seed=4)
    costs = []
    for action in np.random.default_rng(0).uniform(-2, 2, (50, 1)).astype(np.float32):
        a, b = back.step(action), direct.step(action)
        np.testing.assert_array_equal(a[0], b[0])
        assert a[1:4] == b[1:4]
        assert a[4]["cost"] == b[4]["cost"]
        costs.append(a[4]["cost"])
    assert min(costs) == 0.0 < max(costs)
    there.close()


def test_six_values_need_a_cost():
    with pytest.raises(ConstraintError, match="has no constraints"):
        to_six_value(gymnasium.make("Pendulum-v1"))
    with pytest.raises(ConstraintError, match="none of poor has one"):
        to_six_value(Constrained(gymnasium.make("Pendulum-v1"), [SignalLimit(name="poor", signal="reward", limit=0.0)]))

"""Copies of any Gymnasium environment: the single ones' bits, seeds, states, constraints, pictures, and one-line errors."""

import io

import gymnasium
import numpy as np
import pytest
from saferl.evaluation.rollout import play
from saferl.vec import ConstrainedVecEnv

from gym_toys import LEVEL, Dial
from saferl_envs.constraints import ConstraintSet, SignalLimit
from saferl_envs.engine import Engine
from saferl_envs.errors import ConstraintError, SaferlError, SignalError, TaskError
from saferl_envs.gymnasium_copies import GymnasiumCopies
from saferl_envs.make import make_copies
from saferl_envs.wrap import Constrained

SLOW = SignalLimit(
    name="slow",
    signal="observation",
    components=("observation_2",),
    bound="absolute",
    limit=1.0,
    cost="excess",
    cost_limit=10.0,
)
POLE = SignalLimit(
    name="pole", signal="observation", components=("observation_2",), bound="absolute", limit=0.05, cost_limit=3.0
)
SPEED = SignalLimit(name="speed", signal="info/speed", limit=0.8, cost="excess", cost_limit=3.0)
FORWARD = SignalLimit(name="forward", signal="info/x_velocity", limit=0.1, unit="m/s", cost_limit=25.0)
ENVS = {"Pendulum-v1": [SLOW], "CartPole-v1": [POLE], "toy/Dial-v0": [SPEED, LEVEL], "Hopper-v5": [FORWARD]}


def make(env_id, n, **kwargs):
    return GymnasiumCopies(env_id, n, constraints=ENVS[env_id], **kwargs)


def random_actions(copies, rng):
    space = copies.action_space
    if isinstance(space, gymnasium.spaces.Discrete):
        return rng.integers(0, space.n, copies.num_envs)
    return rng.uniform(-1, 1, (copies.num_envs, *space.shape)).astype(space.dtype)


def row(observation, i):
    return {key: part[i] for key, part in observation.items()} if isinstance(observation, dict) else observation[i]


def go_on(copies, rng, steps):
    """Step and reset as training does; return everything that was seen."""
    seen = []
    for _ in range(steps):
        t = copies.step(random_actions(copies, rng))
        ended = t.terminated | t.truncated
        if ended.any():
            copies.reset(np.flatnonzero(ended))
        seen.append([*t, copies.observe(), copies.values()])
    return seen


# --- the single environments' bits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ENVS)
def test_copies_are_the_single_environments_bit_for_bit(env_id):
    n = 3
    copies = make(env_id, n, max_episode_steps=30)
    seeds = [4, 9, 2**40]
    copies.seed(seeds)
    copies.reset()
    singles = [Constrained(gymnasium.make(env_id, max_episode_steps=30), ENVS[env_id]) for _ in range(n)]
    for i, (env, seed) in enumerate(zip(singles, seeds, strict=True)):
        observation, info = env.reset(seed=seed)
        np.testing.assert_equal(row(copies.observe(), i), observation)
        np.testing.assert_array_equal(copies.values()[i], info["constraint_values"])
    rng = np.random.default_rng(0)
    alive = np.ones(n, bool)
    while alive.any():
        actions = random_actions(copies, rng)
        t = copies.step(actions, None if alive.all() else np.flatnonzero(alive))
        for i in np.flatnonzero(alive):
            observation, reward, terminated, truncated, info = singles[i].step(actions[i].copy())
            np.testing.assert_equal(row(t.observation, i), observation)
            assert (t.reward[i], t.terminated[i], t.truncated[i]) == (reward, terminated, truncated)
            assert (t.cost[i], t.episode_cost[i]) == (info["cost"], info["episode_cost"])
            for ours, key in ((t.values, "values"), (t.costs, "costs"), (t.violated, "violation")):
                np.testing.assert_array_equal(ours[i], info[f"constraint_{key}"])
        alive &= ~(t.terminated | t.truncated)
    assert t.reward_terms.keys() == set(copies.reward_names) == {"reward"}


@pytest.mark.parametrize("env_id", ENVS)
def test_episode_k_of_a_seed_is_the_same_in_any_company(env_id):
    def starts(copies, i, seed):
        found = []
        for company in range(3):
            copies.seed([seed], np.array([i]))
            for _ in range(4):
                for _ in range(company):  # what is done in between must not matter
                    copies.step(random_actions(copies, np.random.default_rng(company)), np.array([i]))
                copies.reset(np.array([i]))
                found.append(row(copies.observe(), i))
        return found

    alone, third = starts(make(env_id, 1), 0, 7), starts(make(env_id, 3), 2, 7)
    np.testing.assert_equal(alone, third)
    np.testing.assert_equal(alone[:4] * 2, alone[4:])
    np.testing.assert_equal(alone[0], gymnasium.make(env_id).reset(seed=7)[0])
    first = [np.concatenate(list(o.values())) if isinstance(o, dict) else o for o in alone[:4]]
    assert len({o.tobytes() for o in first}) == 4


def test_copies_that_are_not_asked_for_stand_still():
    copies, undisturbed = make("Pendulum-v1", 3), make("Pendulum-v1", 3)
    before = copies.observe()
    for _ in range(3):
        t = copies.step(np.ones((3, 1)), np.array([1]))
    np.testing.assert_array_equal(t.observation[[0, 2]], before[[0, 2]])
    assert (t.observation[1] != before[1]).all()
    assert copies.steps.tolist() == [0, 3, 0]
    actions = np.array([[0.5], [np.nan], [-0.5]])
    a, b = copies.step(actions, np.array([0, 2])), undisturbed.step(np.nan_to_num(actions))
    for x, y in ((a.observation, b.observation), (a.reward, b.reward), (a.episode_cost, b.episode_cost)):
        np.testing.assert_array_equal(x[[0, 2]], y[[0, 2]])


def test_only_copies_that_step_are_charged():
    always = SignalLimit(name="on", signal="reward", limit=-1e9, cost_limit=1.0)
    copies = GymnasiumCopies("Pendulum-v1", 3, constraints=[always])
    for _ in range(4):
        copies.step(np.zeros((3, 1)), np.array([0, 2]))
    assert copies.step(np.zeros((3, 1)), np.array([1])).episode_cost.tolist() == [4.0, 1.0, 4.0]


def test_arrays_are_new_at_every_step():
    copies = make("toy/Dial-v0", 2)
    kept = [copies.step(np.full((2, 2), 0.1))]
    frozen = [io.BytesIO() for _ in kept]
    np.savez(frozen[0], *kept[0].observation.values(), kept[0].reward, kept[0].values, kept[0].episode_cost)
    copies.step(np.full((2, 2), -0.7))
    copies.reset()
    again = io.BytesIO()
    np.savez(again, *kept[0].observation.values(), kept[0].reward, kept[0].values, kept[0].episode_cost)
    assert again.getvalue() == frozen[0].getvalue()


def test_constraints_are_evaluated_once_per_step(monkeypatch):
    calls = []
    evaluate = ConstraintSet.evaluate
    monkeypatch.setattr(ConstraintSet, "evaluate", lambda self, view: calls.append(view) or evaluate(self, view))
    copies = make("CartPole-v1", 4)
    calls.clear()
    for _ in range(5):
        copies.step(np.zeros(4, int))
    assert len(calls) == 5


def test_limits_of_time():
    assert make("Pendulum-v1", 1).max_episode_steps == 200
    assert make("Pendulum-v1", 1).control_timestep == pytest.approx(1 / 30)
    dial = make("toy/Dial-v0", 1)
    assert dial.max_episode_steps > 10**12
    assert dial.control_timestep == pytest.approx(0.05)
    short = make("Pendulum-v1", 2, max_episode_steps=3)
    assert short.max_episode_steps == 3
    t = [short.step(np.zeros((2, 1))) for _ in range(3)]
    assert [s.truncated.tolist() for s in t] == [[False] * 2, [False] * 2, [True] * 2]
    with pytest.raises(TaskError, match=r"copies \[0, 1\] have ended; reset them"):
        short.step(np.zeros((2, 1)))
    short.reset(np.array([1]))
    with pytest.raises(TaskError, match=r"copies \[0\] have ended"):
        short.step(np.zeros((2, 1)))
    assert short.step(np.zeros((2, 1)), np.array([1])).truncated.tolist()[1] is False


# --- actions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env_id", "actions", "words"),
    [
        ("Pendulum-v1", np.zeros((2, 2)), r"shape \(2, 2\), expected \(2, 1\)"),
        ("Pendulum-v1", np.zeros(2), r"shape \(2,\)"),
        ("Pendulum-v1", np.array([[0.0], [np.nan]]), r"copies \[1\] are not finite"),
        ("Pendulum-v1", np.array([["a"], ["b"]]), "are not numbers"),
        ("CartPole-v1", np.zeros((2, 2), int), r"expected \(2,\)"),
        ("CartPole-v1", np.zeros(2), "float64 are not whole numbers"),
        ("CartPole-v1", np.array([0, 2]), r"copies \[1\] are not in Discrete\(2\)"),
        ("CartPole-v1", np.array([-1, 1]), r"copies \[0\] are not in Discrete\(2\)"),
    ],
)
def test_impossible_actions_are_refused_and_change_nothing(env_id, actions, words):
    copies = make(env_id, 2)
    before = copies.observe()
    with pytest.raises(TaskError, match=words):
        copies.step(actions)
    np.testing.assert_array_equal(copies.observe(), before)
    assert copies.steps.tolist() == [0, 0]


def test_whole_numbers_may_come_as_a_column_and_nothing_is_clipped():
    a, b = make("CartPole-v1", 2), make("CartPole-v1", 2)
    np.testing.assert_array_equal(a.step([1, 0]).observation, b.step([[1], [0]]).observation)
    exact, rounded = make("Pendulum-v1", 1), make("Pendulum-v1", 1)
    np.testing.assert_array_equal(exact.step([[0.1]]).reward, rounded.step(np.array([[0.1]], np.float32)).reward)
    far = GymnasiumCopies("Pendulum-v1", 1, constraints=[SignalLimit(name="a", signal="action", limit=0.0)])
    assert far.step([[50.0]]).values[0, 0] == 50.0


def test_pictures_and_switches():
    switch = SignalLimit(name="second", signal="action", components=("action_1",), limit=1.0)
    copies = GymnasiumCopies("toy/Picture-v0", 2, constraints=[switch])
    t = copies.step([[1, 2], [0, 1]])
    assert t.observation.dtype == np.uint8
    assert t.observation.shape == (2, 4, 5, 3)
    assert t.observation[:, 0, 0, 0].tolist() == [12, 1]
    assert t.values.tolist() == [[1.0], [0.0]]
    with pytest.raises(TaskError, match=r"copies \[0\] are not in MultiDiscrete"):
        copies.step([[0, 3], [0, 0]])


def test_numbered_observations():
    copies = GymnasiumCopies(
        "CliffWalking-v1", 2, constraints=[SignalLimit(name="edge", signal="observation", limit=30.0, bound="lower")]
    )
    assert copies.observe().tolist() == [36, 36]
    t = copies.step([0, 0])
    assert (t.observation.tolist(), t.values[:, 0].tolist()) == ([24, 24], [6.0, 6.0])


# --- state -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ENVS)
@pytest.mark.parametrize("steps", [0, 5, 23, 90])
def test_saved_copies_go_on_bit_for_bit(env_id, steps):
    copies = make(env_id, 3, max_episode_steps=70)
    copies.seed([5, 17, 2**40])
    copies.reset()
    go_on(copies, np.random.default_rng(0), steps)
    file = io.BytesIO()
    np.savez(file, **copies.state())
    expected = go_on(copies, np.random.default_rng(1), 60)
    file.seek(0)
    with np.load(file, allow_pickle=False) as saved:
        state = dict(saved)
    fresh = make(env_id, 3, max_episode_steps=70)
    go_on(fresh, np.random.default_rng(2), 3)  # nothing of what it did before may remain
    for resumed in (fresh, copies):
        resumed.load_state(state)
        np.testing.assert_equal(resumed.state(), state)
        np.testing.assert_equal(go_on(resumed, np.random.default_rng(1), 60), expected)


def test_a_state_between_the_end_of_an_episode_and_its_reset_is_a_state_too():
    copies = make("toy/Dial-v0", 3)
    rng = np.random.default_rng(0)
    t = copies.step(random_actions(copies, rng))
    while not t.terminated.any():
        t = copies.step(random_actions(copies, rng))
    copies.seed([8], np.array([0]))  # not begun yet: it must begin with this seed after loading
    fresh = make("toy/Dial-v0", 3)
    fresh.load_state(copies.state())
    with pytest.raises(TaskError, match="have ended"):
        fresh.step(random_actions(copies, rng))
    for c in (copies, fresh):
        c.reset()
    np.testing.assert_equal(copies.observe(), fresh.observe())
    np.testing.assert_equal(row(fresh.observe(), 0), gymnasium.make("toy/Dial-v0").reset(seed=8)[0])


def test_an_environment_that_does_not_follow_from_its_seed_cannot_be_resumed():
    copies = GymnasiumCopies("toy/Unstable-v0", 2, constraints=[LEVEL])
    begun = copies.state()
    copies.load_state(begun)  # where nothing has been done yet, there is nothing to repeat
    copies.step(np.zeros((2, 2)))
    with pytest.raises(TaskError, match="toy/Unstable-v0 is not deterministic under its seed, so it cannot be resumed exactly"):
        copies.load_state(copies.state())


def test_a_state_of_something_else_is_refused():
    copies = make("Pendulum-v1", 2)
    copies.step(np.zeros((2, 1)))
    state = copies.state()
    with pytest.raises(TaskError, match="another shape in 'seeds'"):
        make("Pendulum-v1", 3).load_state(state)
    with pytest.raises(TaskError, match="another shape in 'actions'"):
        copies.load_state({**state, "actions": state["actions"][:, :0]})
    with pytest.raises(TaskError, match=r"unknown 'observation'|lacks 'observation/angle'"):
        make("toy/Dial-v0", 2).load_state(state)
    with pytest.raises(TaskError, match="lacks 'steps'"):
        copies.load_state({key: array for key, array in state.items() if key != "steps"})
    with pytest.raises(TaskError, match="unknown 'more'"):
        copies.load_state({**state, "more": np.zeros(2)})


def test_seeds_are_checked():
    with pytest.raises(TaskError, match="seeds must be whole numbers"):
        make("Pendulum-v1", 1).seed([-1])


# --- constraints -----------------------------------------------------------------------------------------------------


def test_an_environment_may_bring_its_own_constraints():
    own, given = GymnasiumCopies("toy/Constrained-v0", 2), make("toy/Dial-v0", 2, max_episode_steps=6)
    assert own.constraints.names == ("late",)
    rng = np.random.default_rng(0)
    for _ in range(3):
        actions = random_actions(own, rng)
        a, b = own.step(actions), given.step(actions)
        np.testing.assert_array_equal(a.values[:, 0], b.values[:, 1])
        np.testing.assert_array_equal(a.costs[:, 0], b.costs[:, 1])
    assert a.cost.tolist() == [1.0, 1.0]
    changed = GymnasiumCopies("toy/Constrained-v0", 2, limits={"late": 0.0}, cost_limits={"late": 9.0})
    assert (changed.constraints[0].limit, changed.constraints[0].cost_limit) == (0.0, 9.0)
    assert changed.step(np.zeros((2, 2))).values.tolist() == [[1.0], [1.0]]
    assert GymnasiumCopies("toy/Constrained-v0", constraints=[SPEED]).constraints.names == ("speed",)


def test_its_own_are_judged_where_they_were_put():
    copies = GymnasiumCopies("toy/Halved-v0", 1)  # what is seen outside is half of what the constraint reads
    for k in (1, 2, 3):
        t = copies.step(np.zeros((1, 2)))
        assert t.observation["level"][0, 0] == k / 2
        assert t.values[0, 0] == k - 2.0


def test_constraints_without_our_wrapper():
    copies = GymnasiumCopies("toy/SaysConstraints-v0", 1)
    t = copies.step([[0.5, 0.25]])
    assert t.values[0, 0] == copies.first.unwrapped.angle[1] - 0.5  # in double precision, which the observation is not
    assert t.costs[0, 0] == float(t.values[0, 0] > 0)
    with pytest.raises(ConstraintError, match="its own and cannot be changed"):
        GymnasiumCopies("toy/SaysConstraints-v0", 1, limits={"turned": 1.0})
    silent = GymnasiumCopies("toy/SaysConstraints-v0", 1, says_values=False, limits={"turned": 0.25})
    t = silent.step([[0.5, 0.25]])
    assert t.values[0, 0] == float(t.observation["angle"][0, 1]) - 0.25


def test_a_registered_task_by_way_of_its_module_keeps_its_constraints():
    copies = GymnasiumCopies("saferl_envs:saferl/CartPoleBalance-v0", 2)
    engine = make_copies("saferl_envs:saferl/CartPoleBalance-v0", 2)
    assert isinstance(engine, Engine)  # a task is stepped in a batch whatever its id begins with
    assert copies.constraints.names == engine.constraints.names
    done = False
    while not done:
        a, b = copies.step(np.full((2, 1), 0.9, np.float32)), engine.step(np.full((2, 1), 0.9, np.float32))
        for key in ("observation", "reward", "values", "costs", "violated", "episode_cost", "terminated"):
            np.testing.assert_array_equal(getattr(a, key), getattr(b, key))
        done = b.terminated.any()
    assert b.violated.any()


def test_one_more_is_made_for_a_look_only_where_a_constraint_reads_the_info():
    Dial.made.clear()
    GymnasiumCopies("toy/Dial-v0", 2, constraints=[LEVEL])
    assert len(Dial.made) == 2
    GymnasiumCopies("toy/Dial-v0", 2, constraints=[SPEED])
    assert len(Dial.made) == 5


def test_a_key_that_vanishes_is_named_with_its_copy():
    copies = GymnasiumCopies("toy/Dial-v0", 2, constraints=[SPEED], forget_at=2)
    copies.step(np.zeros((2, 2)), np.array([1]))
    with pytest.raises(SignalError, match=r"'info/speed'.*missing after a step of copy 1"):
        copies.step(np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("env_id", "kwargs", "kind", "words"),
    [
        ("Pendulm-v1", {}, TaskError, "did you mean 'Pendulum-v1'"),
        ("nothing-v7", {}, TaskError, "saferl/AntVelocity-v0"),
        ("Pendulum-v0", {}, TaskError, "use `Pendulum-v1` instead"),
        ("no.such.module:Foo-v0", {}, TaskError, "No module named 'no'"),
        ("not an id", {}, TaskError, "Malformed"),
        (3, {}, TaskError, "must be a string"),
        ("Pendulum-v1", {"wind": 3}, TaskError, "unexpected keyword argument 'wind'"),
        ("Blackjack-v1", {}, TaskError, "FlattenObservation"),
        ("Pendulum-v1", {}, ConstraintError, r"env.constraints, e.g. constraints: \[\{family: signal_limit.*observation_0"),
        ("Pendulum-v1", {"constraints": []}, ConstraintError, "under no constraint"),
        ("Pendulum-v1", {"constraints": [SLOW], "limits": {"fast": 1.0}}, ConstraintError, "unknown constraint 'fast'"),
        ("Pendulum-v1", {"constraints": [SPEED]}, SignalError, "unknown signal 'info/speed'"),
        ("Pendulum-v1", {"constraints": [{"family": "typo"}]}, ConstraintError, "unknown constraint family"),
        ("Pendulum-v1", {"constraints": [SLOW], "num_envs": 0}, TaskError, "num_envs must be a positive"),
        ("Pendulum-v1", {"constraints": [SLOW], "max_episode_steps": -1}, TaskError, "max_episode_steps must be a positive"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*out of date")
def test_mistakes_are_named_in_one_line(env_id, kwargs, kind, words):
    with pytest.raises(SaferlError, match=words) as caught:
        GymnasiumCopies(env_id, **kwargs)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000


def test_the_example_in_the_error_works():
    with pytest.raises(ConstraintError) as caught:
        GymnasiumCopies("toy/Dial-v0")
    yaml = pytest.importorskip("yaml")
    example = yaml.safe_load(str(caught.value).split("e.g. constraints: ")[1].split("; signals")[0])
    assert GymnasiumCopies("toy/Dial-v0", constraints=example).constraints.names == ("mine",)


# --- pictures --------------------------------------------------------------------------------------------------------


def red(renderer):
    """Return the step that the toy's picture shows, read from its middle."""
    frame = renderer.render("rgb_array")
    assert frame.dtype == np.uint8
    assert frame.shape == (60, 64, 3)
    return frame[30, 32, 0] / 10


def test_pictures_follow_the_first_copy_and_cost_nothing_until_asked_for():
    Dial.made.clear()
    copies = GymnasiumCopies("toy/Dial-v0", 2, constraints=[LEVEL])
    renderer = copies.renderer(64, 60)
    copies.step(np.zeros((2, 2)))
    assert [d.render_mode for d in Dial.made] == [None, None]
    assert renderer.render(None) is None
    assert red(renderer) == 1
    assert [d.render_mode for d in Dial.made] == [None, None, "rgb_array"]
    copies.step(np.ones((2, 2)))
    copies.step(np.ones((2, 2)))
    assert red(renderer) == 3
    assert red(renderer) == 3
    assert Dial.made[2].steps == 3
    np.testing.assert_array_equal(Dial.made[2].angle, Dial.made[0].angle)
    copies.reset(np.array([1]))
    assert red(renderer) == 3
    state = copies.state()
    copies.reset(np.array([0]))
    copies.step(-np.ones((2, 2)))
    assert red(renderer) == 1
    copies.load_state(state)
    assert red(renderer) == 3
    np.testing.assert_array_equal(Dial.made[2].angle, Dial.made[0].angle)
    assert len(Dial.made) == 3
    assert renderer.notice is None
    padding = renderer.render("rgb_array")[0, 0]
    assert padding[0] != 30  # twice as wide as high, in a frame that is not
    renderer.close()
    assert red(renderer) == 3  # a new twin
    with pytest.raises(TaskError, match="unknown render mode 'human'"):
        renderer.render("human")
    with pytest.raises(TaskError, match="0 x 5"):
        copies.renderer(0, 5)


def test_where_nothing_can_be_drawn_a_plain_frame_says_why(monkeypatch):
    none = GymnasiumCopies("toy/Picture-v0", 1, constraints=[SignalLimit(name="a", signal="reward", limit=1.0)])
    renderer = none.renderer(90, 50)
    assert "render modes are none" in renderer.notice
    frame = renderer.render("rgb_array")
    assert frame.shape == (50, 90, 3)
    assert len(np.unique(frame)) > 1
    monkeypatch.setattr(Dial, "render", lambda self: 1 / 0)
    broken = make("toy/Dial-v0", 1).renderer(90, 50)
    assert broken.render("rgb_array").shape == (50, 90, 3)
    assert "toy/Dial-v0 draws no picture here (ZeroDivisionError" in broken.notice
    assert "\n" not in broken.notice


def test_a_twin_that_goes_another_way_is_admitted():
    copies = GymnasiumCopies("toy/Unstable-v0", 1, constraints=[LEVEL])
    renderer = copies.renderer(64, 60)
    assert red(renderer) == 0
    assert renderer.notice is None
    copies.step(np.zeros((1, 2)))
    assert red(renderer) == 1
    assert "not deterministic" in renderer.notice


def test_a_robot_on_mujoco_is_drawn_without_a_display(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "off")
    still = SignalLimit(name="still", signal="action", bound="absolute", limit=0.5)
    copies = GymnasiumCopies("InvertedPendulum-v5", 1, constraints=[still])
    renderer = copies.renderer(80, 60)
    first = renderer.render("rgb_array")
    for _ in range(3):
        copies.step([[1.0]])
    second = renderer.render("rgb_array")
    assert first.shape == second.shape == (60, 80, 3)
    assert (first != second).any()
    assert "stick figures" in renderer.notice


# --- what drives copies ----------------------------------------------------------------------------------------------


def test_evaluation_plays_them():
    right = lambda observation: np.ones(len(observation), np.int64)  # noqa: E731
    episodes = play(make("CartPole-v1", 3), right, seed=5)
    for i in range(3):
        env = Constrained(gymnasium.make("CartPole-v1"), [POLE])
        env.reset(seed=5 + i)
        total, done = 0.0, False
        while not done:
            _, reward, done, _, info = env.step(1)
            total += reward
        assert (episodes.returns[i], episodes.costs[i, 0]) == (total, info["episode_cost"])


@pytest.mark.parametrize("env_id", ENVS)
def test_training_steps_them(env_id, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "off")  # looking for OpenGL takes seconds
    vec = ConstrainedVecEnv(env_id, 3, constraints=ENVS[env_id])
    vec.seed(0)
    vec.reset()
    rng, ended = np.random.default_rng(0), 0
    for _ in range(40):
        observation, _, dones, infos = vec.step(random_actions(vec.copies, rng))
        for i in np.flatnonzero(dones):
            ended += 1
            assert infos[i]["episode"]["l"] >= 3
            assert vec.observation_space.contains(infos[i]["terminal_observation"])
        assert vec.observation_space.contains(row(observation, 0))
    assert ended > 0 or env_id == "Pendulum-v1"
    assert vec.render("rgb_array").ndim == 3
    vec.close()

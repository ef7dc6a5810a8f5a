"""Navigation: lidar and placement against loops, costs and rewards against geometry, layouts that are given."""

import gymnasium
import numpy as np
import pytest

import saferl_envs
import saferl_envs.vector
from saferl_envs.errors import TaskError
from saferl_envs.lidar import in_frame, lidar
from saferl_envs.noise import Noise
from saferl_envs.placement import place
from saferl_envs.tasks.navigation import HAZARD
from saferl_envs.tasks.navigation_goal import RADIUS

assert saferl_envs  # registers the environments

HAZARDS = [[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [0.0, 1.2], [0.0, -1.2], [-1.2, 0.0], [1.2, 0.0]]


def seen_by_hand(things, bins, reach):
    """Safety Gym's definition, thing by thing."""
    found = np.zeros(bins)
    for x, y in things:
        close = max(0.0, reach - np.hypot(x, y)) / reach
        angle = np.arctan2(y, x) % (2 * np.pi)
        own = int(angle / (2 * np.pi / bins)) % bins
        along = angle / (2 * np.pi / bins) - own
        for bin_, share in ((own, 1.0), ((own + 1) % bins, along), ((own - 1) % bins, 1.0 - along)):
            found[bin_] = max(found[bin_], share * close)
    return found


def test_the_lidar_is_that_of_a_loop_over_things():
    things = np.random.default_rng(0).normal(scale=2.0, size=(40, 7, 2))
    expected = [seen_by_hand(copy, 16, 3.0) for copy in things]
    assert lidar(things) == pytest.approx(np.array(expected), abs=1e-12)
    assert not lidar(things[:, :0]).any()


def test_things_in_a_robots_frame():
    ((ahead, left),) = in_frame(np.array([[[1.0, 3.0], [0.0, 2.0]]]), np.array([[1.0, 2.0]]), np.array([np.pi / 2]))
    assert ahead == pytest.approx([1.0, 0.0], abs=1e-12)
    assert left == pytest.approx([0.0, 1.0], abs=1e-12)


def test_placed_things_keep_clear_of_each_other_and_of_what_is_there():
    noise = Noise(np.arange(50), np.zeros(50), np.zeros(50))
    there = np.zeros((50, 1, 2))
    placed = place(noise, "things", 8, 1.5, 0.18, [(there, 0.4)])
    assert (np.abs(placed) <= 1.5 - 0.18).all()
    for one in placed:
        between = np.hypot(*(one[:, None] - one).transpose(2, 0, 1))[np.triu_indices(8, 1)]
        assert between.min() >= 0.36
        assert np.hypot(*one.T).min() >= 0.58
    some = place(noise.rows(np.array([3, 17])), "things", 8, 1.5, 0.18, [(there[:2], 0.4)])
    assert np.array_equal(some, placed[[3, 17]])


@pytest.mark.parametrize("robot", ["Point", "Car"])
def test_goal_costs_and_rewards_are_geometry(robot):
    env = gymnasium.make(f"saferl/{robot}Goal2-v0")
    engine = env.unwrapped.engine
    env.action_space.seed(0)
    for seed in range(3):
        env.reset(seed=seed)
        hazards = engine.memory["hazards"][0].reshape(-1, 2)
        goal, position = engine.memory["goal"][0], engine.signals.view["position"][0].copy()
        assert np.hypot(*(goal - position)) > 0.7
        for _ in range(40):
            before = np.hypot(*(goal - position))
            _, reward, _, _, info = env.step(env.action_space.sample())
            position = engine.signals.view["position"][0].copy()
            assert info["cost_hazards"] == float((np.hypot(*(hazards - position).T) < HAZARD).any())
            after = np.hypot(*(goal - position))
            assert reward == pytest.approx(before - after + (after <= RADIUS), abs=1e-9)
            goal = engine.memory["goal"][0]


def test_a_layout_is_as_given_and_the_goal_moves_when_it_is_reached():
    env = gymnasium.make("saferl/PointGoal1-v0")
    engine = env.unwrapped.engine
    layout = {"robot": (0.0, 0.0, 0.0), "goal": (0.5, 0.0), "hazards": HAZARDS, "vases": [(0.0, 0.6)]}
    observations = [env.reset(seed=1, options={"layout": layout})[0] for _ in range(2)]
    assert np.array_equal(*observations)
    assert engine.memory["hazards"][0].reshape(8, 2).tolist() == HAZARDS
    rewards = []
    while not rewards or rewards[-1] < 0.9:
        rewards.append(env.step(np.array([1.0, 0.0]))[1])
        assert len(rewards) < 200
    assert sum(rewards) == pytest.approx(1.0 + 0.5 - 0.3, abs=0.05)
    goal = engine.memory["goal"][0]
    assert goal.tolist() != [0.5, 0.0]
    assert min(np.hypot(*(np.array(HAZARDS) - goal).T)) >= 0.18 + 0.305 - 1e-9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layuot": {}}, "layout"),
        ({"layout": 5}, "expected a mapping of robot, hazards, vases, goal"),
        ({"layout": {"hazard": []}}, "hazards"),
        ({"layout": {"goal": (1.0, 2.0, 3.0)}}, "goal needs 1 times x and y"),
        ({"layout": {"goal": ("a", "b")}}, "goal needs"),
        ({"layout": {"goal": (1.0, np.nan)}}, "finite"),
        ({"layout": {"hazards": np.zeros((2, 8))}}, "hazards needs 8 times x and y"),
        ({"layout": {"robot": (0.0, [1.0], 2.0)}}, "x, y and heading"),
        ({"layout": {"way": (1.0,)}}, "goal"),
    ],
)
def test_wrong_layouts_are_refused(options, message):
    env = gymnasium.make("saferl/PointGoal1-v0")
    env.reset(seed=0)
    before = env.unwrapped.engine.state()
    with pytest.raises(TaskError, match=message):
        env.reset(options=options)
    for key, array in env.unwrapped.engine.state().items():
        assert np.array_equal(array, before[key], equal_nan=True), key


def test_what_a_layout_does_not_give_keeps_clear_of_what_it_gives():
    env = gymnasium.make("saferl/PointGoal1-v0", pillars=2)
    engine = env.unwrapped.engine
    for seed in range(50):
        env.reset(seed=seed, options={"layout": {"robot": (0.0, 0.0, 0.0), "vases": [(0.9, 0.9)]}})
        hazards, pillars = (engine.memory[kind][0].reshape(-1, 2) for kind in ("hazards", "pillars"))
        assert np.hypot(*hazards.T).min() > HAZARD
        assert np.hypot(*pillars.T).min() >= 0.3 + 0.4 - 1e-9
        assert np.hypot(*(hazards - [0.9, 0.9]).T).min() >= 0.18 + 0.15 - 1e-9
        assert np.hypot(*(hazards - engine.memory["goal"][0]).T).min() >= 0.18 + 0.305 - 1e-9


def test_a_reset_of_no_copy_is_none():
    env = saferl_envs.vector.TaskVectorEnv("saferl/PointGoal2-v0", 3, autoreset_mode="Disabled")
    before, _ = env.reset(seed=0)
    after, _ = env.reset(options={"reset_mask": np.zeros(3, bool)})
    assert np.array_equal(before, after)


def test_added_obstacles_are_limited_where_walls_are_only_measured():
    env = gymnasium.make("saferl/PointCircle0-v0", hazards=4, cost_limit=10)
    assert {c.name: c.cost_limit for c in env.get_wrapper_attr("constraints")} == {"walls": None, "hazards": 10}


def test_markers_are_no_signals():
    offers = gymnasium.make("saferl/PointGoal1-v0").unwrapped.engine.signals.offers()
    assert "body_position/robot" in offers
    assert "base_position" in offers
    assert not [name for name in offers if name.endswith(("/goal", "/hazards0"))]


def test_a_vase_that_is_run_into_costs_by_touch_and_by_moving_and_one_beside_does_not():
    env = gymnasium.make("saferl/PointGoal2-v0", vases=2, hazards=0)
    layout = {"robot": (0.0, 0.0, 0.0), "goal": (-1.5, 0.0), "vases": [(0.6, 0.0), (0.0, 1.0)]}
    env.reset(seed=0, options={"layout": layout})
    infos = [env.step(np.array([1.0, 0.0]))[4] for _ in range(100)]
    touched = [t for t, info in enumerate(infos) if info["cost_vases"]]
    moved = [t for t, info in enumerate(infos) if info["cost_moved_vases"]]
    assert 5 < touched[0] < 90
    assert moved[0] >= touched[0] - 1  # they stand still until then
    assert env.unwrapped.engine.signals.view["vase_speed"][0, 1] < 1e-4


def test_a_pillar_stands_where_the_layout_has_it_and_does_not_give_way():
    env = gymnasium.make("saferl/PointGoal0-v0", pillars=1)
    env.reset(seed=0, options={"layout": {"robot": (0.0, 0.0, 0.0), "goal": (-0.7, 0.0), "pillars": [(0.6, 0.0)]}})
    infos = [env.step(np.array([1.0, 0.0]))[4] for _ in range(150)]
    assert any(info["cost_pillars"] for info in infos)
    assert env.unwrapped.engine.signals.view["position"][0, 0] < 0.6 - 0.2 - 0.09


def test_the_circle_pays_for_going_round_and_its_walls_cost():
    env = gymnasium.make("saferl/PointCircle1-v0")
    env.reset(seed=0, options={"layout": {"robot": (0.8, 0.0, np.pi / 2)}})
    view = env.unwrapped.engine.signals.view
    for _ in range(60):
        _, reward, _, _, info = env.step(np.array([1.0, 0.0]))
        (x, y), (u, v) = view["position"][0], view["qvel"][0, :2]
        radius = np.hypot(x, y)
        assert reward == pytest.approx(0.1 * (v * x - u * y) / radius / (1.0 + abs(radius - 1.5)))
        assert info["cost_walls"] == float(abs(x) > 1.125)
    assert reward > 0.0


@pytest.mark.parametrize(
    ("mistake", "message"),
    [({"level": 3}, "level"), ({"hazards": 2.5}, "hazards"), ({"vases": -1}, "vases"), ({"extent": 0}, "extent")],
)
def test_wrong_numbers_are_refused(mistake, message):
    for task in ("Goal", "Circle"):
        with pytest.raises(TaskError, match=message):
            gymnasium.make(f"saferl/Point{task}1-v0", **mistake)

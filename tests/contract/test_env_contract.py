"""What every registered environment must hold; a new task is tested here because it is registered."""

from __future__ import annotations

import itertools
import json
import pickle
import warnings

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import saferl_envs
from saferl_envs.constraints import AxisSpeed, ConstraintSet, JointPosition
from saferl_envs.engine import Engine
from saferl_envs.errors import ConstraintError, SaferlError, TaskError
from saferl_envs.simulation import Divergence
from saferl_envs.single import TaskEnv
from saferl_envs.task import State, Task

ALL_IDS = saferl_envs.task_ids()
# levels and play variants are one class with other numbers: the slower half of the contract is tested on one id of each class
IDS = tuple({type(saferl_envs.make_task(env_id)): env_id for env_id in reversed(ALL_IDS)}.values())
HOPPER = "saferl/HopperVelocity-v0"
CHEETAH = "saferl/HalfCheetahVelocity-v0"
MODES = tuple(AutoresetMode)
# models as Gymnasium ships them
BORROWED = tuple(f"saferl/{body}" for body in ("Ant", "HalfCheetah", "Hopper", "Humanoid", "Swimmer", "Walker2d"))
HUMANOID = "saferl/HumanoidVelocity"  # Gymnasium's Humanoid-v4: its controls and observation are as they are there
SOLO12 = "saferl/Solo12"
CONSTRAINT_KEYS = {
    "constraint_values",
    "constraint_costs",
    "constraint_violation",
    "cost",
    "episode_cost",
    "diverged",
}


@pytest.fixture(autouse=True)
def _mujoco_log_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes MUJOCO_LOG.TXT where it is run


def play(env, seed, steps, action_seed=0):
    """Yield reset and every step of an episode under random actions as (observation, reward, done, info)."""
    rng = np.random.default_rng(action_seed)
    low, high = env.action_space.low, env.action_space.high
    observation, info = env.reset(seed=seed)
    yield observation, 0.0, False, info
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(rng.uniform(low, high).astype(np.float32))
        yield observation, reward, terminated or truncated, info
        if terminated or truncated:
            return


def same(a, b):
    """Assert that two (nested) results are equal in type, shape and every bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert type(a) is type(b)
        np.testing.assert_array_equal(a, b, strict=isinstance(a, np.ndarray))


# --- checkers of others ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", IDS)
def test_gymnasiums_checker_is_content_in_every_render_mode(env_id, monkeypatch):
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for expected in (r".*observation space m(in|ax)imum value is", "no window: ", "compiler attribute"):
            warnings.filterwarnings("ignore", message=expected)
        if env_id.startswith(SOLO12):  # actions wide enough to cross the limits
            warnings.filterwarnings("ignore", message=".*we recommend using a symmetric and normalized space")
        env = gymnasium.make(env_id)
        assert set(env.metadata["render_modes"]) >= {"human", "rgb_array"}
        check_env(env.unwrapped)
        env.close()


@pytest.mark.parametrize("env_id", IDS)
def test_stable_baselines_checker_is_content(env_id):
    env = gymnasium.make(env_id).unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if env_id.startswith((HUMANOID, SOLO12)):  # controls from -0.4 to 0.4; actions from -5 to 5
            warnings.filterwarnings("ignore", message="We recommend you to use a symmetric and normalized Box")
        sb3_check_env(env, warn=True)


# --- spaces, numbers, randomness -------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", IDS)
def test_observations_and_rewards_are_finite_and_in_their_spaces(env_id):
    env = gymnasium.make(env_id).unwrapped
    assert env.action_space.dtype == np.float32
    np.testing.assert_array_equal(env.action_space.low, -env.action_space.high)
    assert np.isfinite(env.action_space.high).all()
    assert env.metadata["render_fps"] == round(1 / env.engine.task.control_timestep)
    for observation, reward, _, info in play(env, 0, 60):
        assert env.observation_space.contains(observation)
        assert observation.dtype == env.observation_space.dtype
        assert np.isfinite(observation).all()
        assert type(reward) is float
        assert np.isfinite(reward)
        assert np.isfinite(info["constraint_values"]).all()


@pytest.mark.parametrize("env_id", IDS)
def test_a_seed_fixes_the_episodes_and_no_two_start_alike(env_id):
    def starts(env):
        return [env.reset(seed=3)[0], env.reset()[0], env.reset()[0], env.reset(seed=4)[0]]

    first, second = gymnasium.make(env_id), gymnasium.make(env_id)
    for a, b in zip(starts(first), starts(second), strict=True):
        np.testing.assert_array_equal(a, b)
    distinct = {observation.tobytes() for observation in starts(first)}
    assert len(distinct) == 4
    for a, b in zip(play(first.unwrapped, 8, 40), play(second.unwrapped, 8, 40), strict=True):
        same(a, b)


@pytest.mark.parametrize("env_id", IDS)
def test_an_environment_without_a_seed_starts_anywhere(env_id):
    starts = {gymnasium.make(env_id).reset()[0].tobytes() for _ in range(3)}
    assert len(starts) == 3


def elements_that_may_stay(env_id, env):
    """Return (never, untouched): elements that Humanoid-v4 shows although they never vary, or only when bodies are touched."""
    never, untouched = (np.zeros(env.observation_space.shape, bool) for _ in range(2))
    if env_id.startswith(HUMANOID):
        offers = env.engine.signals.offers()
        names = [("state", "")] * 45
        for signal in ("body_inertia", "body_twist", "dof_actuator_force", "external_wrench"):
            names += [(signal, component) for component in offers[signal].components]
        root = {f"dof_{i}" for i in range(6)}  # no actuator moves it
        never[:] = [part.startswith("world/") or part.endswith("/m") or part in root for _, part in names]
        untouched[:] = [signal == "external_wrench" and "foot/" not in part for signal, part in names]
        assert never.sum() == 10 + 13 + 6 + 6 + 6  # world's inertia, masses, world's velocity, root, world's wrench
    if "Goal" in env_id or env_id.endswith(("PointCircle0-v0", "CarCircle0-v0")):
        untouched[-16 * (untouched.size // 16) :] = True  # bins of lidars in which nothing came by
    return never, untouched


@pytest.mark.parametrize("env_id", IDS)
def test_every_observation_element_varies(env_id):
    env = gymnasium.make(env_id).unwrapped
    seen = np.array([o for seed in range(3) for o, *_ in play(env, seed, 60, action_seed=seed)])
    starts = np.array([env.reset(seed=seed)[0] for seed in range(8)])
    assert len(seen) > 20
    never, untouched = elements_that_may_stay(env_id, env)
    varies = np.ptp(seen, axis=0) > 1e-9
    assert (varies | never | untouched).all()
    assert not varies[never].any()
    assert np.ptp(starts, axis=0).max() > 1e-3


@pytest.mark.parametrize("env_id", IDS)
def test_what_was_returned_does_not_change_later(env_id):
    env = gymnasium.make(env_id).unwrapped
    kept, frozen = [], []
    for observation, _, _, info in play(env, 0, 5):
        kept.append([observation, *info.values()])
        frozen.append(pickle.dumps(kept[-1]))
    env.reset()
    assert [pickle.dumps(k) for k in kept] == frozen
    arrays = [[a for a in k if isinstance(a, np.ndarray)] for k in kept]
    for before, after in itertools.pairwise(arrays):
        assert not any(np.may_share_memory(a, b) for a in before for b in after)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env_id", IDS)
def test_what_a_vector_environment_returned_does_not_change_later(env_id, mode):
    env = gymnasium.make_vec(env_id, num_envs=2, max_episode_steps=3, threads=1, autoreset_mode=mode)
    rng = np.random.default_rng(0)
    kept = [list(env.reset(seed=0))]
    frozen = [pickle.dumps(kept[0])]
    for _ in range(5):
        actions = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        kept.append(list(env.step(actions)))
        frozen.append(pickle.dumps(kept[-1]))
        actions[:] = 0.5  # the caller may reuse its own array
    env.reset()
    assert [pickle.dumps(k) for k in kept] == frozen


# --- model -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", IDS)
def test_a_camera_exists_and_our_own_models_name_every_part(env_id):
    model = gymnasium.make(env_id).unwrapped.engine.simulation.model
    assert model.ncam >= 1
    if env_id.startswith(BORROWED):
        return
    for kind, count in (("joint", model.njnt), ("geom", model.ngeom), ("body", model.nbody), ("camera", model.ncam)):
        assert all(getattr(model, kind)(i).name for i in range(count)), kind
    assert all(model.actuator(i).name for i in range(model.nu))


# --- rewards and constraints -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ALL_IDS)
def test_reward_terms_sum_to_the_reward(env_id):
    env = gymnasium.make(env_id).unwrapped
    names = {f"reward_{name}" for name in env.engine.reward_names}
    assert names
    moved = set()
    for k, (_, reward, _, info) in enumerate(play(env, 1, 40)):
        terms = {name: value for name, value in info.items() if name.startswith("reward_")}
        assert terms.keys() == names
        total = 0.0
        for name in env.engine.reward_names:
            total += terms[f"reward_{name}"]
        assert total == reward
        if k:
            moved |= {name for name, value in terms.items() if value != 0.0}
    assert moved >= names - {"reward_goal"}  # which a random robot may not reach


def balanced_limits(env_id):
    """Return limits that a random episode crosses in about half of its steps."""
    env = gymnasium.make(env_id).unwrapped
    values = np.array([info["constraint_values"] for *_, info in play(env, 2, 100)][1:])
    limits = {}
    for constraint, columns in zip(env.constraints, env.constraints.slices, strict=True):
        median = float(np.median(values[:, columns].max(axis=1)))
        limits[constraint.name] = constraint.limit + (median if constraint.bounds_from_above else -median)
    return limits


@pytest.mark.parametrize("env_id", IDS)
def test_costs_follow_from_the_constraint_values(env_id):
    env = gymnasium.make(env_id, limits=balanced_limits(env_id)).unwrapped
    constraints, running = env.constraints, 0.0
    outcomes, seen_values = {name: set() for name in constraints.names}, {name: set() for name in constraints.names}
    for k, (_, _, _, info) in enumerate(play(env, 2, 100)):
        assert info.keys() >= CONSTRAINT_KEYS | {f"cost_{name}" for name in constraints.names}
        assert info["constraint_values"].shape == (constraints.num_components,)
        assert info["constraint_costs"].shape == info["constraint_violation"].shape == (len(constraints),)
        limited = 0.0
        for c, constraint in enumerate(constraints):
            worst = info["constraint_values"][constraints.slices[c]].max()
            cost = info[f"cost_{constraint.name}"]
            assert cost == info["constraint_costs"][c]
            assert cost >= 0 or constraint.cost == "signed"
            if k == 0:
                assert cost == 0 == info["constraint_violation"][c]
                continue
            violated = bool(worst > 0)
            assert info["constraint_violation"][c] == violated
            if constraint.cost == "indicator":
                assert cost == violated
            elif constraint.cost == "excess":
                assert cost == max(worst, 0.0)
            outcomes[constraint.name].add(violated)
            seen_values[constraint.name].add(worst)
            limited += cost if constraint.cost_limit is not None else 0.0
        assert info["cost"] == pytest.approx(limited, abs=1e-12)
        running += info["cost"]
        assert info["episode_cost"] == pytest.approx(running, abs=1e-9)
    # a touch or a number of feet has no median between two values, and a gate may be shut half of the time
    continuous = [c.name for c in constraints if len(seen_values[c.name]) > 0.8 * k and not c.when]
    assert continuous
    assert all(outcomes[name] == {True, False} for name in continuous), outcomes
    _, info = env.reset()
    assert info["cost"] == info["episode_cost"] == 0.0


@pytest.mark.parametrize("env_id", ALL_IDS)
def test_constraints_are_known_before_the_first_step(env_id):
    constraints = gymnasium.make(env_id).get_wrapper_attr("constraints")
    assert isinstance(constraints, ConstraintSet)
    assert len(constraints) >= 1
    for constraint in constraints:
        assert np.isfinite(constraint.limit)
        assert constraint.cost_limit is None or constraint.cost_limit >= 0
        assert constraint.components
    specs = json.loads(json.dumps(constraints.to_specs()))
    rebuilt = gymnasium.make(env_id, constraints=specs).get_wrapper_attr("constraints")
    assert list(rebuilt) == list(constraints)
    vector = gymnasium.make_vec(env_id, num_envs=2, threads=1)
    assert list(vector.unwrapped.constraints) == list(constraints)


@pytest.mark.parametrize("env_id", IDS)
def test_info_has_the_same_keys_types_and_shapes_always(env_id):
    def form(info):
        return {key: (type(value), np.shape(value), np.asarray(value).dtype) for key, value in info.items()}

    forms = [form(info) for *_, info in play(gymnasium.make(env_id).unwrapped, 0, 10)]
    assert all(f == forms[0] for f in forms)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env_id", IDS)
def test_vector_info_has_the_same_keys_types_and_shapes_always(env_id, mode):
    env = gymnasium.make_vec(env_id, num_envs=3, max_episode_steps=4, threads=1, autoreset_mode=mode)
    single = gymnasium.make(env_id).reset(seed=0)[1]

    def form(info):
        return {key: (value.shape, value.dtype) for key, value in info.items() if "final" not in key}

    infos = [env.reset(seed=0)[1]]
    infos += [env.step(np.zeros(env.action_space.shape, np.float32))[-1] for _ in range(9)]
    assert all(form(info) == form(infos[0]) for info in infos)
    for key, value in single.items():
        assert infos[0][key].shape == (3, *np.shape(value))
        assert infos[0][key].dtype == np.asarray(value).dtype
        assert infos[0][f"_{key}"].all()
    for info in infos:
        if "final_info" in info:
            assert form(info["final_info"]) == form(infos[0])
    assert any("final_info" in info for info in infos) == (mode is AutoresetMode.SAME_STEP)


@pytest.mark.parametrize("env_id", ALL_IDS)
def test_a_specification_survives_json_and_builds_the_same_environment(env_id):
    env = gymnasium.make(env_id, limits={}, max_episode_steps=7)
    spec = type(env.spec).from_json(env.spec.to_json())
    assert spec == env.spec
    again = gymnasium.make(spec)
    assert again.spec.max_episode_steps == 7
    for a, b in zip(play(env, 0, 20), play(again, 0, 20), strict=True):
        same(a, b)


# --- vector environments against Gymnasium's own ---------------------------------------------------------------------


def equal_infos(ours, theirs):
    """Assert that two vector infos mean the same: keys, masks, and the entries that the masks select."""
    assert ours.keys() == theirs.keys()
    for key, expected in theirs.items():
        if f"_{key}" not in theirs:
            continue
        mask = theirs[f"_{key}"]
        np.testing.assert_array_equal(ours[f"_{key}"], mask, strict=True)
        if isinstance(expected, dict):
            equal_infos(ours[key], expected)
            continue
        if expected.dtype != object:
            assert ours[key].dtype == expected.dtype
            assert ours[key].shape == expected.shape
        for i in np.flatnonzero(mask):
            np.testing.assert_array_equal(ours[key][i], expected[i])


def twins(env_id, mode, num=3, steps=None):
    ours = gymnasium.make_vec(env_id, num_envs=num, max_episode_steps=steps, threads=1, autoreset_mode=mode)
    make = lambda: gymnasium.make(env_id, max_episode_steps=steps)  # noqa: E731
    return ours, SyncVectorEnv([make] * num, autoreset_mode=mode)


def drive(ours, theirs, steps, seed):
    """Step both with equal actions, resetting by mask where nothing else does; return what ended how."""
    mode = ours.metadata["autoreset_mode"]
    assert mode is theirs.metadata["autoreset_mode"]
    assert ours.single_observation_space == theirs.single_observation_space
    assert ours.single_action_space == theirs.single_action_space
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    rng = np.random.default_rng(1)
    ended = []
    ours_out, theirs_out = ours.reset(seed=seed), theirs.reset(seed=seed)
    for _ in range(steps):
        for a, b in zip(ours_out[:-1], theirs_out[:-1], strict=True):
            np.testing.assert_array_equal(a, b, strict=True)
        equal_infos(ours_out[-1], theirs_out[-1])
        actions = rng.uniform(-1, 1, ours.action_space.shape).astype(np.float32)
        ours_out, theirs_out = ours.step(actions), theirs.step(actions)
        terminated, truncated = theirs_out[2:4]
        ended += list(zip(terminated.tolist(), truncated.tolist(), strict=True))
        done = terminated | truncated
        if mode is AutoresetMode.DISABLED and done.any():
            for a, b in zip(ours_out[:-1], theirs_out[:-1], strict=True):
                np.testing.assert_array_equal(a, b, strict=True)
            ours_out = ours.reset(options={"reset_mask": done.copy()})
            theirs_out = theirs.reset(options={"reset_mask": done.copy()})
    return ended


@pytest.mark.parametrize("mode", MODES)
def test_autoreset_is_gymnasiums_in_every_mode(mode):
    ours, theirs = twins(HOPPER, mode, steps=20)
    assert ours.metadata["autoreset_mode"] is mode
    ended = drive(ours, theirs, 150, seed=11)
    assert ended.count((True, False)) >= 3
    assert ended.count((False, True)) >= 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env_id", IDS)
def test_every_task_resets_itself_as_gymnasium_does(env_id, mode):
    ours, theirs = twins(env_id, mode, num=2, steps=4)
    ended = drive(ours, theirs, 12, seed=[5, 2**40])
    assert (False, True) in ended


@pytest.mark.parametrize("mode", MODES)
def test_a_step_can_both_terminate_and_truncate(mode):
    env = gymnasium.make(HOPPER)
    env.reset(seed=0)
    length, terminated = 0, False
    rng = np.random.default_rng(1)
    while not terminated:
        terminated = env.step(rng.uniform(-1, 1, (1, 3)).astype(np.float32)[0])[2]
        length += 1
    ours, theirs = twins(HOPPER, mode, num=1, steps=length)
    ended = drive(ours, theirs, length + 2, seed=0)
    assert (True, True) in ended


def test_seeds_as_a_list_fix_all_later_episodes_too():
    a, b = (gymnasium.make_vec(HOPPER, num_envs=3, threads=1) for _ in range(2))
    starts = [[env.reset(seed=[7, 9, 7])[0], env.reset()[0], env.reset(seed=[None, 1, None])[0]] for env in (a, b)]
    for first, second in zip(*starts, strict=True):
        np.testing.assert_array_equal(first, second)
    seeded, later, mixed = starts[0]
    np.testing.assert_array_equal(seeded[0], seeded[2])
    assert not np.array_equal(seeded[0], seeded[1])
    np.testing.assert_array_equal(later[0], later[2])
    assert not np.array_equal(later, seeded)
    np.testing.assert_array_equal(mixed[0], mixed[2])
    np.testing.assert_array_equal(mixed[1], gymnasium.make(HOPPER).reset(seed=1)[0])


def test_copies_without_a_seed_start_anywhere():
    starts = [gymnasium.make_vec(HOPPER, num_envs=2, threads=1).reset(seed=s)[0] for s in (None, None, [None, 3])]
    rows = {row.tobytes() for start in starts for row in start}
    assert len(rows) == 6


def test_a_mask_resets_only_the_copies_it_names():
    env = gymnasium.make_vec(HOPPER, num_envs=3, threads=1, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    before = env.step(np.ones((3, 3), np.float32))[0]
    after, info = env.reset(options={"reset_mask": np.array([False, True, False])}, seed=[1, 2, 3])
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
    np.testing.assert_array_equal(after[1], gymnasium.make(HOPPER).reset(seed=2)[0])
    np.testing.assert_array_equal(info["_cost"], [False, True, False])
    with pytest.raises(TaskError, match="reset_mask"):
        env.reset(options={"reset_mask": np.array([1, 0, 1])})


def test_actions_of_copies_that_only_reset_are_ignored():
    make = lambda: gymnasium.make_vec(HOPPER, num_envs=2, max_episode_steps=5, threads=1)  # noqa: E731
    plain, poked = make(), make()
    plain.reset(seed=0)
    poked.reset(seed=0)
    for k in range(12):
        actions = np.full((2, 3), 0.3, np.float32)
        expected = plain.step(actions)
        if k == 5:  # both copies were truncated by the fifth step
            actions[:] = np.nan
        np.testing.assert_array_equal(poked.step(actions)[0], expected[0])


@pytest.mark.parametrize("steps", [1, 3, 1200])
def test_the_time_limit_can_be_shorter_or_longer_than_the_tasks_own(steps):
    def length(env):
        env.reset(seed=0)
        for k in range(1, 1300):
            _, _, terminated, truncated, _ = env.step(np.zeros(env.action_space.shape, np.float32))
            assert not np.any(terminated)
            if np.any(truncated):
                return k
        return None

    assert length(gymnasium.make(CHEETAH, max_episode_steps=steps)) == steps
    assert length(TaskEnv(CHEETAH, max_episode_steps=steps)) == steps
    assert length(gymnasium.make_vec(CHEETAH, num_envs=2, max_episode_steps=steps, threads=1)) == steps


@pytest.mark.parametrize("env_id", IDS)
def test_the_registered_time_limit_is_the_tasks(env_id):
    env = gymnasium.make(env_id)
    steps = env.unwrapped.engine.task.max_episode_steps
    assert env.spec.max_episode_steps == steps
    assert gymnasium.make_vec(env_id, num_envs=1, threads=1).unwrapped.engine.max_episode_steps == steps


# --- mistakes --------------------------------------------------------------------------------------------------------

MISTAKES = {
    "unknown task": (lambda: TaskEnv("saferl/HoperVelocity-v0"), TaskError, "HopperVelocity-v0"),
    "unknown keyword": (lambda: gymnasium.make(HOPPER, sped_limit=1.0), TaskError, "sped_limit"),
    "unknown keyword, vector": (lambda: gymnasium.make_vec(HOPPER, num_envs=2, sped_limit=1.0), TaskError, "sped_"),
    "unknown limit": (lambda: gymnasium.make(HOPPER, limits={"sped": 1.0}), ConstraintError, "'sped'.*'speed'"),
    "limit that is no number": (lambda: gymnasium.make(HOPPER, limits={"speed": np.nan}), ConstraintError, "speed"),
    "no constraint": (lambda: gymnasium.make(HOPPER, constraints=[]), ConstraintError, "at least one constraint"),
    "unknown family": (
        lambda: gymnasium.make(HOPPER, constraints=[{"family": "axis_sped", "name": "v", "limit": 1.0}]),
        ConstraintError,
        "axis_sped.*axis_speed",
    ),
    "signal that is not on offer": (
        lambda: gymnasium.make(HOPPER, constraints=[{"family": "contact_force", "name": "f", "limit": 1.0, "group": "hands"}]),
        SaferlError,
        "contact_force/hands.*contact_force/feet",
    ),
    "unknown joint": (
        lambda: gymnasium.make(HOPPER, constraints=[JointPosition(name="q", limit=1.0, components=("elbow",))]),
        SaferlError,
        "elbow.*thigh_joint",
    ),
    "unknown render mode": (lambda: TaskEnv(HOPPER, render_mode="rgb"), TaskError, "'rgb'.*rgb_array"),
    "unknown render mode, vector": (
        lambda: gymnasium.make_vec(HOPPER, num_envs=1, render_mode="rgb"),
        TaskError,
        "'rgb'.*rgb_array",
    ),
    "unknown autoreset mode": (
        lambda: gymnasium.make_vec(HOPPER, num_envs=2, autoreset_mode="SameStp"),
        TaskError,
        "'SameStp'.*SameStep",
    ),
    "no copies": (lambda: gymnasium.make_vec(HOPPER, num_envs=0), TaskError, "copies.*0"),
    "negative threads": (lambda: gymnasium.make_vec(HOPPER, num_envs=1, threads=-1), TaskError, "threads.*-1"),
    "time limit of no steps": (lambda: TaskEnv(HOPPER, max_episode_steps=0), TaskError, "max_episode_steps.*0"),
    "seed of 65 bits": (lambda: TaskEnv(HOPPER).reset(seed=2**64), TaskError, "seeds.*18446744073709551616"),
    "negative seed of an engine": (lambda: TaskEnv(HOPPER).engine.seed(np.array([-1])), TaskError, r"seeds.*array\(\[-1\]\)"),
    "half a seed": (lambda: TaskEnv(HOPPER).engine.seed([1.5]), TaskError, r"seeds.*1\.5"),
    "negative seed": (
        lambda: gymnasium.make_vec(HOPPER, num_envs=2, threads=1).reset(seed=[3, -1]),
        TaskError,
        "seeds.*-1",
    ),
    "too few seeds": (
        lambda: gymnasium.make_vec(HOPPER, num_envs=3, threads=1).reset(seed=[1, 2]),
        TaskError,
        "2 seeds for 3",
    ),
}


@pytest.mark.filterwarnings("ignore:.*render mode")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(mistake):
    build, kind, words = MISTAKES[mistake]
    with pytest.raises(kind, match=words) as caught:
        build()
    assert isinstance(caught.value, SaferlError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("action", [np.zeros(2), np.zeros((1, 3)), np.float32(0)])
def test_actions_of_a_wrong_shape_are_refused(action):
    env = TaskEnv(HOPPER)
    env.reset(seed=0)
    with pytest.raises(TaskError, match=r"shape .*expected \(3,\)"):
        env.step(action)
    vector = gymnasium.make_vec(HOPPER, num_envs=2, threads=1)
    vector.reset(seed=0)
    with pytest.raises(TaskError, match=r"expected \(2, 3\)"):
        vector.step(np.zeros((3, 3)))


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_actions_that_are_not_finite_are_refused_and_change_nothing(poison):
    env, undisturbed = (gymnasium.make_vec(HOPPER, num_envs=3, threads=1) for _ in range(2))
    actions = np.full((3, 3), 0.2, np.float32)
    for e in (env, undisturbed):
        e.reset(seed=0)
        e.step(actions)
    bad = actions.copy()
    bad[1, 2] = poison
    with pytest.raises(TaskError, match=r"copies \[1\] are not finite"):
        env.step(bad)
    for a, b in zip(env.step(actions), undisturbed.step(actions), strict=True):
        same(a, b)


# --- physics that diverges -------------------------------------------------------------------------------------------


def test_a_diverging_copy_is_reported_dumped_and_ended_alone(tmp_path):
    dumps = tmp_path / "dumps"
    make = lambda: gymnasium.make_vec(CHEETAH, num_envs=3, threads=1, dump_dir=str(dumps))  # noqa: E731
    env, undisturbed = make(), make()
    rng = np.random.default_rng(0)
    env.reset(seed=40)
    undisturbed.reset(seed=40)
    for k in range(12):
        actions = rng.uniform(-1, 1, (3, 6)).astype(np.float32)
        expected = undisturbed.step(actions)
        if k == 4:
            env.unwrapped.engine.simulation.qvel[1] = 1e12
            with pytest.warns(Divergence, match=r"copy 1 at step 5 .*seed 41") as caught:
                out = env.step(actions)
            assert len(caught) == 1
            assert out[2].tolist() == [False, True, False]
            assert out[4]["diverged"].tolist() == [False, True, False]
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Divergence)
                out = env.step(actions)
            assert out[2].tolist() == [False] * 3
            assert not out[4]["diverged"].any()
        assert all(np.isfinite(array).all() for array in (out[0], out[1], out[4]["constraint_values"]))
        for a, b in zip(out[:4], expected[:4], strict=True):
            np.testing.assert_array_equal(a[[0, 2]], b[[0, 2]])
        assert np.abs(out[0][1]).max() < 1e3 or k == 4
    (file,) = dumps.iterdir()
    with np.load(file, allow_pickle=False) as dump:
        assert (dump["copy"], dump["step"], dump["seed"]) == (1, 5, 41)
        assert (dump["qvel"] == 1e12).all()
        assert dump["qpos"].shape == (9,)


class Cannon(Task):
    """A block whose motor is so strong that any action at all is absurd."""

    control_timestep = 0.02
    base_body = "ball"
    base_joints = ("slide",)

    def spec(self):
        return mujoco.MjSpec.from_string(
            """<mujoco><option timestep="0.01"/><worldbody><body name="ball">
            <joint name="slide" type="slide" axis="1 0 0"/><geom name="ball" size=".1" mass="1"/></body></worldbody>
            <actuator><motor name="fire" joint="slide" gear="1e13" ctrlrange="-1 1"/></actuator></mujoco>"""
        )

    @property
    def constraints(self):
        return (AxisSpeed(name="speed", limit=1.0),)

    def initial_state(self, noise, model):
        return State(noise.uniform("q", 1), noise.uniform("v", 1))

    def observe(self, signals, memory):
        return np.concatenate((signals["qpos"], signals["qvel"]), axis=1)

    def reward(self, signals, memory):
        return {"forward": signals["base_velocity"][:, 0]}


def test_the_dump_holds_the_last_good_state(tmp_path):
    engine = Engine(Cannon(), 3, threads=1, dump_dir=tmp_path / "dumps")
    engine.step(np.zeros((3, 1)))
    before = engine.observe()
    with pytest.warns(Divergence, match="last good state in .*npz"):
        t = engine.step(np.array([[0.0], [0.0], [1.0]]))
    assert t.diverged.tolist() == t.terminated.tolist() == [False, False, True]
    np.testing.assert_array_equal(t.observation[2], before[2])
    assert (t.observation[:2] != before[:2]).any(axis=1).all()
    assert t.reward[2] == 0.0
    (file,) = (tmp_path / "dumps").iterdir()
    with np.load(file, allow_pickle=False) as dump:
        np.testing.assert_array_equal(np.concatenate((dump["qpos"], dump["qvel"])), before[2])
        assert dump["ctrl"] == 1.0
        assert np.isfinite(dump["state"]).all()
    engine.reset(np.array([2]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not engine.step(np.zeros((3, 1))).diverged.any()


def test_two_copies_may_diverge_at_once_and_nothing_is_written_unasked(tmp_path):
    engine = Engine(Cannon(), 4, threads=2)
    with pytest.warns(Divergence) as caught:
        t = engine.step(np.array([[1.0], [0.0], [-1.0], [0.0]]))
    assert t.diverged.tolist() == [True, False, True, False]
    assert [str(w.message).split(" at ")[0].split()[-1] for w in caught] == ["0", "2"]
    assert not list(tmp_path.glob("*.npz"))

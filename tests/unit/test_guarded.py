"""Copies behind a safeguard: what is proposed, what is executed, and who sees which."""

from __future__ import annotations

import json
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml
from saferl.cli import main
from saferl.experiment.build import make_copies, make_model, make_vec_env
from saferl.experiment.config import build_config
from saferl.experiment.evaluate import changed, evaluate
from saferl.experiment.train import train
from saferl.vec import ConstrainedVecEnv
from stable_baselines3 import PPO

from saferl_controllers import BoxSafeguard, GuardedCopies, GuardedPolicy, Safeguard, Safeguarded, safeguards
from saferl_envs.errors import ConfigError, TaskError
from saferl_envs.make import make_copies as make_env_copies
from saferl_envs.signals import FloatArray, Signals

HALF = BoxSafeguard(np.array([-0.5]), np.array([0.5]))
CONTENT: dict[str, Any] = {
    "env": {"id": "saferl/CartPoleBalance-v0", "num_envs": 4},
    "method": {"name": "ppo", "n_steps": 8, "batch_size": 16, "net_arch": [8, 8], "log_std_init": 1.0},
    "safeguard": {"name": "barrier", "horizon": 10},
    "threads": 1,
}


def cart_poles(n: int = 3, env_id: str = "saferl/CartPoleBalance-v0") -> Any:
    return make_env_copies(env_id, n, threads=1)


def test_the_environment_takes_what_the_safeguard_says() -> None:
    guarded, plain = GuardedCopies(cart_poles(), HALF), cart_poles()
    proposed = np.array([[0.2], [0.9], [-3.0]])
    found, expected = guarded.step(proposed), plain.step(np.array([[0.2], [0.5], [-0.5]]))
    for mine, other in zip(found[:-1], expected[:-1], strict=True):
        np.testing.assert_equal(mine, other)
    assert found.extras["action_proposed"].tolist() == [[0.2], [0.9], [-1.0]]  # as far as actions go
    assert found.extras["action_executed"].tolist() == [[0.2], [0.5], [-0.5]]
    assert found.extras["intervened"].tolist() == [False, True, True]


def test_a_safeguard_that_allows_everything_changes_nothing() -> None:
    guarded, plain = GuardedCopies(cart_poles(), BoxSafeguard(np.array([-1.0]), np.array([1.0]))), cart_poles()
    rng = np.random.default_rng(0)
    for _ in range(20):
        actions = rng.uniform(-1.0, 1.0, (3, 1)).astype(np.float32)
        assert guarded.step(actions).observation.tobytes() == plain.step(actions).observation.tobytes()


def test_safeguards_see_the_present_signals() -> None:
    class Brake(Safeguard):
        requires = frozenset({"joint_velocity"})

        def filter(self, signals: Signals, proposed: FloatArray) -> Safeguarded:
            action = -np.sign(signals["joint_velocity"][:, :1])
            n = len(proposed)
            yes, no = np.ones(n, np.bool_), np.zeros(n, np.bool_)
            return Safeguarded(action, yes, np.zeros(n), action[:, 0] != proposed[:, 0], no, np.zeros(n, np.intp))

    copies = GuardedCopies(cart_poles(), Brake())
    for _ in range(5):
        speed = copies.present()["joint_velocity"][:, :1].copy()
        assert copies.step(np.zeros((3, 1))).extras["action_executed"].tolist() == (-np.sign(speed)).tolist()


def test_steps_and_resets_tell_the_same_keys() -> None:
    env = ConstrainedVecEnv(GuardedCopies(cart_poles(), HALF))
    env.reset()
    env.step_async(np.full((3, 1), 0.9))
    _, _, _, infos = env.step_wait()
    reset = env.reset_infos[0]
    assert reset.keys() <= infos[0].keys()
    for key in reset:
        assert np.shape(reset[key]) == np.shape(infos[0][key])
    assert infos[0]["intervened"] is True
    assert infos[0]["action_executed"] == 0.5
    assert reset["action_executed"] == 0.0


def test_what_it_did_is_told_once() -> None:
    guarded = GuardedCopies(cart_poles(), HALF)
    assert guarded.metrics() == {}
    guarded.step(np.array([[0.9], [0.0], [0.0]]))
    guarded.step(np.array([[0.0], [1.0], [0.0]]))
    metrics = guarded.metrics()
    assert metrics["safeguard/intervention_rate"] == pytest.approx(2 / 6)
    assert metrics["safeguard/correction"] == pytest.approx(0.9 / 6)
    assert metrics["safeguard/infeasible_rate"] == 0.0
    assert metrics["safeguard/solve_ms"] > 0.0
    assert guarded.metrics() == {}
    guarded.step(np.array([[0.9], [0.0], [0.0]]), np.array([1, 2]))
    assert guarded.metrics()["safeguard/intervention_rate"] == 0.0  # only copies that were stepped count


def test_the_learner_stores_what_it_proposed() -> None:
    config = build_config({**CONTENT, "safeguard": {"name": "barrier", "horizon": 2, "rate": 0.01}}, "test")
    env = make_vec_env(config)
    model: Any = make_model(config, env)
    executed = []
    copies: Any = model.recorder._base.copies
    step = copies.step

    def noted(actions: Any, ids: Any = None) -> Any:
        found = step(actions, ids)
        executed.append(found.extras["action_executed"])
        return found

    copies.step = noted
    model.learn(32)
    stored = model.rollout_buffer.actions.reshape(4, 8, 1).swapaxes(0, 1)  # get() has flattened them copy by copy
    differs = np.abs(np.clip(stored, -1.0, 1.0) - np.stack(executed[:8])).max(axis=(1, 2)) > 1e-6
    assert differs.any()
    assert (np.abs(stored) > 1.0).any()


def test_a_replay_buffer_keeps_what_was_proposed_and_what_was_executed() -> None:
    off_policy = {"name": "sac", "n_steps": 8, "net_arch": [8, 8], "batch_size": 8, "learning_starts": 0}
    config = build_config({**CONTENT, "method": off_policy}, "test")
    model = make_model(config, make_vec_env(config))
    model.learn(64)
    buffer = model.replay_buffer
    told = model.recorder.last.executed  # the last step's, in the environment's unit, which here is that of [-1, 1]
    assert buffer.executed[buffer.pos - 1] == pytest.approx(told)
    moved = np.abs(buffer.executed[: buffer.pos] - buffer.actions[: buffer.pos])
    assert 0.0 < (moved > 1e-6).mean() < 1.0
    assert np.array_equal(buffer.state()["executed"], buffer.executed[: buffer.pos])
    batch = buffer.draw(16, model._vec_normalize_env)
    assert batch.executed.shape == batch.actions.shape
    unguarded = build_config({**CONTENT, "method": off_policy, "safeguard": None}, "test")
    for first, second in ((unguarded, config), (config, unguarded)):  # the environment may change
        model = make_model(first, make_vec_env(first))
        model.learn(32)
        model.set_env(make_vec_env(second))
        model.learn(64, reset_num_timesteps=False)
        steps = slice(model.replay_buffer.pos - 16, model.replay_buffer.pos)
        same = np.array_equal(model.replay_buffer.executed[steps], model.replay_buffer.actions[steps])
        assert same == (second is unguarded)


@pytest.mark.parametrize("method", ["ppo", "td3"])
def test_corrections_have_their_price_for_the_learner_alone(method: str) -> None:
    barrier = {"name": "barrier", "horizon": 2, "rate": 0.01, "price": 0.5}
    learner = {"name": method, "n_steps": 8, "net_arch": [8], "batch_size": 8}
    env = {**CONTENT["env"], "normalize_reward": False, "max_episode_steps": 8}
    config = build_config({**CONTENT, "env": env, "method": learner, "safeguard": barrier}, "test")
    model = make_model(config, make_vec_env(config))
    told, seen = [], []
    base: Any = model.recorder._base
    step_wait = model.recorder.step_wait

    def noted() -> Any:
        found = step_wait()
        told.append(base.last_step)
        seen.append((found[1].copy(), found[3]))  # at time limits SB3 adds to the array it was given
        return found

    model.recorder.step_wait = noted  # type: ignore[method-assign]
    model.learn(32)
    proposed, executed = (np.stack([step.extras[f"action_{name}"] for step in told]) for name in ("proposed", "executed"))
    gone = 0.5 * np.square(proposed - executed).sum(axis=2)  # actions go from -1 to 1
    assert (gone > 1e-3).any()
    raw = np.stack([step.reward for step in told])
    assert np.stack([rewards for rewards, _ in seen]) == pytest.approx(raw - gone)
    assert [info["episode"]["r"] for info in seen[-1][1]] == pytest.approx(raw.sum(axis=0))  # what is reported is the task's
    buffer: Any = model.rollout_buffer if method == "ppo" else model.replay_buffer
    assert buffer.raw_rewards[:8] == pytest.approx(raw)
    if method == "td3":
        assert buffer.rewards[:8] == pytest.approx(raw - gone, abs=1e-6)


def test_a_policy_is_evaluated_behind_one_and_without(tmp_path: Any) -> None:
    content = {**CONTENT, "total_timesteps": 64, "evaluation": {"times": 0, "episodes": 1}, "video": {"seconds": 0}}
    run = train(build_config({**content, "safeguard": None}, "test"), tmp_path / "run")
    barrier = {"safeguard": {"name": "barrier", "horizon": 20}, "env": {"max_episode_steps": 40}}
    report = evaluate(run.path, episodes=2, which="last", changes=barrier)
    assert 0.0 < report["stochastic"]["task"]["safeguard/intervention_rate"] <= 1.0
    assert report["stochastic"]["any_violation_rate"] == 0.0
    bare = evaluate(run.path, episodes=2, which="last", changes={"safeguard": None})
    assert "safeguard/intervention_rate" not in bare["stochastic"]["task"]
    with pytest.raises(ConfigError, match="can only change the environment and the safeguard"):
        evaluate(run.path, episodes=2, which="last", changes={"method": {"name": "ppo"}})


def test_a_named_safeguard_is_a_new_one_and_an_option_alone_changes_the_runs_own() -> None:
    own = {"name": "barrier", "backup": "returning", "gain": 6.0, "rate": 1.0}
    config: Any = build_config({**CONTENT, "env": {"id": "saferl/PandaReach-v0"}, "safeguard": own}, "test")
    named: Any = changed(config, {"safeguard": {"name": "barrier", "backup": "holding"}}).safeguard
    assert (named.backup, named.gain, named.rate) == ("holding", 4.0, 0.2)
    option: Any = changed(config, {"safeguard": {"gain": 3.0}}).safeguard
    assert (option.backup, option.gain, option.rate) == ("returning", 3.0, 1.0)
    with pytest.raises(ConfigError, match="gain has no effect on backup holding"):
        changed(config, {"safeguard": {"backup": "holding"}})


def test_one_file_guards_a_policy_of_cat_and_one_trained_elsewhere(tmp_path: Any, capsys: Any) -> None:
    method = {"name": "cat", "n_steps": 16, "batch_size": 64, "net_arch": [8]}
    ours = {**CONTENT, "safeguard": None, "total_timesteps": 64, "video": {"seconds": 0}, "method": method}
    train(build_config({**ours, "evaluation": {"times": 0, "episodes": 1}}, "test"), tmp_path / "cat")
    elsewhere = PPO("MlpPolicy", gymnasium.make("saferl/CartPoleBalance-v0"), n_steps=16, batch_size=16, n_epochs=1, seed=0)
    elsewhere.learn(16)
    elsewhere.save(tmp_path / "theirs.zip")
    theirs = {"env": {**CONTENT["env"], "normalize_observation": False}, "method": {**CONTENT["method"], "net_arch": [64, 64]}}
    (tmp_path / "theirs.yaml").write_text(yaml.safe_dump(theirs))
    imported = ["import", str(tmp_path / "theirs.yaml"), str(tmp_path / "theirs.zip"), "--run-dir", str(tmp_path / "theirs")]
    assert main(imported) == 0
    changes = tmp_path / "changes.yaml"
    changes.write_text("env: {max_episode_steps: 60}\nsafeguard: {name: barrier, horizon: 40}\n")
    for name in ("cat", "theirs"):
        common = ["evaluate", str(tmp_path / name), "--episodes", "1", "--checkpoint", "last", "--changes", str(changes)]
        assert main(common) == 0
        report = json.loads((tmp_path / name / "report_changed.json").read_text())
        assert report["stochastic"]["any_violation_rate"] == 0.0
        assert report["stochastic"]["task"]["safeguard/intervention_rate"] > 0.0
    assert main([*common, "--safeguard", "null"]) == 0
    report = json.loads((tmp_path / "theirs" / "report_changed.json").read_text())
    assert report["stochastic"]["any_violation_rate"] > 0.0
    capsys.readouterr()
    changes.write_text("method: {name: ppo}\n")
    assert main(common) == 2
    assert "unknown section 'method'" in capsys.readouterr().err
    assert main([*common[:-1], str(tmp_path / "none.yaml")]) == 2
    assert "no file" in capsys.readouterr().err


def test_evaluation_is_guarded_too() -> None:
    config = build_config(CONTENT, "test")
    assert isinstance(make_copies(config, 2), GuardedCopies)
    assert not isinstance(make_copies(build_config({**CONTENT, "safeguard": None}, "test"), 2), GuardedCopies)


def test_a_configuration_comes_back_from_its_json_form() -> None:
    config = build_config(CONTENT, "test")
    assert build_config(config.model_dump(mode="json"), "test") == config


@pytest.mark.parametrize(
    ("safeguard", "env_id", "words"),
    [
        ({"name": "wall"}, "saferl/CartPoleBalance-v0", "unknown safeguard 'wall'; valid: .*barrier"),
        ({"horizon": 3}, "saferl/CartPoleBalance-v0", "'safeguard.name' is missing"),
        ({"name": "barrier", "horizn": 3}, "saferl/CartPoleBalance-v0", "did you mean 'safeguard.horizon'"),
        ({"name": "barrier", "rate": 2.0}, "saferl/CartPoleBalance-v0", "safeguard.rate"),
        ({"name": "barrier", "rest": [1.0]}, "saferl/CartPoleBalance-v0", "rest has 1 positions, the model has 2"),
        ({"name": "barrier", "constraints": ["pole"]}, "saferl/CartPoleBalance-v0", "no constraint 'pole'"),
        ({"name": "barrier"}, "saferl/AntVelocity-v0", "hinges and slides"),
        ({"name": "barrier", "constraints": []}, "saferl/CartPoleBalance-v0", "safeguard.constraints"),
        ({"name": "barrier", "difference": 0.9}, "saferl/CartPoleBalance-v0", "safeguard.difference"),
        ({"name": "barrier", "gain": 6}, "saferl/CartPoleBalance-v0", "gain has no effect on backup linear, only on returning"),
    ],
)
def test_mistakes_are_named(safeguard: dict[str, Any], env_id: str, words: str) -> None:
    content = {**CONTENT, "safeguard": safeguard, "env": {"id": env_id, "num_envs": 2}}
    with pytest.raises(ConfigError, match=words):
        make_vec_env(build_config(content, "test"))


def test_signals_that_are_not_kept_up_to_date_are_named() -> None:
    class Curious(BoxSafeguard):
        requires = frozenset({"joint_torque"})

    with pytest.raises(ConfigError, match="safeguard Curious: unknown signal 'joint_torque'"):
        GuardedCopies(cart_poles(), Curious(np.array([-1.0]), np.array([1.0])))


def test_actions_must_be_numbers() -> None:
    tilt = {"family": "signal_limit", "name": "tilt", "signal": "observation", "components": ["observation_2"], "limit": 0.1}
    discrete = make_env_copies("CartPole-v1", 2, constraints=[tilt])
    with pytest.raises(ConfigError, match="numbers"):
        GuardedCopies(discrete, HALF)
    with pytest.raises(ConfigError, match="looks ahead in the simulation"):
        safeguards()["barrier"].settings(name="barrier").build(discrete)


class Proposes:
    """A policy with Stable-Baselines3's `predict`, which says the same whatever it sees."""

    def __init__(self, *actions: float) -> None:
        self.actions = np.array(actions, np.float32)[:, np.newaxis]

    def predict(self, observation: Any, state: Any = None, deterministic: bool = False) -> tuple[Any, Any]:
        return (self.actions if np.ndim(observation) == 2 else self.actions[0]), "mine"


def test_a_guarded_policy_plays_as_the_guarded_environment_does() -> None:
    """The barrier before the policy's actions, and the same before the environment's."""
    settings = build_config({**CONTENT, "safeguard": {"name": "barrier", "horizon": 40}}, "test").safeguard
    assert settings is not None
    env = gymnasium.make("saferl/CartPoleBalance-v0")
    observation, _ = env.reset(seed=3)
    copies = env.unwrapped.engine  # type: ignore[attr-defined]
    policy = GuardedPolicy(Proposes(1.0), settings.build(copies), copies.present)
    twin = cart_poles(1)
    guarded = GuardedCopies(twin, settings.build(twin))
    guarded.seed([3])
    guarded.reset()
    changed = 0
    for _ in range(60):
        action, state = policy.predict(observation, deterministic=True)
        assert (action.shape, action.dtype, state) == ((1,), np.float32, "mine")
        observation, _, _, _, info = env.step(action)
        expected = guarded.step(np.ones((1, 1), np.float32))
        np.testing.assert_array_equal(observation, expected.observation[0])
        assert info["cost"] == 0.0
        assert policy.last is not None
        changed += int(policy.last.intervened[0])
    assert changed > 10


def test_a_guarded_policy_takes_many_observations_and_names_what_is_missing() -> None:
    copies = cart_poles()
    policy = GuardedPolicy(Proposes(0.2, 0.9, -3.0), HALF, copies.present)
    action, _ = policy.predict(np.zeros((3, 4)))
    np.testing.assert_allclose(action, [[0.2], [0.5], [-0.5]])

    class Needs(BoxSafeguard):
        requires = frozenset({"joint_velocity", "joint_velocitys"})

    with pytest.raises(ConfigError, match="did you mean 'joint_velocity'"):
        GuardedPolicy(Proposes(0.0), Needs(np.array([-1.0]), np.array([1.0])), copies.present)


def test_whole_numbers_are_corrected_to_what_lies_between() -> None:
    class One:
        def predict(self, observation: Any, *args: Any, **kwargs: Any) -> Any:
            return np.array([1]), None

    copies = cart_poles(1)
    action, _ = GuardedPolicy(One(), HALF, copies.present).predict(np.zeros(4))
    assert action.tolist() == [0.5]


def test_actions_of_another_shape_are_refused() -> None:
    class Scalar:
        def predict(self, observation: Any, *args: Any, **kwargs: Any) -> Any:
            return np.float32(0.3), None

    copies = cart_poles(3)
    with pytest.raises(ConfigError, match=r"actions have shape \(\), expected \(na,\)"):
        GuardedPolicy(Scalar(), HALF, copies.present).predict(np.zeros(4))
    with pytest.raises(ConfigError, match="actions must be numbers"):
        GuardedPolicy(Proposes(np.nan), HALF, copies.present).predict(np.zeros(4))
    barrier: Any = build_config(CONTENT, "test").safeguard
    for guard in (HALF, barrier.build(copies)):
        with pytest.raises(ConfigError, match="a safeguard of actions of 1 numbers was proposed 2"):
            guard.filter(copies.present(), np.zeros((3, 2)))
    with pytest.raises(ConfigError, match="barrier safeguard of 3 copies: got 2 proposals"):
        barrier.build(copies).filter(copies.present(), np.zeros((2, 1)))
    with pytest.raises(TaskError, match=r"actions have shape \(2, 1\), expected \(3, 1\)"):
        GuardedCopies(copies, HALF).step(np.zeros((2, 1)))


def test_the_ladder_and_the_slack_are_told() -> None:
    settings = build_config(CONTENT, "test").safeguard
    assert settings is not None
    copies = cart_poles()
    guarded = GuardedCopies(copies, settings.build(copies))
    rungs, slacks = [], []
    for _ in range(80):
        found = guarded.step(np.ones((3, 1), np.float32)).extras
        rungs.append(found["safeguard_rung"])
        slacks.append(found["safeguard_slack"])
    metrics = guarded.metrics()
    shares = [metrics[f"safeguard/rung_{k}"] for k in range(guarded.safeguard.rungs)]
    np.testing.assert_allclose(shares, np.bincount(np.ravel(rungs), minlength=len(shares)) / np.size(rungs))
    assert 0.0 < shares[0] < 1.0
    assert metrics["safeguard/slack"] == pytest.approx(np.mean(slacks))
    assert "safeguard/rung_0" not in GuardedCopies(cart_poles(), HALF).metrics()

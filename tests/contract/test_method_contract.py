"""Every method: the same seed gives the same weights, and a killed training that is resumed gives them too, bit for bit."""

import functools
import os
import signal

import numpy as np
import pytest
import torch
from saferl.algorithms import methods
from saferl.algorithms.ppo import PPOSettings
from saferl.experiment import callbacks
from saferl.experiment.build import make_model, make_vec_env
from saferl.experiment.checkpoint import read_checkpoint
from saferl.experiment.config import VideoConfig, build_config
from saferl.experiment.evaluate import evaluate
from saferl.experiment.train import resume, train
from saferl.experiment.visualize import render_rollout

import gym_toys
from saferl_envs.errors import ConfigError, Interrupted

assert gym_toys  # registers toy environments
METHODS = tuple(methods())
ON_POLICY = tuple(name for name, method in methods().items() if issubclass(method.settings, PPOSettings))
OFF_POLICY = tuple(name for name in METHODS if name not in ON_POLICY)
BOX_ALONE = (*OFF_POLICY, "acs_ppo")  # correct or explore in actions that are numbers
OWN_STATE = (
    "multipliers", "termination", "cost_critics", "cost_targets", "conditions",
    "safety", "safety_target", "safety_value", "advantage_critics", "model",
)  # fmt: skip
TINY = {
    "env": {"id": "saferl/HopperVelocity-v0", "num_envs": 4, "max_episode_steps": 15, "limits": {"speed": 0.1}},
    "method": {"n_steps": 16, "batch_size": 32, "n_epochs": 2, "net_arch": [8]},
    "total_timesteps": 448,
    "evaluation": {"times": 3, "episodes": 2},
    "video": {"seconds": 0},
    "threads": 1,
    "torch_threads": 1,
    "checkpoint_seconds": 1e-6,
}


TINY_OFF_POLICY = {"n_steps": 16, "batch_size": 32, "learning_starts": 64, "net_arch": [8]}


def config(method, **changes):
    data = {**TINY, **changes}
    settings = TINY_OFF_POLICY if method in OFF_POLICY else data["method"]
    return build_config({**data, "method": {**settings, "name": method}}, "test")


def weights(folder):
    """Return every tensor of a run's last checkpoint that training determines."""
    return read_checkpoint(folder.path / "last.pt")


def assert_equal(first, second):
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first.keys() - {"episodes"}:  # these hold wall-clock times
            assert_equal(first[key], second[key])
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            assert_equal(a, b)
    elif isinstance(first, torch.Tensor):
        np.testing.assert_array_equal(first.numpy(), second.numpy())
    else:
        assert first == second


class Killed(Exception):
    """Stands for SIGKILL: nothing of the program runs after it."""


def killed_after(monkeypatch, rollouts):
    """Let training die at the end of a rollout, between the collection of data and the update."""
    original, seen = callbacks.ConstrainedEvaluation._on_rollout_end, []

    def die(self):
        original(self)
        seen.append(1)
        if len(seen) == rollouts:
            raise Killed

    monkeypatch.setattr(callbacks.ConstrainedEvaluation, "_on_rollout_end", die)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Return a function from a method to the folder of its training under `config`, which is taken once."""
    folder = tmp_path_factory.mktemp("whole")
    return functools.cache(lambda method: train(config(method), folder / method))


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path, uninterrupted, method):
    first = weights(uninterrupted(method))
    assert_equal(first, weights(train(config(method), tmp_path / "b")))
    other = weights(train(config(method, seed=1), tmp_path / "c"))
    acting = "actor." if method in OFF_POLICY else "action_net."
    mine, others = first["states"]["policy"], other["states"]["policy"]
    assert any(not torch.equal(mine[key], others[key]) for key in mine if key.startswith(acting))


@pytest.mark.parametrize("rollouts", [1, 3, 6])
@pytest.mark.parametrize("method", METHODS)
def test_a_killed_and_resumed_training_equals_an_uninterrupted_one(tmp_path, monkeypatch, uninterrupted, method, rollouts):
    whole = uninterrupted(method)
    with monkeypatch.context() as patch:
        killed_after(patch, rollouts)
        with pytest.raises(Killed):
            train(config(method), tmp_path / "killed")
    torch.manual_seed(123)  # nothing may depend on what this process drew before
    np.random.seed(123)  # noqa: NPY002 - SB3 draws from it
    resumed = resume(tmp_path / "killed")
    assert_equal(weights(whole), weights(resumed))
    for name in ("best.pt", "evaluations.csv", "last.pt", "progress.csv"):
        assert (resumed.path / name).is_file()
    assert (whole.path / "evaluations.csv").read_text() == (resumed.path / "evaluations.csv").read_text()
    steps = [line.split(",") for line in (resumed.path / "progress.csv").read_text().splitlines()]
    column = steps[0].index("time/total_timesteps")
    rows = [row[column] for row in steps[1:]]
    assert len(rows) == len((whole.path / "progress.csv").read_text().splitlines()) - 1


def test_bounded_multipliers_and_a_falling_limit_are_resumed_bit_for_bit(tmp_path, monkeypatch):
    settings = {**TINY["method"], "name": "reload", "bounded": True, "cost_limit_start": 50, "cost_limit_fraction": 0.9}
    asked = build_config({**TINY, "method": settings}, "test")
    whole = train(asked, tmp_path / "whole")
    with monkeypatch.context() as patch:
        killed_after(patch, 4)
        with pytest.raises(Killed):
            train(asked, tmp_path / "killed")
    assert_equal(weights(whole), weights(resume(tmp_path / "killed")))


def test_a_signal_lets_the_iteration_end_and_nothing_is_lost(tmp_path, monkeypatch):
    whole = train(config("cat"), tmp_path / "whole")
    original, seen = callbacks.ConstrainedEvaluation._on_rollout_end, []

    def stop(self):
        original(self)
        seen.append(self.num_timesteps)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.ConstrainedEvaluation, "_on_rollout_end", stop)
        with pytest.raises(Interrupted, match="saferl resume"):
            train(config("cat", checkpoint_seconds=1000), tmp_path / "stopped")
    assert read_checkpoint(tmp_path / "stopped" / "last.pt")["plain"]["num_timesteps"] == seen[2]
    assert_equal(weights(whole)["states"], weights(resume(tmp_path / "stopped"))["states"])


def test_only_one_process_trains_in_a_folder_and_a_finished_one_is_not_resumed(tmp_path):
    folder = train(config("ppo"), tmp_path / "r")
    with pytest.raises(ConfigError, match="finished"):
        resume(folder.path)
    folder.digests.unlink()
    folder.lock()
    with pytest.raises(ConfigError, match="another process"):
        resume(folder.path)


LIMIT = {"family": "signal_limit", "name": "edge", "bound": "absolute", "limit": 0.02, "cost_limit": 3}
OTHERS = {
    "discrete": {"id": "CartPole-v1", "constraints": [{**LIMIT, "signal": "observation", "components": ["observation_0"]}]},
    "box": {"id": "Pendulum-v1", "constraints": [{**LIMIT, "signal": "action"}], "max_episode_steps": 20},
    "parts": {"id": "toy/Dial-v0", "constraints": [{**LIMIT, "signal": "observation/angle"}], "max_episode_steps": 20},
}


@pytest.mark.parametrize(
    ("method", "kind"), [(method, kind) for method in METHODS for kind in OTHERS if method not in BOX_ALONE or kind == "box"]
)
def test_discrete_actions_and_observations_in_parts_train_evaluate_and_resume(tmp_path, monkeypatch, method, kind):
    changes = {"env": {"num_envs": 3, **OTHERS[kind]}, "total_timesteps": 288}
    whole = train(config(method, **changes), tmp_path / "whole")
    with monkeypatch.context() as patch:
        killed_after(patch, 3)
        with pytest.raises(Killed):
            train(config(method, **changes), tmp_path / "killed")
    assert_equal(weights(whole), weights(resume(tmp_path / "killed")))
    report = evaluate(whole.path, episodes=3)
    assert report["stochastic"]["length_mean"] > 0
    assert render_rollout(whole.config(), whole.last, VideoConfig(seconds=0.2, width=160, height=120), 0).frames


@pytest.mark.parametrize("kind", ["discrete", "parts"])
@pytest.mark.parametrize("method", OFF_POLICY)
def test_off_policy_methods_say_what_spaces_they_need(method, kind):
    asked = config(method, env={"num_envs": 2, **OTHERS[kind]})
    with pytest.raises(ConfigError, match=r"Box as (observation|action) space, got D"):
        make_model(asked, make_vec_env(asked))


@pytest.mark.parametrize("method", ON_POLICY)
def test_recurrent_and_unknown_policies_are_refused_in_one_line(method):
    for policy, words in (("MlpLstmPolicy", "recurrent"), ("MlpPolcy", "did you mean 'MlpPolicy'")):
        asked = build_config({**TINY, "method": {**TINY["method"], "name": method, "policy": policy}}, "test")
        with pytest.raises(ConfigError, match=words) as found:
            make_model(asked, make_vec_env(asked))
        assert "\n" not in str(found.value)


def test_a_recurrent_policy_class_is_refused_too():
    from saferl.algorithms import CaT

    class RecurrentActorCriticPolicy:
        pass

    env = make_vec_env(config("cat"))
    with pytest.raises(ConfigError, match="recurrent"):
        CaT(RecurrentActorCriticPolicy, env)


@pytest.mark.parametrize("method", METHODS)
def test_stable_baselines3s_own_save_and_load(tmp_path, method):
    asked = config(method)
    env = make_vec_env(asked)
    model = make_model(asked, env)
    model.learn(128)
    model.save(tmp_path / "model.zip")
    loaded = type(model).load(tmp_path / "model.zip", env=env)
    alone = type(model).load(tmp_path / "model.zip")
    observations = np.random.default_rng(0).normal(size=(6, 11)).astype(np.float32)
    for found in (loaded, alone):
        np.testing.assert_array_equal(
            model.predict(observations, deterministic=True)[0], found.predict(observations, deterministic=True)[0]
        )
        for name in OWN_STATE:
            if hasattr(model, name):
                assert_equal(dict(getattr(model, name).state_dict()), dict(getattr(found, name).state_dict()))
    loaded.learn(64)
    alone.set_env(env)
    alone.learn(64)


@pytest.mark.parametrize("method", ["cat", "ppo_lag"])
def test_updates_shared_among_threads_are_reproduced_and_resumed_bit_for_bit(tmp_path, monkeypatch, method):
    shared = {
        "env": {**TINY["env"], "num_envs": 16},
        "method": {**TINY["method"], "name": method, "n_steps": 64, "batch_size": 512},
        "total_timesteps": 4096,
        "torch_threads": 2,
    }

    def of(**changes):
        return build_config({**TINY, **shared, **changes}, "test")

    whole = train(of(), tmp_path / "whole")
    assert whole.config().torch_threads == 2
    alone = train(of(torch_threads=1), tmp_path / "alone")
    weight = "action_net.weight"
    one, two = (weights(run)["states"]["policy"][weight] for run in (alone, whole))
    assert not torch.equal(one, two)  # the sum over samples is taken in another order
    torch.testing.assert_close(one, two, rtol=0.05, atol=1e-3)
    with monkeypatch.context() as patch:
        killed_after(patch, 2)
        with pytest.raises(Killed):
            train(of(), tmp_path / "killed")
    assert_equal(weights(whole), weights(resume(tmp_path / "killed")))

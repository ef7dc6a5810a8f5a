"""Policies of plain Stable-Baselines3 become run folders, and nothing of their pickles is executed unasked."""

import gymnasium
import numpy as np
import pytest
import yaml
from saferl.cli import main
from saferl.experiment.build import load_model, predictor
from saferl.experiment.run_folder import RunFolder
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

CONFIG = {
    "env": {"id": "saferl/HopperVelocity-v0", "num_envs": 2, "max_episode_steps": 20, "normalize_observation": False},
    "method": {"name": "ppo", "net_arch": [8], "n_steps": 8, "batch_size": 8},
    "evaluation": {"episodes": 1},
}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return str(path)


def trained(tmp_path, normalize=False):
    """Train with plain SB3 and save as its users do."""
    env = DummyVecEnv([lambda: gymnasium.make("saferl/HopperVelocity-v0")])
    env = VecNormalize(env) if normalize else env
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, policy_kwargs={"net_arch": [8]}, seed=3)
    model.learn(32)
    model.save(tmp_path / "theirs.zip")
    if normalize:
        env.save(str(tmp_path / "vecnormalize.pkl"))
    return model, env


def test_an_imported_policy_acts_as_it_did(tmp_path, config, capsys):
    model, _ = trained(tmp_path)
    assert main(["import", config, str(tmp_path / "theirs.zip"), "--run-dir", str(tmp_path / "run")]) == 0
    assert "warning" in capsys.readouterr().err
    folder = RunFolder.open(tmp_path / "run")
    ours = predictor(load_model(folder.config(), folder.checkpoint()), deterministic=True)
    observations = np.random.default_rng(0).normal(size=(5, 11))
    np.testing.assert_array_equal(ours(observations), model.predict(observations, deterministic=True)[0])
    assert main(["evaluate", str(folder.path), "--episodes", "2"]) == 0


def test_statistics_are_a_pickle_and_need_trust(tmp_path, config, capsys):
    model, env = trained(tmp_path, normalize=True)
    base = ["import", config, str(tmp_path / "theirs.zip"), "--vec-normalize", str(tmp_path / "vecnormalize.pkl")]
    normalised = ["--env.normalize-observation", "true"]
    assert main([*base, "--run-dir", str(tmp_path / "a"), *normalised]) == 2
    assert "--trust" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    assert main([*base, "--trust", "--run-dir", str(tmp_path / "b"), *normalised]) == 0
    assert "can execute anything" in capsys.readouterr().err
    folder = RunFolder.open(tmp_path / "b")
    ours = predictor(load_model(folder.config(), folder.checkpoint()), deterministic=True)
    observations = np.random.default_rng(0).normal(size=(5, 11))
    np.testing.assert_allclose(ours(observations), model.predict(env.normalize_obs(observations), deterministic=True)[0])


@pytest.mark.parametrize(
    ("options", "content", "words"),
    [
        ([], b"no zip", ["theirs.zip", "policy.pth"]),
        (["--method.net-arch", "[16]"], None, ["does not fit", "net_arch"]),
        (["--env.normalize-observation", "true"], None, ["--vec-normalize"]),
        (["--resume"], None, ["--resume"]),
    ],
)
def test_errors_are_one_line(tmp_path, config, capsys, options, content, words):
    trained(tmp_path)
    if content is not None:
        (tmp_path / "theirs.zip").write_bytes(content)
    capsys.readouterr()
    assert main(["import", config, str(tmp_path / "theirs.zip"), "--run-dir", str(tmp_path / "r"), *options]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    for word in words:
        assert word in err
    assert not (tmp_path / "r").exists()


def test_a_missing_zip(tmp_path, config, capsys):
    assert main(["import", config, str(tmp_path / "none.zip"), "--run-dir", str(tmp_path / "r")]) == 2
    assert "none.zip does not exist" in capsys.readouterr().err

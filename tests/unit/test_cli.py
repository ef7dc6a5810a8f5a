"""The command line: every error a user can cause is one line that names it, exit code 2, and nothing is written over."""

import json

import pytest
import torch
import yaml
from saferl.cli import main
from saferl.experiment.checkpoint import read_checkpoint
from saferl.experiment.run_folder import RunFolder

from saferl_envs.errors import CheckpointError

TINY = [
    "--total-timesteps", "256", "--env.num-envs", "4", "--method.n-steps", "32", "--method.batch-size", "64",
    "--method.net-arch", "[8]", "--evaluation.times", "1", "--evaluation.episodes", "2", "--env.max-episode-steps", "20",
    "--video.seconds", "0.2", "--video.width", "160", "--video.height", "120", "--threads", "1", "--quiet",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", "cat/halfcheetah_limits", "--run-dir", str(folder), *TINY]) == 0
    return folder


def fails(capsys, *arguments):
    """Run a command that must fail; return its one line."""
    code = main([str(a) for a in arguments])
    err = capsys.readouterr().err
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_a_run_folder_holds_everything(run):
    names = {p.name.split(".")[0] for p in run.iterdir()}
    assert {"config", "meta", "progress", "evaluations", "last", "best", "events"} <= names
    meta = json.loads((run / "meta.json").read_text())
    assert meta["versions"]["mujoco"]
    assert yaml.safe_load((run / "config.yaml").read_text())["method"]["p_max"] == 0.25


def test_evaluate_writes_the_report(run, capsys):
    assert main(["evaluate", str(run), "--episodes", "3"]) == 0
    report = json.loads((run / "report.json").read_text())
    assert report["episodes"] == 3
    assert {"return_mean", "return_interval", "seed", "versions", "commit"} <= set(report)
    for policy in ("deterministic", "stochastic"):
        for name in ("joint_speed", "action_rate"):
            found = report[policy]["constraints"][name]
            assert set(found) == {"violation_rate", "cost_mean", "cost_interval", "worst_margin", "over_limit_rate", "excess"}
            assert 0 <= found["violation_rate"] <= 1
            assert found["cost_interval"][0] <= found["cost_mean"] <= found["cost_interval"][1]
    text = (run / "report.md").read_text()
    assert "joint_speed" in text
    assert "joint_speed" in capsys.readouterr().out


def test_visualize_writes_a_video_and_a_clip(run, capsys):
    assert main(["visualize", str(run), "--seconds", "0.5", "--width", "160", "--height", "120"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "rollout.mp4" in out
    assert "10 frames under 'rollout/video'" in out
    assert (run / "rollout.mp4").stat().st_size > 1000


def test_list_json_is_one_object(capsys):
    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    ids = {env["id"] for env in found["environments"]}
    assert {"saferl/HalfCheetahLimits-v0", "saferl/AntVelocityHard-v0", "saferl/CartPoleBalance-v0"} <= ids
    speed = next(e for e in found["environments"] if e["id"] == "saferl/HalfCheetahVelocity-v0")["constraints"][0]
    assert speed == {
        "name": "speed", "unit": "m/s", "limit": 3.2096, "kind": "soft", "sense": "<=", "cost_limit": 25.0,
        "components": ["speed"],
    }  # fmt: skip
    assert {m["name"] for m in found["methods"]} >= {"ppo", "cat"}
    assert "cat/halfcheetah_limits" in found["configs"]


def test_a_used_run_folder_is_refused_and_untouched(run, capsys):
    before = {p.name: p.stat().st_mtime_ns for p in run.iterdir()}
    line = fails(capsys, "train", "cat/halfcheetah_limits", "--run-dir", run, *TINY)
    assert str(run) in line
    assert {p.name: p.stat().st_mtime_ns for p in run.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method.p-mx", "0.3"], ["method.p_mx", "did you mean 'method.p_max'"]),
        (["--sed", "3"], ["'sed'", "valid:", "seed"]),
        (["--method.p-max", ".nan"], ["method.p_max", "finite"]),
        (["--method.p-max", "many"], ["method.p_max", "many"]),
        (["--method.name", "catt"], ["catt", "valid: acs"]),
        (["--env.id", "saferl/Nothing-v0"], ["saferl/Nothing-v0", "valid:"]),
        (["--env.limits.speeed", "1"], ["speeed", "valid: action_rate, joint_speed"]),
        (["--env.limits.joint-speed", ".nan"], ["joint_speed", "finite"]),
        (["--env.kwargs.colour", "1"], ["colour"]),
        (["--seed"], ["--seed", "value"]),
        (["--env.constraints", "[{family: joint_velocity, name: v, limit: 1, components: [knee]}]"], ["knee", "bthigh"]),
        (["--env.constraints", "[{family: joint_velocity, name: v, limit: .nan}]"], ["'v'", "limit", "finite"]),
        (["--env.constraints", "[{family: joint_velocty, name: v, limit: 1}]"], ["joint_velocty", "joint_velocity"]),
        (["--env.constraints", "[{family: contact_force, name: f, limit: 1, group: hands}]"], ["hands", "feet"]),
        (["--env.constraints", "[]"], ["constraint"]),
        (["--device", "cuda:77"], ["cuda"]),
        (["--env", "3"], ["env"]),
        (["--method.net-arch", "wide"], ["method.net_arch", "wide"]),
        (["--method.batch-size", "0"], ["method.batch_size"]),
        (["--method", "cat", "--method.p-max", "0.3"], ["--method", "name"]),
        (["--method.name", "[a]"], ["method", "valid: acs"]),
        (["--method.min-p", "0.9"], ["min_p", "0.9"]),
        (["--method.n-steps", "100000000000"], ["cat"]),
        (["--env.kwargs", "{num_envs: 3}"], ["num_envs"]),
        (["--env.kwargs", "{limits: 3}"], ["limits"]),
        (["--env.constraints", "[{family: signal_limit, name: v, limit: 1, signal: [x]}]"], ["'v'", "signal"]),
        (["--env.constraints", "[{family: axis_speed, name: v, limit: 1, signal: joint_position}]"], ["'v'", "velocity"]),
        (["--env.constraints", "[{family: joint_velocity, name: v, limit: 1, unit: 3}]"], ["'v'", "unit"]),
        (["--device", "meta"], ["meta", "valid: auto"]),
        (["--device", "cpuu"], ["cpuu"]),
        (["--torch-threads", "999999999999"], ["torch_threads"]),
        (["--video.width", "50"], ["video.width"]),
        (["--seed", "-1"], ["seed"]),
        (["--env.num-envs", "1.5"], ["env.num_envs"]),
    ],
)
def test_a_wrong_setting_is_one_line_and_makes_no_folder(tmp_path, capsys, options, words):
    line = fails(capsys, "train", "cat/halfcheetah_limits", "--run-dir", tmp_path / "run", *options, "--quiet")
    for word in words:
        assert word in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("env: {id: saferl/HalfCheetahLimits-v0}", ["method", "missing"]),
        ("method: {name: cat}", ["env", "missing"]),
        ("- a\n- b", ["mapping"]),
        ("a: [", ["YAML"]),
        ("env: {id: saferl/HalfCheetahLimits-v0}\nmethod: {name: cat, p_max: 2}", ["p_max", "less than or equal to 1"]),
        ("\x00\x01", ["YAML"]),
    ],
)
def test_a_broken_configuration_file_is_named(tmp_path, capsys, text, words):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    line = fails(capsys, "train", path, "--run-dir", tmp_path / "run")
    for word in ("mine.yaml", *words):
        assert word in line


def test_unknown_configuration_folder_and_command(tmp_path, capsys):
    assert "cat/halfcheetah_limits" in fails(capsys, "train", "cat/halfcheeta_limits")
    assert "does not exist" in fails(capsys, "evaluate", tmp_path / "none")
    assert "not a run folder" in fails(capsys, "evaluate", tmp_path)
    assert "trian" in fails(capsys, "trian")
    assert "--wide" in fails(capsys, "evaluate", tmp_path, "--wide")
    assert "at least 1" in fails(capsys, "evaluate", tmp_path, "--episodes", "0")
    for seconds in ("-1", "nan", "inf", "x"):
        assert "--seconds" in fails(capsys, "visualize", tmp_path, "--seconds", seconds)
    for seed in ("-1", str(2**64), "x"):
        assert "--seed" in fails(capsys, "evaluate", tmp_path, "--seed", seed)
    fails(capsys, "train", "cat/halfcheetah_limits", "--run-dir", "x" * 300, *TINY)


def test_options_may_stand_before_the_configuration(tmp_path, capsys):
    line = fails(
        capsys, "train", "--seed", "3", "--quiet", "--method.p-mx=1", "cat/halfcheetah_limits", "--run-dir", tmp_path / "r"
    )
    assert "p_mx" in line


def test_numbers_with_an_exponent_are_numbers_in_files_too(tmp_path):
    from saferl.experiment.config import load_config

    path = tmp_path / "mine.yaml"
    path.write_text("total_timesteps: 1e5\nenv: {id: saferl/HalfCheetahLimits-v0}\nmethod: {name: cat, learning_rate: 1e-3}\n")
    config = load_config(str(path), ["--total-timesteps", "2e5"])
    assert config.total_timesteps == 200_000
    assert config.method.learning_rate == 0.001


@pytest.mark.parametrize("observation", ["true", "false"])
@pytest.mark.parametrize("reward", ["true", "false"])
def test_every_choice_of_normalisation_trains_and_evaluates(tmp_path, observation, reward):
    options = ["--env.normalize-observation", observation, "--env.normalize-reward", reward]
    assert main(["train", "cat/halfcheetah_limits", "--run-dir", str(tmp_path / "r"), *TINY, *options]) == 0
    assert main(["evaluate", str(tmp_path / "r"), "--episodes", "1"]) == 0


def test_an_interrupted_training_says_how_to_go_on_and_does(tmp_path, capsys, monkeypatch):
    from saferl.experiment import callbacks

    def interrupt(self):
        raise KeyboardInterrupt

    folder = tmp_path / "r"
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.ConstrainedEvaluation, "evaluate", interrupt)
        assert main(["train", "cat/halfcheetah_limits", "--run-dir", str(folder), *TINY]) == 130
    err = capsys.readouterr().err
    assert "interrupted after 256 steps" in err
    assert f"saferl resume {folder}" in err
    assert main(["resume", str(folder), "--quiet"]) == 0
    assert RunFolder.open(folder).finished
    assert read_checkpoint(folder / "last.pt")["plain"]["num_timesteps"] == 256


def test_a_network_that_broke_down_is_said_so(tmp_path, capsys):
    line = fails(
        capsys, "train", "ppo/halfcheetah_limits", "--run-dir", tmp_path / "r", *TINY, "--method.learning-rate", "1e30"
    )
    assert "not finite" in line


@pytest.fixture
def copy_of_run(run, tmp_path):
    for name in ("config.yaml", "last.pt"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    return RunFolder(tmp_path)


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_checkpoint_is_named(copy_of_run, capsys, kept):
    whole = copy_of_run.last.read_bytes()
    copy_of_run.last.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    line = fails(capsys, "evaluate", copy_of_run.path, "--episodes", "1")
    assert str(copy_of_run.last) in line
    assert "truncated" in line


def test_a_checkpoint_of_another_shape_is_named(copy_of_run, capsys):
    config = yaml.safe_load(copy_of_run.config_file.read_text())
    config["method"]["net_arch"] = [9]
    copy_of_run.config_file.write_text(yaml.safe_dump(config))
    line = fails(capsys, "evaluate", copy_of_run.path, "--episodes", "1")
    assert "does not fit" in line
    config["env"]["id"] = "saferl/AntVelocity-v0"
    config["method"]["net_arch"] = [8]
    copy_of_run.config_file.write_text(yaml.safe_dump(config))
    assert "does not fit" in fails(capsys, "evaluate", copy_of_run.path, "--episodes", "1")


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: s.update(states={}),
        lambda s: s["plain"].update(policy=3),
        lambda s: s["plain"].clear(),
        lambda s: s["plain"].update(num_timesteps="many"),
        lambda s: s.update(constraints=[]),
        lambda s: s.update(normalization=None),
        lambda s: s.update(algorithm="PPO"),
        lambda s: s.pop("states"),
    ],
)
def test_a_checkpoint_with_other_content_is_refused(copy_of_run, capsys, damage):
    state = read_checkpoint(copy_of_run.last)
    damage(state)
    torch.save(state, copy_of_run.last)
    assert str(copy_of_run.last) in fails(capsys, "evaluate", copy_of_run.path, "--episodes", "1")


def test_a_policy_of_nan_is_refused(copy_of_run, capsys):
    state = read_checkpoint(copy_of_run.last)
    for tensor in state["states"]["policy"].values():
        tensor.fill_(float("nan"))
    torch.save(state, copy_of_run.last)
    assert "not finite" in fails(capsys, "evaluate", copy_of_run.path, "--episodes", "1")


class Trap:
    """Pickles to a call that would leave a mark."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_planted_pickle_in_a_checkpoint_is_not_executed(copy_of_run, capsys, tmp_path):
    mark = tmp_path / "mark"
    torch.save({"format": 1, "trap": Trap(mark)}, copy_of_run.last)
    assert "not a checkpoint" in fails(capsys, "evaluate", copy_of_run.path, "--episodes", "1")
    assert not mark.exists()


def test_a_checkpoint_keeps_every_bit(run):
    from saferl.experiment.build import load_model

    config = RunFolder.open(run).config()
    state = read_checkpoint(run / "last.pt")
    model = load_model(config, run / "last.pt")
    for name, tensor in state["states"]["policy"].items():
        assert torch.equal(tensor, model.policy.state_dict()[name])
    assert torch.equal(state["states"]["termination"]["normaliser"], model.termination.state_dict()["normaliser"])
    normalizer = model.get_vec_normalize_env()
    assert (normalizer.obs_rms.mean == state["normalization"]["observation"][""]["mean"].numpy()).all()
    with pytest.raises(CheckpointError, match=r"nothing\.pt does not exist"):
        read_checkpoint(run / "nothing.pt")

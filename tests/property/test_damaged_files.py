"""Files from strangers: whatever is in them, nothing is executed, and a user sees one line, never a traceback or a hang."""

import copy
import io
import json
import math
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saferl.cli import main
from saferl.experiment.build import load_model, make_copies, make_model, make_vec_env
from saferl.experiment.checkpoint import read_checkpoint, restore
from saferl.experiment.config import TrainConfig, build_config
from saferl.experiment.run_folder import RunFolder
from saferl.experiment.training_state import restore_training

from saferl_envs.constraints import families, from_spec
from saferl_envs.errors import SaferlError
from saferl_envs.make import make_engine

CONFIG = {
    "env": {"id": "saferl/HopperVelocity-v0", "num_envs": 2, "max_episode_steps": 10, "limits": {"speed": 0.5}},
    "method": {"name": "pid_lag", "n_steps": 8, "batch_size": 8, "net_arch": [4]},
    "total_timesteps": 32,
    "evaluation": {"times": 1, "episodes": 1},
    "video": {"seconds": 0},
    "threads": 1,
}
SPECS = [
    {"family": "joint_velocity", "name": "v", "limit": 2.0, "cost_limit": 25, "components": ["leg_joint"], "kind": "hard"},
    {"family": "signal_limit", "name": "s", "limit": 1.0, "signal": "action", "bound": "absolute", "aggregate": "mean"},
    {"family": "axis_speed", "name": "speed", "limit": 0.7, "axis": "x", "sense": "==", "cost": "excess"},
    {"family": "keep_out", "name": "wall", "limit": 0.0, "signal": "base_position",
     "shape": {"shape": "ball", "center": [0, 0, 0], "radius": 1.0}},
]  # fmt: skip
FEW = settings(deadline=20_000, suppress_health_check=list(HealthCheck))
"""A hang fails; the number of examples is the profile's (`--hypothesis-profile thorough` in the evidence)."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files") / "run"
    path = folder.parent / "config.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    assert main(["train", str(path), "--run-dir", str(folder), "--quiet"]) == 0
    assert main(["evaluate", str(folder), "--episodes", "1"]) == 0
    return folder


class Bomb:
    """A pickle that leaves a mark when it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def planted(kind, mark):
    """Return the bytes of a file that executes code in whoever unpickles it or loads its YAML carelessly."""
    file = io.BytesIO()
    if kind == "pickle":
        return pickle.dumps(Bomb(mark))
    if kind == "torch":
        torch.save({"format": 1, "states": Bomb(mark)}, file)
    elif kind == "npz":
        np.savez(file, state=np.array([Bomb(mark)], dtype=object))
    elif kind == "yaml":
        return f"env: !!python/object/apply:os.mkdir ['{mark}']\n".encode()
    elif kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("data.pkl", pickle.dumps(Bomb(mark)))
            archive.writestr("archive/data.pkl", pickle.dumps(Bomb(mark)))
    return file.getvalue()


QUICK = [("torch", False)]
SLOW = [(kind, sealed) for kind in ("pickle", "torch", "npz", "yaml", "zip") for sealed in (True, False)]


@pytest.mark.parametrize(
    ("kind", "sealed"), [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW if case not in QUICK)]
)
def test_planted_code_in_any_file_of_a_run_folder_does_not_run(run, tmp_path, capsys, kind, sealed):
    mark = tmp_path / "mark"
    proof = pickle.dumps(Bomb(tmp_path / "proof"))
    pickle.loads(proof)
    assert (tmp_path / "proof").exists()  # the bomb works
    names = [p.name for p in run.iterdir() if p.is_file()]
    assert {"config.yaml", "last.pt", "best.pt", "meta.json", "report.json", "SHA256SUMS", "progress.csv"} <= set(names)
    for name in names:
        folder = tmp_path / f"{kind}-{name}"
        shutil.copytree(run, folder)
        if not sealed and (folder / "SHA256SUMS").exists():
            (folder / "SHA256SUMS").unlink()
        (folder / name).write_bytes(planted(kind, mark))
        for command in (
            ["evaluate", "--episodes", "1"],
            ["evaluate", "--checkpoint", "last", "--episodes", "1"],
            ["resume", "--quiet"],
        ):
            code = main([command[0], str(folder), *command[1:]])
            err = capsys.readouterr().err
            assert code in (0, 2)
            assert err.count("\n") == (0 if code == 0 else 1), err
            assert "Traceback" not in err
            assert not mark.exists()
    if kind == "torch":
        assert main(["visualize", str(tmp_path / "torch-best.pt"), "--seconds", "0.1"]) in (0, 2)
        assert not mark.exists()


def test_a_file_changed_after_training_is_refused_until_the_seal_is_removed(run, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("total_timesteps: 32", "total_timesteps: 33"))
    assert main(["evaluate", str(folder), "--episodes", "1"]) == 2
    assert "SHA256SUMS" in capsys.readouterr().err
    (folder / "SHA256SUMS").unlink()
    assert main(["evaluate", str(folder), "--episodes", "1"]) == 0


def test_the_seal_is_what_sha256sum_reads_and_evaluating_renews_it(run):
    import hashlib

    sealed = dict(reversed(line.split("  ")) for line in (run / "SHA256SUMS").read_text().splitlines())
    assert {"config.yaml", "last.pt", "best.pt", "report.json", "report.md"} <= set(sealed)
    for name, digest in sealed.items():
        assert hashlib.sha256((run / name).read_bytes()).hexdigest() == digest


odd = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8), st.just([]), st.just({}),
    st.lists(st.one_of(st.integers(-3, 3), st.text(max_size=3), st.none()), max_size=3),
    st.dictionaries(st.text(max_size=4), st.one_of(st.integers(-3, 3), st.text(max_size=3)), max_size=2),
    st.sampled_from(["nan", "inf", "../../x", "\x00", "é" * 5, "saferl/Nothing-v0", "cat", "cuda:9", "<=", "__class__"]),
)  # fmt: skip


def places(tree, path=()):
    """Return the path of every node below the root."""
    found = []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, (list, tuple)) else ()
    for key, value in items:
        found += [(*path, key), *places(value, (*path, key))]
    return found


def mutated(tree, choice, value, how):
    """Return a copy with one node replaced, removed, renamed, or given a stranger beside it."""
    tree = copy.deepcopy(tree)
    options = places(tree)
    path = options[choice % len(options)]
    parent = tree
    for key in path[:-1]:
        parent = parent[key]
    if isinstance(parent, tuple):
        return value
    if how == "replace":
        parent[path[-1]] = value
    elif how == "remove":
        del parent[path[-1]]
    elif isinstance(parent, dict):
        parent[str(value)] = parent.pop(path[-1]) if how == "rename" else value
    else:
        parent.append(value)
    return tree


mutation = st.tuples(st.integers(0, 10**6), odd, st.sampled_from(["replace", "replace", "remove", "rename", "add"]))
many = st.lists(mutation, min_size=1, max_size=3)


def one_line(error):
    text = str(error)
    assert text
    assert "\n" not in text
    assert len(text) < 3000


def affordable(config: TrainConfig):
    """A valid configuration may ask for more than a test should spend; building is tried where it does not."""
    m = config.method
    small = (
        config.env.num_envs <= 8 and m.n_steps <= 64 and max((*m.net_arch, *getattr(m, "cost_net_arch", ())), default=0) <= 64
    )
    return small and len(m.net_arch) < 5 and config.evaluation.episodes <= 8


def full_config():
    return build_config(CONFIG, "test").model_dump(mode="json")


@FEW
@given(mutations=many)
def test_mutated_configurations_are_valid_or_refused_in_one_line(record_property, mutations):
    record_property("measured", settings.default.max_examples)
    data = full_config()
    for choice, value, how in mutations:
        if isinstance(data, dict) and data:
            data = mutated(data, choice, value, how)
    try:
        text = yaml.safe_dump(data)
    except yaml.YAMLError:
        text = "\x00"
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError:
        return
    try:
        config = build_config(loaded, "mutated") if isinstance(loaded, dict) else None
        if config is not None and affordable(config):
            make_model(config, make_vec_env(config))
    except SaferlError as error:
        one_line(error)


@FEW
@given(spec=st.sampled_from(SPECS), mutations=many)
def test_mutated_constraints_are_valid_or_refused_in_one_line(record_property, spec, mutations):
    record_property("measured", settings.default.max_examples)
    for choice, value, how in mutations:
        if isinstance(spec, dict) and spec:
            spec = mutated(spec, choice, value, how)
    try:
        constraint = from_spec(spec)
        assert from_spec(json.loads(json.dumps(constraint.to_spec()))) == constraint or math.isnan(constraint.limit)
        make_engine("saferl/HopperVelocity-v0", constraints=[spec], threads=1)
    except SaferlError as error:
        one_line(error)


def test_the_specifications_cover_every_kind_of_field():
    assert len({spec["family"] for spec in SPECS}) == len(SPECS)
    assert all(spec["family"] in families() for spec in SPECS)
    for spec in SPECS:
        make_engine("saferl/HopperVelocity-v0", constraints=[spec], threads=1)


NANS = torch.full((2, 2), math.nan)
damage = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 10**6), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.integers(0, 10**6), st.just(0)),
    st.tuples(st.just("tree"), st.integers(0, 10**6), st.one_of(odd, st.just(torch.zeros(3)), st.just(NANS))),
)  # fmt: skip


@FEW
@given(damaged=damage, how=st.sampled_from(["replace", "remove", "rename", "add"]))
def test_damaged_checkpoints_load_or_are_refused_in_one_line(run, tmp_path_factory, record_property, damaged, how):
    record_property("measured", settings.default.max_examples)
    folder = RunFolder.open(run)
    kind, where, what = damaged
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    whole = (run / "last.pt").read_bytes()
    if kind == "flip":
        broken = bytearray(whole)
        broken[where % len(whole)] ^= what
        path.write_bytes(bytes(broken))
    elif kind == "cut":
        path.write_bytes(whole[: where % len(whole)])
    else:
        torch.save(mutated(read_checkpoint(run / "last.pt"), where, what, how), path)
    config = folder.config()
    try:
        load_model(config, path)
        model = make_model(config, make_vec_env(config))
        state = read_checkpoint(path)
        restore(model, state, path)
        if isinstance(state.get("training"), dict):
            restore_training(model, state["training"])
    except SaferlError as error:
        one_line(error)


def test_an_evaluation_environment_can_be_made(run):
    assert make_copies(RunFolder.open(run).config(), 2).num_envs == 2


def test_a_checkpoint_cannot_reach_into_the_simulators_model(run, tmp_path, capsys):
    """Index fields of the model, written by a stranger, would make MuJoCo read and write outside of its memory."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "SHA256SUMS").unlink()
    state = read_checkpoint(folder / "last.pt")
    joints = make_engine("saferl/HopperVelocity-v0", threads=1).simulation.model.njnt
    state["training"]["environment"]["simulation/model/jnt_qposadr"] = torch.full((2, joints), 2**30, dtype=torch.int32)
    torch.save(state, folder / "last.pt")
    assert main(["resume", str(folder), "--quiet"]) == 2
    assert "jnt_qposadr" in capsys.readouterr().err


def test_links_in_a_run_folder_are_refused_and_nothing_is_written_through_them(run, tmp_path, capsys):
    folder, victim = tmp_path / "run", tmp_path / "victim"
    shutil.copytree(run, folder)
    victim.write_text("precious")
    (folder / "report.json").unlink()
    (folder / "report.json").symlink_to(victim)
    assert main(["evaluate", str(folder), "--episodes", "1"]) == 2
    assert "report.json is a link" in capsys.readouterr().err
    assert victim.read_text() == "precious"

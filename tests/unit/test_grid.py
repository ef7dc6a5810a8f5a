"""The benchmark command: a grid is checked before it runs, goes on where it stopped, and reports from its CSV files alone."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from saferl.cli import main
from saferl.evaluation.curves import common_grid
from saferl.experiment import grid_run
from saferl.experiment.config import builtin_configs
from saferl.experiment.grid import builtin_grids, check_cells, load_grid
from saferl.experiment.grid_folder import BenchmarkFolder
from saferl.experiment.grid_rows import thin, training_seconds
from saferl.tracking.rows import append_row

TINY = {
    "total_timesteps": 256,
    "env": {"num_envs": 4, "max_episode_steps": 20},
    "method": {"n_steps": 32, "batch_size": 64, "net_arch": [8]},
    "evaluation": {"times": 1, "episodes": 2},
}
GRID = {"methods": ["ppo", "cat"], "tasks": ["halfcheetah_velocity"], "seeds": [0, 1], "episodes": 3, "overrides": TINY}

FAKE = '''
"""Stands in for saferl: a run takes no time, and how it ends is told by its name."""
import json, pathlib, sys, time
command, words = sys.argv[1], sys.argv[2:]
run = pathlib.Path(words[words.index("--run-dir") + 1] if command == "train" else words[0])
with (run.parent / "calls.txt").open("a") as calls:
    calls.write(f"{command} {run.name}\\n")
method, task, seed = run.name.split("-")
if command == "train":
    run.mkdir()
    (run / "config.yaml").write_text("")
    if (run.parent / "slow").exists():
        time.sleep(60)
    if run.name == (run.parent / "broken").read_text():
        print("something long\\nerror: it broke")
        sys.exit(2)
if command in ("train", "resume"):
    (run / "progress.csv").write_text(
        "time/total_timesteps,time/time_elapsed,time/fps,rollout/ep_rew_mean,constraint/speed/cost\\n"
        + "".join(f"{100 * i},{30 * i},3,{i},{2 * i}\\n" for i in range(1, 11))
    )
    (run / "SHA256SUMS").write_text("")
else:
    cost = 900.0 if method == "ppo" else 10.0 + int(seed[1:])
    found = {"return_mean": 3000.0 if method == "ppo" else 2000.0 + int(seed[1:]), "any_violation_rate": cost / 1000}
    found |= {"feasible": cost <= 25, "constraints": {"speed": {"cost_mean": cost, "violation_rate": cost / 1000}}}
    report = {"timesteps": 1000, "episodes": 3, "deterministic": found, "stochastic": found}
    report |= {"checkpoint": "last.pt", "commit": "c"}
    (run / "report.json").write_text(json.dumps(report))
'''


def write_grid(folder, **changes):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**GRID, **changes}))
    return path


def fails(capsys, *arguments):
    """Run the command, which must fail; return its one line."""
    code = main(["benchmark", *map(str, arguments)])
    err = capsys.readouterr().err
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A grid whose runs are played by a program that takes no time; the folder of its runs."""
    program = tmp_path / "fake.py"
    program.write_text(FAKE)
    monkeypatch.setattr(grid_run, "PROGRAM", (sys.executable, str(program)))
    monkeypatch.setattr(grid_run, "POLL_SECONDS", 0.01)
    runs = tmp_path / "out" / "runs"
    write_grid(tmp_path)
    BenchmarkFolder(tmp_path / "out").prepare(
        load_grid(str(tmp_path / "mine.yaml")).grid, check_cells(load_grid(str(tmp_path / "mine.yaml")))
    )
    (runs / "broken").write_text("")
    return runs


def bench(fake, *options):
    return main(["benchmark", str(fake.parents[1] / "mine.yaml"), "--out", str(fake.parent), *options])


def calls(fake):
    return sorted((fake / "calls.txt").read_text().split("\n")[:-1]) if (fake / "calls.txt").exists() else []


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_real_grid_trains_evaluates_and_reports(tmp_path, capsys):
    grid = write_grid(tmp_path, seeds=[0])
    assert main(["benchmark", str(grid), "--out", str(tmp_path / "out"), "--jobs", "2"]) == 0
    out = capsys.readouterr().out
    found = rows(tmp_path / "out" / "results.csv")
    assert {(r["method"], r["task"], r["seed"]) for r in found} == {(m, "halfcheetah_velocity", "0") for m in ("ppo", "cat")}
    for row in found:
        report = json.loads((tmp_path / "out/runs" / f"{row['method']}-halfcheetah_velocity-s0/report.json").read_text())
        for policy in ("deterministic", "stochastic"):
            assert float(row[f"return_{policy}"]) == report[policy]["return_mean"]
            assert float(row[f"cost_speed_{policy}"]) == report[policy]["constraints"]["speed"]["cost_mean"]
        assert (row["episodes"], row["timesteps"]) == ("3", "256")
    assert {r["method"] for r in rows(tmp_path / "out" / "curves.csv")} == {"ppo", "cat"}
    for name in ("report.md", "ranking.json", "curves.png", "improvement.png", "grid.yaml"):
        assert (tmp_path / "out" / name).stat().st_size > 50
    assert "rank" in out


def test_finished_runs_are_not_run_again(fake, capsys):
    assert bench(fake, "--seeds", "1", "--methods", "cat") == 0
    assert calls(fake) == ["evaluate cat-halfcheetah_velocity-s1", "train cat-halfcheetah_velocity-s1"]
    first = rows(fake.parent / "results.csv")
    assert bench(fake, "--jobs", "3") == 0
    assert len(calls(fake)) == 8
    assert rows(fake.parent / "results.csv")[:1] == first
    assert bench(fake) == 0
    assert len(calls(fake)) == 8
    assert len(rows(fake.parent / "results.csv")) == 4


def test_a_killed_benchmark_goes_on(fake):
    """A run with a checkpoint is resumed, a finished one evaluated; only what is missing is trained."""
    for name, files in (
        ("cat-halfcheetah_velocity-s0", ["config.yaml"]),
        ("ppo-halfcheetah_velocity-s0", ["config.yaml", "SHA256SUMS"]),
    ):
        (fake / name).mkdir()
        for file in files:
            (fake / name / file).write_text("")
    assert bench(fake, "--seeds", "0") == 0
    assert calls(fake) == [
        "evaluate cat-halfcheetah_velocity-s0", "evaluate ppo-halfcheetah_velocity-s0", "resume cat-halfcheetah_velocity-s0",
    ]  # fmt: skip


def test_a_failing_run_does_not_stop_the_others(fake, capsys):
    (fake / "broken").write_text("cat-halfcheetah_velocity-s0")
    assert bench(fake) == 2
    said = capsys.readouterr()
    assert "failed cat-halfcheetah_velocity-s0: error: it broke" in said.out
    assert said.err.startswith("error: 1 of 4 runs failed: cat-halfcheetah_velocity-s0;")
    assert said.err.count("\n") == 1
    assert len(rows(fake.parent / "results.csv")) == 3
    summary = json.loads((fake.parent / "ranking.json").read_text())
    assert summary["runs"] == {"expected": 4, "found": 3, "missing": ["cat-halfcheetah_velocity-s0"]}
    (fake / "broken").write_text("")
    assert bench(fake) == 0
    assert len(rows(fake.parent / "results.csv")) == 4


def test_the_report_follows_from_the_csv_files_alone(fake, capsys):
    assert bench(fake) == 0
    names = ("report.md", "ranking.json", "curves.png", "improvement.png")
    before = {name: (fake.parent / name).read_bytes() for name in names}
    for name in names:
        (fake.parent / name).unlink()
    done = calls(fake)
    for run in fake.glob("*-s?"):
        run.rename(fake / f"gone_{run.name}")
    assert bench(fake, "--only-report") == 0
    assert calls(fake) == done
    assert {name: (fake.parent / name).read_bytes() for name in names} == before


def test_the_ranking_puts_feasible_methods_first(fake):
    assert bench(fake) == 0
    for found in json.loads((fake.parent / "ranking.json").read_text())["policies"].values():
        cat, ppo = found["tasks"]["halfcheetah_velocity"]["methods"]
        assert (cat["method"], cat["feasible"], cat["return_iqm"], cat["feasible_share"]) == ("cat", True, 2000.5, 1)
        assert (ppo["method"], ppo["feasible"], ppo["return_iqm"], ppo["feasible_share"]) == ("ppo", False, 3000.0, 0)
        assert ppo["excess"] == (900 - 25) / 25
        assert cat["requirements"]["cost_speed"] == {"mean": 10.5, "interval": [10.0, 11.0]}
        assert cat["steps_per_second"] == pytest.approx(1000 / 300)
        better = found["overall"]["improvement"]
        assert (better["cat"]["ppo"]["probability"], better["ppo"]["cat"]["probability"]) == (1.0, 0.0)
    text = (fake.parent / "report.md").read_text()
    assert "| 1 | cat | yes |" in text
    assert "| 2 | ppo | no |" in text


def test_published_results_set_the_scale_and_are_never_ranked(fake):
    reference = {"halfcheetah_velocity": {"theirs": {"return": 1000, "cost": 25}, "unsafe": {"return": 4000, "cost": 26}}}
    write_grid(fake.parents[1], reference=reference)  # no run depends on it, so the folder may be used again
    assert bench(fake) == 0
    task = json.loads((fake.parent / "ranking.json").read_text())["policies"]["deterministic"]["tasks"]["halfcheetah_velocity"]
    assert task["normalised_to_1"] == {"return": 1000.0, "source": "published: theirs"}
    assert [m["method"] for m in task["methods"]] == ["cat", "ppo"]
    assert [p["within_limit"] for p in task["published"]] == [True, False]
    assert "| - | published: unsafe | no | 4000 |" in (fake.parent / "report.md").read_text()


def test_an_interrupted_benchmark_kills_its_runs_and_says_how_to_go_on(fake):
    (fake / "slow").write_text("")
    program = f"import sys; from saferl.experiment import grid_run; grid_run.PROGRAM = {grid_run.PROGRAM!r}\n"
    program += "from saferl.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["benchmark", str(fake.parents[1] / "mine.yaml"), "--out", str(fake.parent), "--jobs", "2"]
    process = subprocess.Popen([sys.executable, "-c", program, *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(list(fake.glob("*-s0/config.yaml"))) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    in_use = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert (in_use.returncode, in_use.stderr.count("\n")) == (2, 1)
    assert "in use" in in_use.stderr
    process.send_signal(signal.SIGTERM)
    err = process.communicate(timeout=30)[1].decode()
    assert process.returncode == 130
    assert "interrupted after 0 of 4 runs" in err
    assert f"saferl benchmark {fake.parents[1] / 'mine.yaml'} --out {fake.parent}" in err
    listed = (
        subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=False).stdout if os.name == "posix" else ""
    )
    assert str(fake.parents[1] / "fake.py") not in listed
    (fake / "slow").unlink()
    assert bench(fake) == 0
    assert calls(fake).count("resume cat-halfcheetah_velocity-s0") == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": ["ppo"]}, ["'method'", "did you mean 'methods'"]),
        ({"methods": []}, ["methods", "at least 1"]),
        ({"methods": "ppo"}, ["methods", "ppo"]),
        ({"methods": ["ppo", "ppo"]}, ["methods", "twice"]),
        ({"methods": ["../ppo"]}, ["methods", "../ppo", "letters, digits"]),
        ({"seeds": [-1]}, ["seeds.0", "-1"]),
        ({"seeds": ["x"]}, ["seeds.0", "x"]),
        ({"seeds": None}, ["seeds"]),
        ({"episodes": 0}, ["episodes", "0"]),
        ({"checkpoint": "newest"}, ["checkpoint", "newest", "last"]),
        ({"overrides": {"seed": 3}}, ["overrides", "seeds"]),
        ({"overrides": {"total_timestep": 3}}, ["total_timestep", "did you mean 'total_timesteps'"]),
        ({"overrides": {"total_timesteps": "many"}}, ["total_timesteps", "many"]),
        ({"reference": {"hopper": {"a": {"return": 1}}}}, ["reference", "hopper", "halfcheetah_velocity"]),
        ({"reference": {"halfcheetah_velocity": {"a": {"retrun": 1}}}}, ["halfcheetah_velocity.a", "return"]),
        ({"reference": {"halfcheetah_velocity": {"a": {"return": 1, "csot": 1}}}}, ["csot", "did you mean"]),
        ({"methods": ["pppo"]}, ["pppo/halfcheetah_velocity", "did you mean 'ppo/halfcheetah_velocity'", "valid:"]),
        ({"tasks": ["halfcheetah_velocity", "none"]}, ["ppo/none", "cat/cartpole_balance"]),
    ],
)
def test_a_wrong_grid_is_one_line_and_makes_no_folder(tmp_path, capsys, changes, words):
    line = fails(capsys, write_grid(tmp_path, **changes), "--out", tmp_path / "out")
    for word in words:
        assert word in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("text", "words"), [("a: [", ["YAML"]), ("- a", ["mapping"]), ("{}", ["methods", "missing"])])
def test_a_broken_grid_file_is_named(tmp_path, capsys, text, words):
    (tmp_path / "mine.yaml").write_text(text)
    line = fails(capsys, tmp_path / "mine.yaml")
    for word in ("mine.yaml", *words):
        assert word in line


def test_unknown_grids_subsets_and_empty_reports_are_one_line(fake, capsys):
    assert "did you mean 'velocity'" in fails(capsys, "velocty")
    grid, out = fake.parents[1] / "mine.yaml", fake.parent
    assert "valid: cat, ppo" in fails(capsys, grid, "--out", out, "--methods", "cta")
    assert "unknown seed 7; valid: 0, 1" in fails(capsys, grid, "--out", out, "--seeds", "7")
    assert "no run of this benchmark has finished" in fails(capsys, grid, "--out", out, "--only-report")
    assert "--jobs" in fails(capsys, grid, "--jobs", "0")


def test_a_folder_of_something_else_is_refused(fake, capsys):
    grid, out = fake.parents[1] / "mine.yaml", fake.parent
    for changes in ({"episodes": 4}, {"overrides": {**TINY, "total_timesteps": 512}}):
        write_grid(fake.parents[1], **changes)
        line = fails(capsys, grid, "--out", out)
        assert f"differs in {next(iter(changes))}" in line
        assert "--out" in line
    write_grid(fake.parents[1], seeds=[0])
    assert "has 1 in seeds" in fails(capsys, grid, "--out", out)
    write_grid(fake.parents[1], methods=["ppo"])
    assert "has 'cat' in methods" in fails(capsys, grid, "--out", out)
    assert "holds no benchmark" in fails(capsys, grid, "--out", fake)


def test_a_grid_may_grow_and_what_has_run_must_stay_as_it_was(fake, capsys):
    grid, out = fake.parents[1] / "mine.yaml", fake.parent
    assert bench(fake, "--methods", "ppo") == 0
    write_grid(fake.parents[1], seeds=[0, 1, 2], methods=["cat", "ppo", "ppo_lag"])
    assert bench(fake, "--seeds", "2") == 0
    assert [call for call in calls(fake) if call.startswith("train")] == [
        "train cat-halfcheetah_velocity-s2",
        "train ppo-halfcheetah_velocity-s0",
        "train ppo-halfcheetah_velocity-s1",
        "train ppo-halfcheetah_velocity-s2",
        "train ppo_lag-halfcheetah_velocity-s2",
    ]
    cells = yaml.safe_load((out / "cells.yaml").read_text())
    assert list(cells) == [f"{method}/halfcheetah_velocity" for method in ("cat", "ppo", "ppo_lag")]
    cells["ppo/halfcheetah_velocity"]["method"]["n_steps"] = 7
    (out / "cells.yaml").write_text(yaml.safe_dump(cells))
    assert "ppo/halfcheetah_velocity differs from the configuration" in fails(capsys, grid, "--out", out)
    (out / "results.csv").unlink()
    shutil.rmtree(fake)
    fake.mkdir()
    (fake / "broken").write_text("")
    assert bench(fake, "--seeds", "0", "--methods", "cat") == 0  # nothing has run any more: it may change
    text = (out / "constraints.csv").read_text()
    (out / "constraints.csv").write_text(text.replace("25.0", "26.0"))
    assert "constraints.csv differs" in fails(capsys, grid, "--out", out)
    (out / "constraints.csv").write_text(text.splitlines()[0] + "\n")
    assert "constraints.csv differs" in fails(capsys, grid, "--out", out)


def test_a_task_with_other_constraints_widens_the_files(fake, capsys):
    assert bench(fake) == 0
    path = fake.parent / "results.csv"
    before = rows(path)
    append_row(path, {**before[0], "method": "new", "cost_other_stochastic": 3.0})
    found = rows(path)
    assert [{k: v for k, v in row.items() if k != "cost_other_stochastic"} for row in found[:-1]] == before
    assert found[-1]["cost_other_stochastic"] == "3.0"
    assert {row["cost_other_stochastic"] for row in found[:-1]} == {""}
    append_row(path, before[1])
    assert rows(path)[-1] == {**before[1], "cost_other_stochastic": ""}


@pytest.mark.parametrize(("column", "text"), [("return_stochastic", "nan"), ("cost_speed_deterministic", ""), ("seed", "one")])
def test_a_damaged_row_is_named(fake, capsys, column, text):
    assert bench(fake) == 0
    found = rows(fake.parent / "results.csv")
    found[2][column] = text
    with (fake.parent / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    capsys.readouterr()
    line = fails(capsys, fake.parents[1] / "mine.yaml", "--out", fake.parent, "--only-report")
    assert "results.csv line 4" in line
    assert column in line


def test_a_cell_beside_the_grid_is_used_and_must_ask_for_the_same(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    cell = {"env": {"id": "saferl/HalfCheetahVelocity-v0"}, "method": {"name": "cat", "p_max": 0.5}}
    path = tmp_path / "mine" / "halfcheetah_velocity.yaml"
    path.write_text(yaml.safe_dump(cell))
    grid = write_grid(tmp_path, methods=["ppo", "mine"])
    assert [c.source for c in check_cells(load_grid(str(grid)))] == ["ppo/halfcheetah_velocity", str(path)]
    path.write_text(yaml.safe_dump({**cell, "env": {**cell["env"], "limits": {"speed": 1.0}}}))
    assert "ppo and mine differ in constraints" in fails(capsys, grid, "--out", tmp_path / "out")
    path.write_text(yaml.safe_dump({**cell, "env": {"id": "saferl/HopperVelocity-v0"}}))
    assert "differ in env.id" in fails(capsys, grid, "--out", tmp_path / "out")


@pytest.mark.parametrize("name", sorted(builtin_grids()))
def test_built_in_grids_are_complete(name):
    assert len(check_cells(load_grid(name))) >= 2
    assert f"grids/{name}" not in builtin_configs()


def test_grids_are_listed(capsys):
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["grids"] == sorted(builtin_grids())


def test_a_curve_is_thinned_to_means_and_repeated_steps_count_once():
    steps, value = "time/total_timesteps", "rollout/ep_rew_mean"
    progress = [{steps: 10.0 * i, value: float(i)} for i in range(1, 1001)]
    points = thin(progress, ["cost_speed"])
    assert len(points) == 100
    assert points[-1]["timesteps"] == 10_000
    assert points[0]["return"] == np.mean(np.arange(1, 10))
    assert points[0]["cost_speed"] == ""
    went_back = [*progress[:500], *({**row, value: -1.0} for row in progress[300:])]
    assert [p["return"] for p in thin(went_back, [])][40:] == [-1.0] * 60
    assert thin([], ["cost_speed"]) == thin([{steps: 5.0}], []) == []


def test_the_clock_of_a_resumed_run_is_added_up():
    def row(steps, seconds):
        return {"time/total_timesteps": steps, "time/time_elapsed": seconds, "time/fps": 100.0}

    assert training_seconds([row(1000.0, 30.0), row(2000.0, 60.0), row(3000.0, 20.0), row(4000.0, 50.0)]) == 110.0
    assert training_seconds([row(250.0, 2.0)]) == 2.5
    assert np.isnan(training_seconds([{"time/total_timesteps": 5.0}]))


def test_seeds_are_compared_where_all_of_them_have_been():
    steps, values = common_grid(
        [(np.array([0.0, 10.0]), np.array([0.0, 10.0])), (np.array([5.0, 20.0]), np.array([5.0, 20.0]))]
    )
    assert (steps[0], steps[-1]) == (5.0, 10.0)
    assert values == pytest.approx(np.stack([steps, steps]))
    assert common_grid([(np.array([1.0]), np.array([1.0])), (np.array([2.0]), np.array([1.0]))])[0].size == 0

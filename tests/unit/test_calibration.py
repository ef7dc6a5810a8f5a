"""Calibration: ranges, verdicts and suggestions on numbers made by hand, and the command on a tiny budget."""

import dataclasses
import json

import numpy as np
import pytest
import yaml
from gymnasium import spaces
from PIL import Image
from saferl.cli import main
from saferl.evaluation.calibration import (
    CAREFUL,
    FRACTIONS,
    FREE,
    Sample,
    distribution,
    drift_of,
    find_range,
    number,
    pattern_of,
    suggest,
)
from saferl.evaluation.calibration_plot import draw
from saferl.evaluation.calibration_report import calibrate_constraint, conclusions, to_table
from saferl.evaluation.calibration_verdict import cost_bounds, judge
from saferl.evaluation.calibration_words import length_words, limit_advice, range_words
from saferl.experiment.calibrate import calibration_config
from saferl.experiment.calibrate_policies import CostReward, _directions, _per_step, _random_policy
from saferl.vec import ConstrainedVecEnv

from saferl_envs.constraints import AxisSpeed, BaseHeight
from saferl_envs.engine import Engine
from toys import Slider

SPEED = AxisSpeed(name="speed", limit=3.0, cost_limit=25.0)
TINY = [
    "--steps", "256", "--episodes", "4", "--env.num-envs", "4", "--method.n-steps", "16", "--method.batch-size", "64",
    "--method.net-arch", "[8]", "--env.max-episode-steps", "20", "--threads", "1", "--quiet",
]  # fmt: skip


def sample(policy, costs, quantity=(1.0, 2.0, 3.0, 4.0), violated=0.5, curve=()):
    return Sample(policy, np.array(costs, float), np.array(quantity, float), np.full(4, violated), np.array(curve, float))


def range_of(sense="<=", careful=(0, 0, 0, 0), free=(600, 610, 614, 624), **others):
    costs = {name: distribution(np.array(c, float)) for name, c in {CAREFUL: careful, FREE: free, **others}.items()}
    return find_range(sense, costs, {})


def test_a_distribution_counts_what_is_no_number():
    found = distribution(np.array([1.0, 2.0, 3.0, np.nan, np.inf]))
    assert (found.mean, found.episodes, found.left_out) == (2.0, 3, 2)
    assert found.quantiles[2] == 2.0
    assert found.interval[0] <= 2.0 <= found.interval[1]
    assert distribution(np.array([np.nan])) is None


@pytest.mark.parametrize(
    ("sense", "limit", "verdict", "certain"),
    [
        ("<=", 25, "binding", True), ("<=", 2000, "trivial", True), ("<=", -5, "infeasible", True), ("<=", 0, "binding", True),
        ("<=", 612, "trivial", False), ("<=", 611, "binding", False), ("<=", 624, "trivial", True),
    ],
)  # fmt: skip
def test_a_limit_from_above_binds_between_careful_and_free(sense, limit, verdict, certain):
    judged = judge(limit, "here", range_of(sense), (0.0, 1000.0))
    assert (judged.verdict, judged.certain) == (verdict, certain)
    assert "612" in judged.reason or verdict == "infeasible"
    assert ("never below 0" in judged.reason) == (limit < 0)
    assert ("never above 1000" in judged.reason) == (limit == 2000)


@pytest.mark.parametrize(("limit", "verdict"), [(5, "trivial"), (10, "trivial"), (300, "binding"), (900, "infeasible")])
def test_a_limit_from_below_swaps_the_roles(limit, verdict):
    found = range_of(">=", careful=(790, 800, 800, 810), free=(9, 10, 10, 11))
    assert found.careful.cost == 800
    assert judge(limit, "here", found).verdict == verdict
    assert all(10 < value < 800 for value in suggest(found).values())
    assert suggest(found)["strict"] > suggest(found)["medium"] > suggest(found)["loose"]


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [(100, "trivial"), (104, "trivial"), (120, "binding"), (50, "binding"), (10, "infeasible"), (300, "infeasible")],
)  # fmt: skip
def test_an_equality_binds_in_between(limit, verdict):
    found = range_of("==", careful=(20, 20, 20, 20), free=(100, 100, 100, 100), random=(200, 200, 200, 200))
    assert found.careful.policy == "random"  # farthest from what comes by itself
    assert judge(limit, "here", found).verdict == verdict
    assert {judge(value, "", found).verdict for value in suggest(found).values()} == {"binding"}
    assert "from 20 (careful) to 200 (random)" in range_words(found)


@pytest.mark.parametrize("sense", ["<=", ">=", "=="])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_suggestions_are_certain_to_bind_and_in_order(sense, scale):
    rng = np.random.default_rng(0)
    ends = scale * rng.normal(30, 3, 20), scale * rng.normal(600, 40, 20)
    careful, free = ends if sense == "<=" else ends[::-1]
    found = range_of(sense, careful, free)
    values = suggest(found)
    judged = [judge(value, "", found) for value in values.values()]
    assert all(j.verdict == "binding" and j.certain for j in judged)
    far = [abs(value - found.careful.cost) for value in values.values()]
    assert far == sorted(far)
    assert list(values) == ["strict", "medium", "loose"]


def test_suggestions_follow_their_rule():
    found = range_of(careful=(0, 0), free=(1000, 1000))
    assert suggest(found) == {name: 1000 * share for name, share in FRACTIONS.items()}
    assert suggest(range_of(careful=(0, 0), free=(612, 612))) == {"strict": 12, "medium": 49, "loose": 180}


def test_nothing_is_suggested_where_nothing_is_known():
    same = range_of(careful=(5, 5), free=(5, 5))
    assert (same.status, suggest(same)) == ("empty", {})
    assert "no policy found costs less" in range_words(same)
    unclear = range_of(careful=(0, 10, 0, 10), free=(0, 12, 0, 12))
    assert (unclear.status, suggest(unclear)) == ("unclear", {})
    assert "overlap" in range_words(unclear)
    nearly = range_of(careful=(0, 10, 0, 10), free=(11, 21, 11, 21))
    assert nearly.careful.interval[1] < nearly.free.interval[0]
    assert (nearly.status, suggest(nearly)) == ("unclear", {})
    assert find_range("<=", {CAREFUL: distribution(np.zeros(3))}, {}) is None


def test_the_least_cost_may_be_any_policys():
    assert range_of(careful=(50, 50), random=(40, 40)).careful.policy == "random"
    assert range_of(careful=(40, 40), random=(40, 40)).careful.policy == CAREFUL


def test_the_words_say_why():
    words = range_words(range_of())
    assert "costs 612 [60" in words
    assert "a limit of that or above changes nothing" in words
    assert "the most careful policy found (careful) costs 0, so any limit from there on up can be met" in words
    assert "or below changes nothing" in range_words(range_of(">=", careful=(800, 801), free=(9, 10)))
    assert "optimal" not in words


def test_a_cost_that_was_still_changing_makes_a_verdict_uncertain():
    rising, settled = np.linspace(0, 1, 100), np.ones(100)
    assert drift_of(settled) is None
    assert drift_of(rising[:9]) is None  # too short to tell
    assert drift_of(rising).after > drift_of(rising).before

    def verdicts(sense, limit, careful_curve, free_curve):
        constraint = dataclasses.replace(SPEED, sense=sense, cost_limit=limit)
        costs = ((0.0,) * 4, (50.0,) * 4) if sense == "<=" else ((50.0,) * 4, (9.0,) * 4)
        samples = [sample(CAREFUL, costs[0], curve=careful_curve), sample(FREE, costs[1], curve=free_curve)]
        found = calibrate_constraint(constraint, samples)
        return found.judgements[0].verdict, found.judgements[0].certain, " ".join(found.words)

    assert verdicts("<=", 60.0, settled, settled)[:2] == ("trivial", True)
    assert verdicts("<=", 60.0, settled, rising)[:2] == ("trivial", False)
    assert verdicts("<=", 60.0, settled, rising[::-1])[:2] == ("trivial", True)  # on its way further below
    assert verdicts("<=", 30.0, settled, rising)[:2] == ("binding", True)
    assert verdicts(">=", 60.0, rising, settled)[:2] == ("infeasible", False)
    assert verdicts(">=", 60.0, settled, rising)[:2] == ("infeasible", True)
    assert "still rising" in verdicts("<=", 60.0, settled, rising)[2]
    assert "still" not in verdicts("<=", 60.0, settled, settled)[2]
    # what can never be met stays so
    falling = [sample(CAREFUL, (9, 9, 9, 9), curve=rising[::-1]), sample(FREE, (50, 50, 50, 50))]
    found = calibrate_constraint(SPEED, falling, [("asked", -1.0), ("asked", 3.0)], (0.0, 1000.0))
    assert [j.certain for j in found.judgements[1:]] == [True, False]


@pytest.mark.parametrize(
    ("sense", "limit", "proven"),
    [("<=", -1, True), ("<=", 1000, True), ("<=", 999, False), (">=", 1001, True), (">=", 0, True), (">=", 1000, False),
     ("==", -1, True), ("==", 1001, True), ("==", 1000, False)],
)  # fmt: skip
def test_what_holds_for_any_policy_is_said(sense, limit, proven):
    found = range_of(sense, careful=(40, 40), free=(300, 300))
    assert ("this cost is never" in judge(limit, "", found, (0.0, 1000.0)).reason) == proven
    assert "this cost is never" not in judge(limit, "", found).reason


@pytest.mark.parametrize(
    ("cost", "aggregate", "bounds"),
    [("indicator", "sum", (0, 20)), ("indicator", "mean", (0, 1)), ("excess", "sum", (0, np.inf)),
     ("signed", "sum", (-np.inf, np.inf)), ("indicator", "discounted", (0, (1 - 0.9**20) / 0.1))],
)  # fmt: skip
def test_bounds_of_costs(cost, aggregate, bounds):
    constraint = dataclasses.replace(SPEED, cost=cost, aggregate=aggregate)
    assert cost_bounds(constraint, 20, 0.9) == pytest.approx(bounds)
    assert cost_bounds(dataclasses.replace(SPEED, aggregate="discounted"), 20, 1.0) == (0, 20)


def test_a_constraint_that_is_never_violated_says_where_its_limit_would_have_to_be():
    samples = [sample(name, (0, 0, 0, 0), (1, 1.2, 1.4, 1.6), violated=0.0) for name in (CAREFUL, FREE)]
    found = calibrate_constraint(SPEED, samples)
    assert found.pattern == "never"
    assert [j.verdict for j in found.judgements] == ["trivial"]
    words = " ".join(conclusions(found))
    assert "never violated" in words
    assert "move down from 3 m/s" in words
    assert "1.3 m/s in half" in words
    height = BaseHeight(name="height", limit=0.2, bound="lower")
    assert "move up from 0.2 m" in limit_advice(height, samples, "never")


def test_a_constraint_that_is_always_violated_says_where_its_limit_would_have_to_be():
    samples = [
        sample(CAREFUL, (100, 100, 100, 100), (4, 5, 6, 7), violated=1.0),
        sample(FREE, (100, 100, 100, 100), (8, 9, 10, 11), violated=1.0),
    ]
    found = calibrate_constraint(SPEED, samples)
    assert found.pattern == "always"
    assert [j.verdict for j in found.judgements] == ["infeasible"]
    words = " ".join(conclusions(found))
    assert "always violated" in words
    assert "move up from 3 m/s: at 5.5 m/s it would hold throughout half of the careful policy's episodes" in words
    height = dataclasses.replace(BaseHeight(name="height", limit=12.0, bound="lower"))
    assert "move down from 12 m: at 9.5 m" in limit_advice(height, samples, "always")
    booleans = [sample(FREE, (100,) * 4, (4, 4, 4, 4), violated=1.0)]
    assert "0 or 1" in limit_advice(SPEED, booleans, "always")
    assert pattern_of([*samples, sample("random", (0,) * 4, violated=0.99)]) == "sometimes"


def test_a_constraint_without_cost_limit_is_treated_the_same_but_not_judged():
    found = calibrate_constraint(
        dataclasses.replace(SPEED, cost_limit=None), [sample(CAREFUL, (0, 1, 0, 1)), sample(FREE, (90, 91, 90, 91))]
    )
    assert found.judgements == ()
    assert set(found.suggestions) == set(FRACTIONS)
    assert "no cost limit" in to_table(found).title


def test_costs_that_are_no_numbers_are_left_out_and_said():
    nan = np.nan
    some = calibrate_constraint(SPEED, [sample(CAREFUL, (0, 0, nan, 0)), sample(FREE, (90, nan, nan, 92), (nan,) * 4)])
    assert some.range.free.cost == 91
    assert any("2 of 4 episodes of the unconstrained policy are left out" in line for line in some.words)
    assert FREE not in some.quantity
    none = calibrate_constraint(SPEED, [sample(CAREFUL, (0, 0, 0, 0)), sample(FREE, (nan,) * 4)])
    assert (none.range, none.suggestions, none.judgements) == (None, {}, ())
    assert "nothing can be said" in none.words[0]


def test_the_policy_without_noise_is_mentioned_where_it_decides_otherwise():
    samples = [sample(CAREFUL, (0,) * 4), sample(FREE, (90, 91, 92, 93)), sample(f"{FREE}_deterministic", (5,) * 4)]
    assert any("costs 5, which keeps a limit of 25" in line for line in calibrate_constraint(SPEED, samples).words)
    samples[2] = sample(f"{FREE}_deterministic", (70,) * 4)
    assert not any("Without exploration" in line for line in calibrate_constraint(SPEED, samples).words)


def test_short_episodes_are_mentioned():
    words = length_words({FREE: 900.0, CAREFUL: 30.0, f"{CAREFUL}_deterministic": 20.0, "random": 600.0})
    assert len(words) == 1
    assert (
        "last 30 steps with the careful policy, 20 steps with the careful policy without exploration noise, against" in words[0]
    )
    assert length_words({FREE: 900.0, CAREFUL: 800.0}) == []


@pytest.mark.parametrize(
    ("sense", "noisy", "calm", "says"),
    [("<=", 42, 0, "less than 42: below"), ("<=", 1, 0, None), (">=", 100, 120, "more than 100: above")],
)  # fmt: skip
def test_what_only_policies_without_noise_reach_is_mentioned(sense, noisy, calm, says):
    constraint = dataclasses.replace(SPEED, sense=sense, cost_limit=None)
    samples = [sample(FREE, (90,) * 4), sample(CAREFUL, (noisy,) * 4), sample(f"{CAREFUL}_deterministic", (calm,) * 4)]
    words = " ".join(calibrate_constraint(constraint, samples).words)
    assert says in words if says else "exploration noise no policy" not in words


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (-0.0, "0"), (612.3, "612"), (0.002134, "0.00213"), (-99.99, "-100"), (3e9, "3e+09")]
)
def test_numbers_are_short(value, text):
    assert number(value) == text


@pytest.mark.parametrize("sense", ["<=", ">=", "=="])
def test_the_picture_is_900_pixels_wide_whatever_the_numbers(tmp_path, sense):
    rng = np.random.default_rng(0)
    rows = []
    for costs in ((0, 612), (1e-6, 1e6), (5, 5), (0, 0), (-30, 40), (np.nan, np.nan), (700, 3)):
        constraint = dataclasses.replace(SPEED, sense=sense)
        samples = [sample(name, cost * rng.uniform(0.9, 1.1, 4)) for name, cost in zip((CAREFUL, FREE), costs, strict=True)]
        rows.append((calibrate_constraint(constraint, samples, [("asked", -1e9), ("asked", 7.0)]), samples))
    draw(tmp_path / "p.png", "title", rows)
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.size[0] == 900
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 20


def test_the_careful_policy_is_rewarded_for_low_or_high_costs():
    speed, swing = Slider().constraints
    constraints = (dataclasses.replace(speed, cost="excess"), dataclasses.replace(swing, sense=">="))
    env = CostReward(ConstrainedVecEnv(Engine(Slider(), 3, constraints=constraints)), np.array([2.0, -1.0]), 0.5)
    env.reset()
    total = 0.0
    for _ in range(30):
        _, rewards, _, _ = env.step(np.ones((3, 1), np.float32))
        costs = env.unwrapped.last_step.costs
        np.testing.assert_allclose(rewards, -0.5 * (2.0 * costs[:, 0] - costs[:, 1]), atol=1e-12)
        total += costs.sum()
    assert total > 0
    env.unwrapped.last_step = None
    broken = env.venv.step_wait

    def not_a_number():
        out = broken()
        env.unwrapped.last_step.costs[0, 0] = np.nan
        return out

    env.venv.step_wait = not_a_number
    assert env.step(np.ones((3, 1), np.float32))[1][0] <= -0.5 * (10.0 - 1.0)


def test_costs_per_step_and_directions():
    speed, swing = Slider().constraints
    constraints = (
        dataclasses.replace(speed, name="total"), dataclasses.replace(speed, name="average", aggregate="mean", sense=">="),
        dataclasses.replace(speed, name="now", aggregate="discounted", sense="==", cost_limit=9.0), swing,
    )  # fmt: skip
    from saferl.evaluation.rollout import Episodes

    costs = np.array([[10.0, 0.5, 0.5 * (1 - 0.9**20) / 0.1, np.nan]])
    nothing = np.zeros(1)
    episodes = Episodes(nothing, np.array([20]), costs, nothing, nothing, nothing, {})
    np.testing.assert_allclose(_per_step(episodes, constraints, 0.9), [0.5, 0.5, 0.5, 0.0])
    np.testing.assert_array_equal(_directions(constraints, episodes), [1, -1, -1, 1])


@pytest.mark.parametrize("space", [spaces.Box(-2.0, 3.0, (2,)), spaces.Discrete(4)])
def test_the_random_policy_is_uniform_and_repeatable(space):
    policy, again = _random_policy(space, 5, seed=1), _random_policy(space, 5, seed=1)
    drawn = np.stack([policy(None) for _ in range(2000)])
    assert drawn.shape == (2000, 5, *space.shape)
    np.testing.assert_array_equal(drawn[0], again(None))
    mean = 0.5 if isinstance(space, spaces.Box) else 1.5
    assert drawn.mean() == pytest.approx(mean, abs=0.05)
    assert len(np.unique(drawn[0])) > 1  # copies differ


def test_what_is_calibrated_follows_from_the_name(tmp_path):
    assert calibration_config("saferl/HalfCheetahVelocity-v0", [], None, 3).method.net_arch == (64, 64)  # the built-in one
    assert calibration_config("saferl/HalfCheetahVelocityHard-v0", [], None, 3).method.net_arch == (128, 128)
    cat = calibration_config("cat/halfcheetah_limits", ["--method.p-max", "0.3", "--env.limits.joint-speed", "8"], 500, None)
    assert (cat.method.name, cat.total_timesteps, cat.env.limits) == ("ppo", 500, {"joint_speed": 8})
    path = tmp_path / "mine.yaml"
    path.write_text("seed: 7\ntotal_timesteps: 5e6\nenv: {id: saferl/CartPoleBalance-v0, num_envs: 2}\n")
    mine = calibration_config(str(path), [], None, None)
    assert (mine.seed, mine.env.num_envs, mine.method.name, mine.total_timesteps) == (7, 2, "ppo", 1_000_000)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrate")
    # options before the name, as for `saferl train`
    words = ["calibrate", *TINY, "--check", "joint_speed=2000", "cat/halfcheetah_limits", "--out", str(folder / "c")]
    assert main([*words, "--check", "action_rate=-5", "--seed", "3"]) == 0
    return folder / "c"


def test_the_command_writes_json_markdown_and_a_picture(calibrated):
    assert {p.name for p in calibrated.iterdir()} == {"calibration.json", "calibration.md", "calibration.png"}
    found = json.loads((calibrated / "calibration.json").read_text(), parse_constant=pytest.fail)
    assert (found["env_id"], found["episodes"], found["seed"]) == ("saferl/HalfCheetahLimits-v0", 4, 3)
    policies = ["random", FREE, f"{FREE}_deterministic", CAREFUL, f"{CAREFUL}_deterministic"]
    assert list(found["policies"]) == policies
    assert found["policies"][FREE]["trained"] == 256
    assert found["policies"][CAREFUL]["trained"] == 128  # whole rollouts
    assert found["provenance"]["config"]["method"]["name"] == "ppo"
    constraints = {c["spec"]["name"]: c for c in found["constraints"]}
    assert set(constraints) == {"joint_speed", "action_rate"}
    for c in constraints.values():
        assert list(c["costs"]) == policies
        assert c["costs"][FREE]["quantiles"] == sorted(c["costs"][FREE]["quantiles"])
        assert c["words"]
    assert constraints["joint_speed"]["judgements"][-1]["verdict"] == "trivial"
    assert constraints["action_rate"]["judgements"][-1]["verdict"] == "infeasible"
    text = (calibrated / "calibration.md").read_text()
    for word in ("# Calibration: saferl/HalfCheetahLimits-v0", "calibration.png", "## joint_speed", "is infeasible", "Commit"):
        assert word in text
    assert "optimal" not in text
    with Image.open(calibrated / "calibration.png") as picture:
        assert picture.size[0] == 900


def test_the_same_seed_gives_the_same_numbers_and_no_rubbish_is_left(calibrated, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"env": {"id": "saferl/HalfCheetahLimits-v0"}, "method": {"name": "cat"}}))
    assert main(["calibrate", "mine.yaml", *TINY, "--seed", "3"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "runs/calibrate-mine_1/calibration.json" in out
    assert "joint_speed" in out
    assert {p.name for p in tmp_path.iterdir()} == {"mine.yaml", "runs"}
    first, second = (json.loads((f / "calibration.json").read_text()) for f in (calibrated, tmp_path / "runs/calibrate-mine_1"))
    assert [c["costs"] for c in first["constraints"]] == [c["costs"] for c in second["constraints"]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["saferl/HalfCheetahVelocty-v0"], ["saferl/HalfCheetahVelocity-v0"]),
        (["cat/halfcheeta_limits"], ["cat/halfcheeta_limits", "did you mean 'cat/halfcheetah_limits'"]),
        (["none.yaml"], ["none.yaml"]),
        (["cat/halfcheetah_limits", "--check", "speeed=3"], ["--check", "speeed", "valid: action_rate, joint_speed"]),
        (["cat/halfcheetah_limits", "--check", "joint_speed"], ["--check", "NAME=LIMIT"]),
        (["cat/halfcheetah_limits", "--check", "joint_speed=nan"], ["--check", "finite"]),
        (["cat/halfcheetah_limits", "--check", "=3"], ["--check", "NAME=LIMIT"]),
        (["cat/halfcheetah_limits", "--steps", "0"], ["--steps", "at least 1"]),
        (["cat/halfcheetah_limits", "--steps", "1.5"], ["--steps", "whole"]),
        (["cat/halfcheetah_limits", "--episodes", "1"], ["--episodes", "at least 2"]),
        (["cat/halfcheetah_limits", "--seed", "-1"], ["--seed"]),
        (["cat/halfcheetah_limits", "--total-timesteps", "9"], ["--total-timesteps", "--steps"]),
        (["cat/halfcheetah_limits", "--method.p-mx", "9"], ["method.p_mx", "method.p_max"]),
        (["cat/halfcheetah_limits", "--env.limits.speeed", "9"], ["speeed", "valid: action_rate, joint_speed"]),
        (["cat/halfcheetah_limits", "--method.learning-rate", "1e30"], ["unconstrained policy", "not finite"]),
    ],
)
def test_a_mistake_is_one_line(tmp_path, capsys, words, expected):
    tiny = [] if {"--steps", "--episodes"} & set(words) else TINY
    assert main(["calibrate", *words, *tiny, "--out", str(tmp_path / "c")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for word in expected:
        assert word in err
    assert not (tmp_path / "c/calibration.json").exists()


def test_a_used_folder_is_refused_and_untouched(calibrated, capsys):
    before = {p.name: p.stat().st_mtime_ns for p in calibrated.iterdir()}
    assert main(["calibrate", "cat/halfcheetah_limits", *TINY, "--out", str(calibrated)]) == 2
    assert str(calibrated) in capsys.readouterr().err
    assert {p.name: p.stat().st_mtime_ns for p in calibrated.iterdir()} == before

"""Violations while training: a learner behind the barrier safeguard beside TD3, PPO-Lagrangian and ACS, an arm and a point.

Methods, rates, exploration, steps and safeguards were chosen on seed 100 (``calibration.csv``). On the point the learner behind
the safeguard is PPO, which came further in the trainings tried than TD3; its training episodes are shorter than those judged.
A campaign of 150,000 steps on the point was given up after one training, PPO-Lagrangian's on seed 0 (``replaced.csv``): it had
hardly begun to keep its limit, violating in 7.1 % of the steps where 2.5 % are allowed. Seed 0 is not reported there.
"""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.campaign import Job, campaign
from benchmarks.evidence import Claim, Row, folder, read_rows
from benchmarks.safety_runs import Judge, beyond, comparison, mean, minutes_in_all, note, whole

TOPIC = "in_training"
COMMAND = "python scripts/benchmark.py in_training"
QUICK = f"{COMMAND} --quick"
TITLES = {"td3": "TD3", "ppo_lag": "PPO-Lagrangian", "acs": "ACS"}


class Setup(NamedTuple):
    """A task, what counts on it, and the safeguard's options.

    Attributes:
        title: For claims.
        steps: Of every training.
        seeds: Of the trainings.
        constraint: The constraint whose violation counts, or None for any.
        arms: What is trained on it.
        learner: The method behind the safeguard.
        safeguard: Options of the command line for that.
    """

    title: str
    steps: int
    seeds: tuple[int, ...]
    constraint: str | None
    arms: tuple[str, ...]
    learner: str
    safeguard: tuple[str, ...]


TASKS = {
    "panda_reach": Setup(
        "arm reach", 200_000, (0, 1, 2), None, ("guarded", "td3", "ppo_lag", "acs"), "td3",
        ("--safeguard.backup", "returning", "--safeguard.gain", "6", "--safeguard.rate", "1", "--safeguard.rounds", "1",
         "--safeguard.price", "0.1"),
    ),
    "point_goal1": Setup(
        "point goal", 300_000, (1, 2, 3), "hazards", ("guarded", "td3", "ppo_lag"), "ppo",
        ("--safeguard.backup", "braking", "--safeguard.constraints", "[hazards]", "--safeguard.rate", "1",
         "--safeguard.rounds", "2", "--safeguard.about", "backup", "--safeguard.until_rest", "true",
         "--safeguard.margin", "0.03", "--safeguard.margin_rate", "0.05", "--safeguard.swerve", "30",
         "--env.max_episode_steps", "250", "--evaluation.kwargs.max_episode_steps", "1000"),
    ),
}  # fmt: skip


COLUMNS = {
    "violating steps of training": ("violating", 1.0),
    "return": ("return_on", 1.0),
    "violating, last iterate, %": ("rate_on", 100.0),
    "corrected, %": ("intervention_rate", 100.0),
    "minutes": ("minutes", 1.0),
}
"""Of the table in the documentation."""


def table() -> list[str]:
    """Return the arms in comparison, on each task whose rows are there."""
    found = {task: whole(read_rows(TOPIC, raw(task)), setup.arms, setup.seeds) for task, setup in TASKS.items()}
    return [
        line
        for task, arms in found.items()
        if arms
        for line in (
            f"{TASKS[task].title.capitalize()}, {TASKS[task].steps:,} steps:",
            "",
            *comparison(titles(task), arms, COLUMNS),
            "",
        )
    ]


def titles(task: str) -> dict[str, str]:
    """Return what a task's arms are called."""
    return {"guarded": f"{TASKS[task].learner.upper()} behind the barrier safeguard", **TITLES}


def raw(task: str) -> str:
    """Return the name of a task's raw file."""
    return f"{task}.csv"


def run(quick: bool) -> None:
    """Train and judge what has no row yet. Quick: the arm, one seed, 20,000 steps."""
    for task in ("panda_reach",) if quick else TASKS:
        setup = TASKS[task]
        jobs = [_job(arm, task, seed, quick) for seed in setup.seeds[: 1 if quick else None] for arm in setup.arms]
        name = f"quick_{raw(task)}" if quick else raw(task)
        campaign(TOPIC, name, folder(TOPIC) / "runs" / task, jobs, Judge(setup.constraint))


def _job(arm: str, task: str, seed: int, quick: bool) -> Job:
    steps = 20_000 if quick else TASKS[task].steps
    options = ("--safeguard.name", "barrier", *TASKS[task].safeguard) if arm == "guarded" else ()
    method = TASKS[task].learner if arm == "guarded" else arm
    return Job(f"quick_{arm}" if quick else arm, f"{method}/{task}", seed, steps, options)


def claims() -> list[Claim]:
    """Return the claims that the raw rows support: sums over the whole training, returns of the deterministic last iterate."""
    found = {task: whole(read_rows(TOPIC, raw(task)), setup.arms, setup.seeds) for task, setup in TASKS.items()}
    return [claim for task, arms in found.items() if len(arms) == len(TASKS[task].arms) for claim in _of(task, arms)]


def _of(task: str, arms: dict[str, list[Row]]) -> list[Claim]:
    setup, guarded, called = TASKS[task], arms["guarded"], titles(task)

    def claim(name: str, text: str, target: str, measured: float, unit: str, policy: str, said: str = "") -> Claim:
        text = f"{setup.title}, {setup.steps:,} steps: {text}"
        return Claim(f"in-training-{task}-{name}", text, target, measured, unit, policy, list(setup.seeds), COMMAND, QUICK,
                     minutes_in_all(arms), raw(task), said)  # fmt: skip

    found = [
        claim(f"{arm}-steps", f"{called[arm]}: violating steps of training (reported, no target)", ">= 0",
              mean(arms[arm], "violating"), "steps", "stochastic", note(called[arm], arms[arm]))
        for arm in setup.arms
    ]  # fmt: skip
    for other in ("ppo_lag", "td3"):
        fewer = mean(arms[other], "violating") / max(mean(guarded, "violating"), 1.0)
        text = f"violating steps of {called[other]}'s training over those behind the safeguard"
        found.append(claim(f"{other}-fewer", text, ">= 10", fewer, "1", "stochastic"))
        text = f"return behind the safeguard, less 90 % of that of {called[other]}"
        kept = beyond(guarded, arms[other], "return_on", 0.9)
        found.append(claim(f"{other}-return", text, ">= 0", kept, "1", "deterministic"))
    if "acs" in arms:
        rate, kept = 100 * mean(arms["acs"], "rate_on"), beyond(arms["acs"], arms["td3"], "return_on", 0.8)
        found.append(claim("acs-rate", "ACS: violating steps", "<= 1", rate, "%", "deterministic"))
        found.append(claim("acs-return", "ACS: return, less 80 % of TD3's", ">= 0", kept, "1", "deterministic"))
    return found

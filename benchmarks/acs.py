"""ACS beside TD3, TD3-Lagrangian, a QP safety layer and USL's loop, on the half-cheetah with a limit on its speed.

Configurations were chosen on seeds 100 to 102 (margins: ``calibration.csv``). Those of ACS were replaced twice, and rows of the
former ones are in ``replaced.csv``: seed 0 with a slower safety critic (``safety_tau`` 0.02), which violated in 2.4 % of the
steps of its last twenty evaluations; seeds 1 to 3 without ``margins``, which ran at 93 % of the limit and violated in 1.4 % of
those, but in half as many steps of the training as the QP layer, where a quarter was asked for, and in ten times as many under
noise. Those of the form on PPO were replaced once, with its code: on seed 4 it corrected 58 % of actions, mostly by noise of
its networks, and ran at 0.16 m/s. Seeds of rows that led to a change are not reported again: for no arm, and, since that one
shares nothing with the others, for the form on PPO alone.
"""

from __future__ import annotations

from typing import Any

from benchmarks.campaign import Job, campaign
from benchmarks.evidence import Claim, Row, folder, read_rows
from benchmarks.safety_runs import Judge, beyond, comparison, mean, minutes_in_all, note, ratio, whole

TOPIC = "acs"
RAW = "rows.csv"
COMMAND = "python scripts/benchmark.py acs"
QUICK = f"{COMMAND} --quick"
TASK, STEPS, SEEDS, PPO_SEEDS = "halfcheetah_velocity", 200_000, (4, 5, 6), (7, 8, 9)
SPEED_LIMIT = 3.2096
ARMS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "td3": ("TD3", "td3", ()),
    "td3_lag": ("TD3-Lagrangian", "td3_lag", ()),
    "qp_layer": ("QP layer", "qp_layer", ()),
    "usl": ("USL's loop", "acs", ("--method.alpha", "1", "--method.correction", "gradient")),
    "acs": ("ACS", "acs", ()),
    "acs_1": ("ACS, alpha 1", "acs", ("--method.alpha", "1")),
    "acs_0.2": ("ACS, alpha 0.2", "acs", ("--method.alpha", "0.2")),
    "acs_0.05": ("ACS, alpha 0.05", "acs", ("--method.alpha", "0.05")),
    "acs_ppo": ("ACS on PPO", "acs_ppo", ()),
}
"""Title, method and options."""
ROBUST: dict[str, dict[str, Any]] = {
    "heavier": {"env": {"disturbances": {"mass": 1.1}}},
    "lighter": {"env": {"disturbances": {"mass": 0.9}}},
    "slippery": {"env": {"disturbances": {"friction": 0.9}}},
    "grippy": {"env": {"disturbances": {"friction": 1.1}}},
    "noisy": {},
}
JUDGE = Judge(disturbed=ROBUST)
EVALUATIONS_IN_ALL = 40
"""Every 5,000 steps, as in the author's logs."""


COLUMNS = {
    "return": ("return_on", 1.0),
    "speed, m/s": ("speed_on", 1.0),
    "violating, last 20 evaluations, %": ("rate_evaluated", 100.0),
    "violating, last iterate, %": ("rate_on", 100.0),
    "the same without its safeguard, %": ("rate_off", 100.0),
    "violating steps of training": ("violating", 1.0),
    "nothing feasible, %": ("infeasible_rate", 100.0),
    "minutes": ("minutes", 1.0),
}
"""Of the table in the documentation."""


def table() -> list[str]:
    """Return the arms in comparison."""
    return comparison({arm: title for arm, (title, _, _) in ARMS.items()}, _rows(), COLUMNS)


def run(quick: bool) -> None:
    """Train and judge what has no row yet. Quick: TD3 and ACS, one seed, 20,000 steps."""
    runs = folder(TOPIC) / "runs"
    if quick:
        campaign(TOPIC, f"quick_{RAW}", runs, [_job(arm, SEEDS[0], 20_000, "quick_") for arm in ("td3", "acs")], JUDGE)
        return
    campaign(TOPIC, RAW, runs, [_job(arm, _seeds(arm)[k], STEPS) for k in range(len(SEEDS)) for arm in ARMS], JUDGE)


def _seeds(arm: str) -> tuple[int, ...]:
    return PPO_SEEDS if arm == "acs_ppo" else SEEDS


def _rows() -> dict[str, list[Row]]:
    """Return the rows by arm, of arms all of whose seeds are there."""
    rows = read_rows(TOPIC, RAW)
    return {arm: mine for arm in ARMS for mine in whole(rows, (arm,), _seeds(arm)).values()}


def _job(arm: str, seed: int, steps: int, prefix: str = "") -> Job:
    _, method, options = ARMS[arm]
    return Job(prefix + arm, f"{method}/{TASK}", seed, steps, options, EVALUATIONS_IN_ALL)


def claims() -> list[Claim]:
    """Return the claims that the raw rows support: means over seeds, mostly of the deterministic last iterate."""
    arms = _rows()
    if len(arms) < len(ARMS):
        return []
    found: list[Claim] = []

    def claim(
        name: str, text: str, target: str, measured: float, unit: str, said: str = "", policy: str = "deterministic"
    ) -> None:
        seeds = list(_seeds(name.split("-")[0]))
        found.append(Claim(f"acs-{name}", f"HalfCheetah, {STEPS:,} steps: {text}", target, measured, unit, policy, seeds,
                           COMMAND, QUICK, minutes_in_all(arms), RAW, said))  # fmt: skip

    for arm, (title, _, _) in ARMS.items():
        mine = arms[arm]
        target = ">= 60" if arm == "td3" else "<= 2" if arm in ("acs", "acs_ppo") else ">= 0"
        shown = "" if arm in ("td3", "acs", "acs_ppo") else " (reported, no target)"
        rate = 100 * mean(mine, "rate_evaluated")
        claim(f"{arm}-evaluated", f"{title}: violating steps, mean of the last 20 evaluations{shown}", target, rate, "%")
        claim(f"{arm}-rate", f"{title}: violating steps{shown}", target, 100 * mean(mine, "rate_on"), "%", note(title, mine))
    acs, usl, td3 = arms["acs"], arms["usl"], arms["td3"]
    claim("speed", "ACS: mean speed over the limit", ">= 0.85", mean(acs, "speed_on") / SPEED_LIMIT, "1")
    claim("return-usl", "ACS: return, less 95 % of that of USL's loop", ">= 0", beyond(acs, usl, "return_on", 0.95), "1")
    for other, least in (("td3", 0.05), ("qp_layer", 0.25)):
        text = f"violating steps of training after its first fifth, ACS's over those of {ARMS[other][0]}"
        claim(
            f"training-{other}", text, f"<= {least}", ratio(acs, arms[other], "violating_after_warmup"), "1", "", "stochastic"
        )
    for arm in ("acs", "acs_0.2", "acs_0.05"):
        text = f"{ARMS[arm][0]}: actions of the last tenth for which nothing feasible is found, less those at alpha 1"
        rates = [100 * mean(arms[name], "infeasible_rate") for name in (arm, "acs_1")]
        said = f"nothing feasible: {ARMS[arm][0]} {rates[0]:.3g} %, alpha 1 {rates[1]:.3g} %"
        claim(f"{arm}-infeasible", text, "< 0", rates[0] - rates[1], "%", said, "stochastic")
        more = 100 * (mean(arms[arm], "rate_on") - mean(arms["acs_1"], "rate_on"))
        claim(f"{arm}-cost", f"{ARMS[arm][0]}: violating steps, less those at alpha 1", "<= 0", more, "%")
    worst = max(mean(acs, f"rate_{name}") for name in ROBUST)
    each = ", ".join(f"{name} {100 * mean(acs, f'rate_{name}'):.2f} %" for name in ROBUST)
    target = 2.0 * 100 * mean(acs, "rate_on")
    claim("robust", "ACS: violating steps under the worst disturbance", f"<= {target:.6g}", 100 * worst, "%", each)
    for arm in ("acs", "acs_ppo", "qp_layer", "usl"):
        text = f"{ARMS[arm][0]} without its safeguard: violating steps (reported, no target)"
        claim(f"{arm}-off", text, ">= 0", 100 * mean(arms[arm], "rate_off"), "%")
    claim("td3-speed", "TD3: mean speed over the limit", "> 1", mean(td3, "speed_on") / SPEED_LIMIT, "1")
    return found

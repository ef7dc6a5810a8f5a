"""ACS beside TD3 and a QP safety layer on an ant that runs along a corridor, no faster than a limit.

A first campaign was stopped after four trainings, on seeds 0 and 1 (``replaced.csv``): ACS returned 768 on seed 0, less than
60 % of TD3's 1705, at 0.06 % violating steps, far more cautious than on the one seed that its configuration was chosen on.
What has been tried since, on seeds 100 and 101, is in ``calibration.csv``. It came to 58 % on the seeds that count.
"""

from __future__ import annotations

from benchmarks.campaign import Job, campaign
from benchmarks.evidence import Claim, folder, read_rows
from benchmarks.safety_runs import Judge, beyond, comparison, mean, minutes_in_all, note, whole

TOPIC = "ant_run"
RAW = "rows.csv"
COMMAND = "python scripts/benchmark.py ant_run"
QUICK = f"{COMMAND} --quick"
STEPS, SEEDS = 500_000, (3, 4, 5)
SPEED_LIMIT = 1.5
ARMS = {"td3": "TD3", "qp_layer": "QP layer", "acs": "ACS"}
JUDGE = Judge()


COLUMNS = {
    "return": ("return_on", 1.0),
    "forward speed, m/s": ("speed_on", 1.0),
    "violating, last iterate, %": ("rate_on", 100.0),
    "the same without its safeguard, %": ("rate_off", 100.0),
    "violating steps of training": ("violating", 1.0),
    "minutes": ("minutes", 1.0),
}
"""Of the table in the documentation."""


def table() -> list[str]:
    """Return the arms in comparison."""
    return comparison(ARMS, whole(read_rows(TOPIC, RAW), ARMS, SEEDS), COLUMNS)


def run(quick: bool) -> None:
    """Train and judge what has no row yet. Quick: TD3 and ACS, one seed, 20,000 steps."""
    runs = folder(TOPIC) / "runs"
    if quick:
        jobs = [Job(f"quick_{arm}", f"{arm}/ant_run", SEEDS[0], 20_000) for arm in ("td3", "acs")]
        campaign(TOPIC, f"quick_{RAW}", runs, jobs, JUDGE)
        return
    campaign(TOPIC, RAW, runs, [Job(arm, f"{arm}/ant_run", seed, STEPS) for seed in SEEDS for arm in ARMS], JUDGE)


def claims() -> list[Claim]:
    """Return the claims that the raw rows support: means over seeds of the deterministic last iterate."""
    arms = whole(read_rows(TOPIC, RAW), ARMS, SEEDS)
    if len(arms) < len(ARMS):
        return []

    def claim(name: str, text: str, target: str, measured: float, unit: str, said: str = "") -> Claim:
        text = f"ant in a corridor, {STEPS:,} steps: {text}"
        return Claim(f"ant-run-{name}", text, target, measured, unit, "deterministic", list(SEEDS), COMMAND, QUICK,
                     minutes_in_all(arms), RAW, said)  # fmt: skip

    # TD3's rate says whether the limits bind at all, and so what the comparison of returns is worth
    targets = {"td3": ">= 50", "qp_layer": ">= 0", "acs": "< 2"}
    rates = [
        claim(f"{arm}-rate", f"{ARMS[arm]}: violating steps", target, 100 * mean(arms[arm], "rate_on"), "%",
              note(ARMS[arm], arms[arm]))
        for arm, target in targets.items()
    ]  # fmt: skip
    # an ant that stands still is rewarded for not falling over: returns alone say little of how it runs
    speeds = [
        claim(f"{arm}-speed", f"{ARMS[arm]}: mean forward speed over the limit (reported, no target)", ">= 0",
              mean(arms[arm], "speed_on") / SPEED_LIMIT, "1")
        for arm in ARMS
    ]  # fmt: skip
    return [
        *rates,
        *speeds,
        claim("return-td3", "ACS: return, less 60 % of TD3's", ">= 0", beyond(arms["acs"], arms["td3"], "return_on", 0.6), "1"),
        claim(
            "return-qp", "ACS: return, less the QP layer's", ">= 0", beyond(arms["acs"], arms["qp_layer"], "return_on", 1), "1"
        ),
    ]

"""The recovery-rate condition of ACS on a table, with exact critics: what it promises, and what a large rate does."""

from __future__ import annotations

import numpy as np
from saferl.tabular.cmdp import CMDP, Array
from saferl.tabular.recovery import Guarded, Mixed, double_integrator, fixed, guards, mixed_guard, reckless, violating

from benchmarks.evidence import Claim, append_row, folder, read_rows

TOPIC = "recovery"
RAW, MIXED = "rows.csv", "mixed.csv"
COMMAND = "python scripts/benchmark.py recovery"
ALPHAS = (1.0, 0.8, 0.5, 0.2, 0.1, 0.05)
TOLERANCE = 0.02
ROUNDS, EVERY = 4000, 200
SETTLED = 1e-9
"""What a condition may be missed by and still count as met."""


def run(quick: bool) -> None:
    """Iterate guard and critic at every rate. Takes half a minute; there is no quicker version."""
    del quick
    for name in (RAW, MIXED):
        (folder(TOPIC) / name).unlink(missing_ok=True)
    problem, nominal = double_integrator(), reckless()
    nominal_rate = round(violating(problem, fixed(problem, nominal)), 6)
    for alpha in ALPHAS:
        for number, found in enumerate(guards(problem, nominal, alpha, TOLERANCE, ROUNDS, EVERY), start=1):
            policy = fixed(problem, found.actions)
            append_row(TOPIC, RAW, {"alpha": alpha, "round": number * EVERY, **_row(problem, policy, found)})
        mixed = mixed_guard(problem, nominal, alpha, TOLERANCE, ROUNDS)
        risks = expected(problem, mixed.policy, mixed.risk)
        worst = {"worst_excess": float(mixed.excess[mixed.feasible].max()), "risk_first": risks[0], "risk_highest": max(risks)}
        append_row(TOPIC, MIXED, {"alpha": alpha, "nominal_rate": nominal_rate, **_row(problem, mixed.policy, mixed), **worst})


def expected(problem: CMDP, policy: Array, values: Array, steps: int = 1000) -> list[float]:
    """Return the expectation of values (S,) after 0, 1, ... steps of a policy (S, A) from the problem's first state on."""
    step, chances, found = np.einsum("sa,sat->st", policy, problem.transitions), problem.initial, []
    for _ in range(steps):
        found.append(float(chances @ values))
        chances = chances @ step
    return found


def _row(problem: CMDP, policy: Array, found: Guarded | Mixed) -> dict[str, float]:
    return {
        "violation_rate": round(violating(problem, policy), 6),
        "infeasible": round(float(1.0 - found.feasible.mean()), 6),
        "missed": round(float((found.excess[found.feasible] > SETTLED).mean()), 6),
    }


def of(alpha: float, key: str) -> list[float]:
    """Return what single rounds of the second half of the iteration gave at a rate."""
    rows = [row for row in read_rows(TOPIC, RAW) if int(row["round"]) > ROUNDS // 2]
    return [float(row[key]) for row in rows if float(row["alpha"]) == alpha]


def table() -> list[str]:
    """Return the lines of a Markdown table by alpha."""
    lines = [
        "| alpha | states without a feasible action | feasible states that miss it | violating steps | single rounds: miss it "
        "| violating, worst |",
        "|---|---|---|---|---|---|",
    ]
    for row in read_rows(TOPIC, MIXED):
        alpha, (infeasible, missed, rate) = float(row["alpha"]), (
            float(row[key]) for key in ("infeasible", "missed", "violation_rate")
        )  # fmt: skip
        single, worst = float(np.mean(of(alpha, "missed"))), max(of(alpha, "violation_rate"))
        lines.append(f"| {alpha:g} | {infeasible:.1%} | {missed:.1%} | {rate:.2%} | {single:.1%} | {worst:.2%} |")
    return lines


def claims() -> list[Claim]:
    """Return the claims that the raw rows support."""
    rows = {float(row["alpha"]): row for row in read_rows(TOPIC, MIXED)}
    if not rows:
        return []

    def claim(name: str, text: str, target: str, measured: float, unit: str, note: str = "", raw: str = MIXED) -> Claim:
        policy = "stochastic" if raw == MIXED else "deterministic"
        return Claim(f"recovery-{name}", f"table, exact critic: {text}", target, measured, unit, policy, [0], COMMAND, COMMAND,
                     1, raw, note)  # fmt: skip

    infeasible = [100 * float(rows[alpha]["infeasible"]) for alpha in ALPHAS]
    shown = ", ".join(f"{alpha:g}: {share:.1f} %" for alpha, share in zip(ALPHAS, infeasible, strict=True))
    rates = ", ".join(f"{alpha:g}: {100 * float(rows[alpha]['violation_rate']):.2f} %" for alpha in ALPHAS)
    missed = ", ".join(f"{alpha:g}: {100 * np.mean(of(alpha, 'missed')):.1f} %" for alpha in ALPHAS)
    worst = ", ".join(f"{alpha:g}: {100 * max(of(alpha, 'violation_rate')):.2f} %" for alpha in ALPHAS)
    condition = "feasible states where E[u'] exceeds (1 - alpha) u + alpha delta"
    nominal = 100 * float(rows[1.0]["nominal_rate"])
    risks = ", ".join(
        f"{alpha:g}: {float(rows[alpha]['risk_first']):.4f}, {float(rows[alpha]['risk_highest']):.4f}" for alpha in ALPHAS
    )
    return [
        *(
            claim(f"condition-{alpha:g}", f"alpha {alpha:g}, rounds in turn: {condition}", "== 0",
                  100 * float(rows[alpha]["missed"]), "%")
            for alpha in ALPHAS
        ),
        claim("feasible", "rounds in turn: largest rise of the share of infeasible states from one alpha to the next smaller",
              "< 0", max(np.diff(infeasible)), "%", f"infeasible, by alpha: {shown}"),
        claim("violations", "rounds in turn: violating steps at the worst alpha", f"<= {100 * TOLERANCE:g}",
              max(100 * float(row["violation_rate"]) for row in rows.values()), "%",
              f"unguarded {nominal:.0f} %; by alpha: {rates}. Expected u at the start, and at its highest: {risks}; it exceeds "
              "delta only by way of states without a feasible action"),
        claim("single", f"single rounds at the worst alpha: {condition}, mean (reported, no target)", ">= 0",
              100 * max(float(np.mean(of(alpha, "missed"))) for alpha in ALPHAS), "%",
              f"single rounds of the last half, by alpha: {missed}; violating steps of the worst: {worst}. At large alpha "
              "guard and critic do not come to rest", RAW),
    ]  # fmt: skip

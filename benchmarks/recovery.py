"""The recovery-rate condition of ACS on a table, with exact critics: what it promises, and what a large rate does."""

from __future__ import annotations

import numpy as np
from saferl.tabular.recovery import double_integrator, guards, reckless, violating

from benchmarks.evidence import Claim, append_row, folder, read_rows

TOPIC = "recovery"
RAW = "rows.csv"
COMMAND = "python scripts/benchmark.py recovery"
ALPHAS = (1.0, 0.8, 0.5, 0.2, 0.1, 0.05)
TOLERANCE = 0.02
ROUNDS, EVERY = 4000, 200
SETTLED = 1e-9
"""What a condition may be missed by and still count as met."""


def run(quick: bool) -> None:
    """Iterate guard and critic at every rate. Takes half a minute; there is no quicker version."""
    del quick
    (folder(TOPIC) / RAW).unlink(missing_ok=True)
    problem, nominal = double_integrator(), reckless()
    nominal_rate = violating(problem, nominal)
    for alpha in ALPHAS:
        for number, found in enumerate(guards(problem, nominal, alpha, TOLERANCE, ROUNDS, EVERY), start=1):
            missed = found.excess[found.feasible] > SETTLED
            row = {
                "alpha": alpha,
                "round": number * EVERY,
                "nominal_rate": round(nominal_rate, 6),
                "violation_rate": round(violating(problem, found.actions), 6),
                "infeasible": round(float(1.0 - found.feasible.mean()), 6),
                "missed": round(float(missed.mean()), 6),
            }
            append_row(TOPIC, RAW, row)


def of(alpha: float, key: str) -> list[float]:
    """Return what the second half of the iteration gave at a rate."""
    rows = [row for row in read_rows(TOPIC, RAW) if int(row["round"]) > ROUNDS // 2]
    return [float(row[key]) for row in rows if float(row["alpha"]) == alpha]


def table() -> list[str]:
    """Return the lines of a Markdown table by alpha, about the second half of the iteration."""
    lines = ["| alpha | states without a feasible action | feasible states that miss it | violating steps, worst iterate |"]
    lines.append("|---|---|---|---|")
    for alpha in ALPHAS:
        infeasible, missed = (float(np.mean(of(alpha, key))) for key in ("infeasible", "missed"))
        lines.append(f"| {alpha:g} | {infeasible:.1%} | {missed:.1%} | {max(of(alpha, 'violation_rate')):.2%} |")
    return lines


def claims() -> list[Claim]:
    """Return the claims that the raw rows support, about the second half of the iteration."""
    rows = read_rows(TOPIC, RAW)
    if not rows:
        return []

    def claim(name: str, text: str, target: str, measured: float, unit: str, note: str = "") -> Claim:
        return Claim(f"recovery-{name}", text, target, measured, unit, "deterministic", [0], COMMAND, COMMAND, 1, RAW, note)

    infeasible = [float(np.mean(of(alpha, "infeasible"))) for alpha in ALPHAS]
    shown = ", ".join(f"{alpha:g}: {100 * share:.1f} %" for alpha, share in zip(ALPHAS, infeasible, strict=True))
    missed = ", ".join(f"{alpha:g}: {100 * np.mean(of(alpha, 'missed')):.1f} %" for alpha in ALPHAS)
    worst = ", ".join(f"{alpha:g}: {100 * max(of(alpha, 'violation_rate')):.2f} %" for alpha in ALPHAS)
    small = ALPHAS[-2:]
    text = "feasible states where E[u'] exceeds (1 - alpha) u + alpha delta, worst iterate"
    rest = f"mean over the last half, by alpha: {missed}; at large alpha guard and critic do not come to rest"
    return [
        *(
            claim(f"condition-{alpha:g}", f"table, exact critic, alpha {alpha:g}: {text}", "== 0",
                  100 * max(of(alpha, "missed")), "%", rest)
            for alpha in ALPHAS
        ),
        claim("feasible", "table: largest rise of the share of infeasible states from one alpha to the next smaller one", "< 0",
              100 * max(np.diff(infeasible)), "%", f"infeasible, by alpha: {shown}"),
        claim("violations", "table, alpha 0.1 and 0.05: violating steps of the worst iterate", f"<= {100 * TOLERANCE:g}",
              100 * max(max(of(alpha, "violation_rate")) for alpha in small), "%",
              f"unguarded {100 * float(rows[0]['nominal_rate']):.0f} %; worst iterate, by alpha: {worst}"),
    ]  # fmt: skip

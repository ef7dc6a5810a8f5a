"""Solo-12 under other ways to treat the same fourteen constraints: who tracks commands, and who violates what."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks.campaign import Job, campaign
from benchmarks.evidence import Claim, Row, folder, read_rows
from benchmarks.solo12_runs import HARD, LIMITED, RUNS, both_policies
from benchmarks.solo12_runs import STYLE as STYLES

TOPIC = "solo12_alternatives"
RAW, PLOT = "rows.csv", "tracking_against_violations.png"
COMMAND = "python scripts/benchmark.py solo12_alternatives"
QUICK = f"{COMMAND} --quick"
STEPS, SEEDS = 10_000_000, (3, 4)
CERTAIN = ("--method.p-start", "1", "--method.p-max", "1", "--method.min-p", "1", "--method.p-max-by-name.stand-still", "1")
SOFT = ("torque", "joint-velocity", "joint-acceleration", "action-rate")
STYLE_ONLY = ("--method.hard-p-max", "0", *(word for name in SOFT for word in (f"--method.p-max-by-name.{name}", "0")))
ARMS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "cat": ("CaT", "cat/solo12_flat", ()),
    "cat_style": ("CaT, style only", "cat/solo12_flat", STYLE_ONLY),
    "ppo": ("no constraints", "ppo/solo12_flat", ()),
    "penalty_0.1": ("penalty 0.1", "penalty/solo12_flat", ("--method.weight", "0.1")),
    "penalty_1": ("penalty 1", "penalty/solo12_flat", ("--method.weight", "1")),
    "penalty_10": ("penalty 10", "penalty/solo12_flat", ("--method.weight", "10")),
    "ppo_lag": ("PPO-Lagrangian", "ppo_lag/solo12_flat", ()),
    "termination": ("hard termination", "cat/solo12_flat", CERTAIN),
}
"""Title, configuration and options. Style only: the other constraints are recorded, not enforced. Hard termination: any
violation ends value for certain."""
STYLE = {"air_time": "air time", "two_feet": "two-foot contact", "base_orientation": "base orientation"}


def run(quick: bool) -> None:
    """Train and judge what has no row yet, and draw. Quick: three arms, one seed, 300,000 steps."""
    if quick:
        some = [Job(f"quick_{arm}", ARMS[arm][1], 0, 300_000, ARMS[arm][2]) for arm in ("cat", "ppo", "penalty_1")]
        campaign(TOPIC, f"quick_{RAW}", RUNS, some, both_policies)
        return
    jobs = [Job(arm, config, seed, STEPS, options) for seed in SEEDS for arm, (_, config, options) in ARMS.items()]
    campaign(TOPIC, RAW, RUNS, jobs, both_policies)
    draw(folder(TOPIC) / PLOT)


def means(arm: str, key: str, policy: str = "deterministic") -> float:
    """Return the mean over seeds of a column, NaN without rows."""
    values = [float(row[f"{key}_{policy}"]) for row in of(arm)]
    return statistics.mean(values) if values else float("nan")


def of(arm: str) -> list[Row]:
    """Return the rows of an arm."""
    return [row for row in read_rows(TOPIC, RAW) if row["arm"] == arm]


def table() -> list[str]:
    """Return the lines of a Markdown table of the arms: means over seeds, deterministic policy."""
    columns = {
        "tracking, %": lambda arm: f"{100 * means(arm, 'tracking'):.0f}",
        "velocity error, m/s": lambda arm: f"{means(arm, 'velocity_error'):.2f}",
        "episodes with a fall, %": lambda arm: f"{100 * means(arm, 'fallen'):.1f}",
        "violated constraints per step": lambda arm: f"{means(arm, 'all'):.2f}",
        "of them soft": lambda arm: f"{sum(means(arm, name) for name in LIMITED):.3f}",
        "hard": lambda arm: f"{sum(means(arm, name) for name in HARD):.4f}",
        "style": lambda arm: f"{sum(means(arm, name) for name in STYLES):.3f}",
    }
    lines = ["| " + " | ".join(["", "seeds", *columns]) + " |", "|---|" + "---|" * (1 + len(columns))]
    for arm, (title, _, _) in ARMS.items():
        if of(arm):
            lines.append("| " + " | ".join([title, str(len(of(arm))), *(show(arm) for show in columns.values())]) + " |")
    return lines


def draw(path: Path) -> None:
    """Plot tracking against violations, a point per seed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for arm, (title, _, _) in ARMS.items():
        rows = of(arm)
        x = [float(row["all_deterministic"]) for row in rows]
        y = [100 * float(row["tracking_deterministic"]) for row in rows]
        axes.scatter(x, y, s=60 if arm == "cat" else 35, marker="*" if arm == "cat" else "o", label=title, zorder=3)
    axes.set_xscale("log")
    axes.set_xlabel("violated constraints per step, mean (14 constraints)")
    axes.set_ylabel("tracking reward, % of its maximum")
    axes.set_title("Solo-12 after 10 M steps: one point per seed, best at the upper left")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def claims() -> list[Claim]:
    """Return the claims that the raw rows support, of means over seeds with the deterministic policy."""
    if any({int(row["seed"]) for row in of(arm)} != set(SEEDS) for arm in ARMS):
        return []  # means over other seeds, or without an arm, would be another comparison
    seeds = list(SEEDS)

    def claim(name: str, text: str, target: str, measured: float, note: str) -> Claim:
        return Claim(f"solo12-{name}", f"Solo-12 after 10 M steps: {text}", target, measured, "1", "deterministic", seeds,
                     COMMAND, QUICK, 180, RAW, note)  # fmt: skip

    found: list[Any] = [
        claim(
            "pareto", "arms that both track better and violate less than CaT", "== 0",
            sum(means(arm, "tracking") >= means("cat", "tracking") and means(arm, "all") <= means("cat", "all")
                for arm in ARMS if arm not in ("cat", "cat_style")),
            "; ".join(f"{ARMS[arm][0]}: tracking {means(arm, 'tracking'):.1%}, violated constraints per step "
                      f"{means(arm, 'all'):.3f}" for arm in ARMS),
        )
    ]  # fmt: skip
    for name, title in STYLE.items():
        with_cat, without = means("cat", name), means("ppo", name)
        found.append(
            claim(f"style-{name.replace('_', '-')}", f"{title} violations without CaT over those with it", ">= 5",
                  without / max(with_cat, 1e-9), f"{title}: {without:.4f} without, {with_cat:.4f} with CaT")
        )  # fmt: skip
    other = means("ppo", "velocity_error")
    for arm, name, text in (
        ("cat", "style-price", "velocity error while up with CaT, all fourteen constraints, over that without"),
        ("cat_style", "style-alone-price", "velocity error while up with style constraints alone over that without"),
    ):
        falls = ", ".join(f"{ARMS[a][0]} {means(a, 'fallen'):.1%}" for a in (arm, "ppo"))
        note = (
            f"velocity error {means(arm, 'velocity_error'):.3f} m/s, {other:.3f} m/s without constraints; episodes that a fall "
            f"ended: {falls}; violations: " + ", ".join(f"{title} {means(arm, style):.4f}" for style, title in STYLE.items())
        )
        found.append(claim(name, text, "<= 1.3", means(arm, "velocity_error") / other, note))
    return found

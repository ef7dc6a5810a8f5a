"""ACS beside TD3, TD3-Lagrangian, a QP safety layer and USL's loop, on the half-cheetah with a limit on its speed."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from saferl.evaluation.rollout import play
from saferl.experiment.build import load_model, make_copies, predictor
from saferl.experiment.config import TrainConfig
from saferl.experiment.evaluate import changed
from saferl.experiment.run_folder import RunFolder

from benchmarks.campaign import Job, campaign
from benchmarks.evidence import Claim, Row, folder, read_rows

TOPIC = "acs"
RAW = "rows.csv"
COMMAND = "python scripts/benchmark.py acs"
QUICK = f"{COMMAND} --quick"
TASK, STEPS, SEEDS, EPISODES = "halfcheetah_velocity", 200_000, (0, 1, 2), 40
SPEED_LIMIT = 3.2096
WARMUP = 0.2
"""Part of the training that is left out of what trainings cost: no method has a critic to go by yet."""
EVAL_SEED = 12_345_000
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
    "heavier": {"env": {"disturbances": {"payload": 0.1}}},
    "slippery": {"env": {"disturbances": {"friction": 0.9}}},
    "grippy": {"env": {"disturbances": {"friction": 1.1}}},
    "noisy": {},
}
OBSERVATION_NOISE, ACTION_NOISE = 0.01, 0.1


def row(path: Path) -> dict[str, Any]:
    """Return what the last iterate does with and without its safeguard and under disturbances, and what training it cost."""
    run = RunFolder.open(path)
    config = run.config()
    model: Any = load_model(config, run.checkpoint("last"))
    found = {**_training(run.progress, config.total_timesteps)}
    found |= {f"{key}_on": value for key, value in _played(config, model).items()}
    for name, changes in ROBUST.items():
        found[f"rate_{name}"] = _played(changed(config, changes), model, noisy=name == "noisy")["rate"]
    if hasattr(model, "corrects"):
        model.corrects = False
    return found | {f"{key}_off": value for key, value in _played(config, model).items()}


def _played(config: TrainConfig, model: Any, noisy: bool = False) -> dict[str, float]:
    """Return return, mean speed and share of violating steps of the deterministic policy."""
    predict, rng = predictor(model, deterministic=True), np.random.default_rng(0)

    def disturbed(observation: Any) -> Any:
        actions = predict(observation + rng.normal(0.0, OBSERVATION_NOISE, observation.shape).astype(observation.dtype))
        return actions + rng.normal(0.0, ACTION_NOISE, actions.shape).astype(actions.dtype)

    copies = make_copies(config, EPISODES)
    episodes = play(copies, disturbed if noisy else predict, EVAL_SEED)
    copies.close()
    steps = int(episodes.lengths.sum())
    return {
        "return": round(float(episodes.returns.mean()), 2),
        "speed": round(float(episodes.terms["forward"].mean()), 4),
        "rate": round(float(episodes.violating_steps[:, 0].sum() / steps), 6),
    }


def _training(progress: Path, total: int) -> dict[str, float]:
    """Return violating steps of the training, all and after the warm-up, and means of its last tenth."""
    with progress.open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r.get("constraint/speed/violation_rate")]
    steps = np.array([float(r["time/total_timesteps"]) for r in rows])
    rates = np.array([float(r["constraint/speed/violation_rate"]) for r in rows])
    violating = rates * np.diff(steps, prepend=0.0)

    def late(key: str) -> float:
        values = [float(r[key]) for r, at in zip(rows, steps, strict=True) if r.get(key) and at > 0.9 * total]
        return round(statistics.mean(values), 5) if values else 0.0

    keys = ("intervention_rate", "infeasible_rate", "solve_ms")
    return {
        "violating": round(float(violating.sum()), 1),
        "violating_after_warmup": round(float(violating[steps > WARMUP * total].sum()), 1),
        "rate_late": round(float(rates[steps > 0.9 * total].mean()), 6),
        **{key: late(f"safeguard/{key}") for key in keys},
    }


def run(quick: bool) -> None:
    """Train and judge what has no row yet. Quick: TD3 and ACS, one seed, 20,000 steps."""
    runs = folder(TOPIC) / "runs"
    if quick:
        campaign(TOPIC, f"quick_{RAW}", runs, [_job(arm, 0, 20_000, "quick_") for arm in ("td3", "acs")], row)
        return
    campaign(TOPIC, RAW, runs, [_job(arm, seed, STEPS) for seed in SEEDS for arm in ARMS], row)


def _job(arm: str, seed: int, steps: int, prefix: str = "") -> Job:
    _, method, options = ARMS[arm]
    return Job(prefix + arm, f"{method}/{TASK}", seed, steps, options)


def claims() -> list[Claim]:
    """Return the claims that the raw rows support: means over seeds of the deterministic last iterate."""
    rows = {arm: [r for r in read_rows(TOPIC, RAW) if r["arm"] == arm] for arm in ARMS}
    whole = {arm: mine for arm, mine in rows.items() if sorted(int(r["seed"]) for r in mine) == list(SEEDS)}
    if len(whole) < len(ARMS):
        return []
    found: list[Claim] = []

    def claim(name: str, text: str, target: str, measured: float, unit: str, note: str) -> None:
        found.append(Claim(f"acs-{name}", f"HalfCheetah, {STEPS:,} steps: {text}", target, measured, unit, "deterministic",
                           list(SEEDS), COMMAND, QUICK, 60, RAW, note))  # fmt: skip

    for arm, (title, _, _) in ARMS.items():
        mine = whole[arm]
        target = ">= 60" if arm == "td3" else "<= 2" if arm in ("acs", "acs_ppo") else ">= 0"
        shown = "" if arm in ("td3", "acs", "acs_ppo") else " (reported, no target)"
        claim(f"{arm}-rate", f"{title}: violating steps{shown}", target, 100 * mean(mine, "rate_on"), "%", _note(title, mine))
    acs, usl, td3 = whole["acs"], whole["usl"], whole["td3"]
    claim("speed", "ACS: mean speed over the limit", ">= 0.85", mean(acs, "speed_on") / SPEED_LIMIT, "1", "")
    claim("return-usl", "ACS: return over that of USL's loop", ">= 0.95", ratio(acs, usl, "return_on"), "1", "")
    for other, least in (("td3", 0.05), ("qp_layer", 0.25)):
        text = f"violating steps of training after its first fifth, ACS's over those of {ARMS[other][0]}"
        claim(f"training-{other}", text, f"<= {least}", ratio(acs, whole[other], "violating_after_warmup"), "1", "")
    for arm in ("acs", "acs_0.2", "acs_0.05"):
        text = f"{ARMS[arm][0]}: calls of the safeguard that find nothing feasible, over those at alpha 1"
        claim(f"{arm}-infeasible", text, "< 1", ratio(whole[arm], whole["acs_1"], "infeasible_rate"), "1", "")
    worst = max(mean(acs, f"rate_{name}") for name in ROBUST)
    note = ", ".join(f"{name} {100 * mean(acs, f'rate_{name}'):.2f} %" for name in ROBUST)
    target = 2.0 * 100 * mean(acs, "rate_on")
    claim("robust", "ACS: violating steps under the worst disturbance", f"<= {target:.6g}", 100 * worst, "%", note)
    claim(
        "off", "ACS without its safeguard: violating steps (reported, no target)", ">= 0", 100 * mean(acs, "rate_off"), "%", ""
    )
    claim("td3-speed", "TD3: mean speed over the limit", "> 1", mean(td3, "speed_on") / SPEED_LIMIT, "1", "")
    return found


def mean(rows: list[Row], key: str) -> float:
    """Return a column's mean."""
    return statistics.mean(float(r[key]) for r in rows)


def ratio(rows: list[Row], others: list[Row], key: str) -> float:
    """Return a column's mean over that of other rows."""
    return mean(rows, key) / max(mean(others, key), 1e-9)


def _note(title: str, rows: list[Row]) -> str:
    def each(key: str, scale: float = 1.0, digits: int = 2) -> str:
        return ", ".join(f"{scale * float(r[key]):.{digits}f}" for r in rows)

    return (
        f"{title}, per seed: violating {each('rate_on', 100)} %, without its safeguard {each('rate_off', 100)} %; return "
        f"{each('return_on', 1, 0)}; speed {each('speed_on')} m/s; corrected {each('intervention_rate', 100, 1)} % and found "
        f"nothing feasible for {each('infeasible_rate', 100, 1)} % of the last tenth's steps; violating steps of training "
        f"{each('violating', 1, 0)}, after its first fifth {each('violating_after_warmup', 1, 0)}"
    )

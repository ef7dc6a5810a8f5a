"""One safeguard, from one YAML file, on policies of CaT and on policies that Stable-Baselines3 trained by itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.evidence import Claim, read_rows
from benchmarks.runs import call, missing

TOPIC = "composition"
RAW = "rows.csv"
COMMAND = "python scripts/benchmark.py composition"
QUICK = f"{COMMAND} --quick"
SEEDS = (0, 1, 2)
HERE = Path(__file__).parent / "composition_configs"
GUARD, THEIRS = HERE / "guard.yaml", HERE / "theirs.yaml"
ARMS = {"cat": "CaT's policies", "sb3": "policies of Stable-Baselines3's PPO, imported from its zip"}
STEPS, QUICK_STEPS, EPISODES = 100_000, 10_000, 100
ELSEWHERE = """
import sys, gymnasium, saferl_envs
from stable_baselines3 import PPO
model = PPO("MlpPolicy", gymnasium.make("saferl/CartPoleBalance-v0"), seed=int(sys.argv[1]), device="cpu")
model.learn(int(sys.argv[2]))
model.save(sys.argv[3])
"""
"""A training in which nothing but the environment is of this suite."""


def run(quick: bool) -> None:
    """Train both kinds of policies, evaluate each with the file and with its limits alone. Quick: one seed, 10,000 steps."""
    steps = QUICK_STEPS if quick else STEPS
    jobs = [(arm, seed) for seed in (SEEDS[:1] if quick else SEEDS) for arm in ARMS]
    missing(TOPIC, f"quick_{RAW}" if quick else RAW, jobs, lambda arm, seed: _row(arm, seed, steps))


def _row(arm: str, seed: int, steps: int) -> dict[str, Any]:
    cli = [sys.executable, "-m", "saferl.cli"]
    with TemporaryDirectory() as root:
        path, zipped = Path(root) / "run", Path(root) / "theirs.zip"
        if arm == "cat":
            quiet = ["--quiet", "--threads", "1", "--video.seconds", "0", "--evaluation.times", "0"]
            own = ["--seed", str(seed), "--total-timesteps", str(steps), "--run-dir", str(path)]
            call([*cli, "train", "cat/cartpole_balance", *own, *quiet])
        else:
            call([sys.executable, "-c", ELSEWHERE, str(seed), str(steps), str(zipped)])
            call([*cli, "import", str(THEIRS), str(zipped), "--run-dir", str(path)])
        row: dict[str, Any] = {"config": arm, "seed": seed, "steps": steps}
        for name, options in (("guarded", ()), ("free", ("--safeguard", "null"))):
            common = ["evaluate", str(path), "--episodes", str(EPISODES), "--checkpoint", "last", "--changes", str(GUARD)]
            call([*cli, *common, *options])
            report = json.loads((path / "report_changed.json").read_text())
            for policy in ("deterministic", "stochastic"):
                found = report[policy]
                row[f"violating_{name}_{policy}"] = found["any_violation_rate"]
                row[f"return_{name}_{policy}"] = round(found["return_mean"], 4)
                if name == "guarded":
                    row[f"corrected_{policy}"] = found["task"]["safeguard/intervention_rate"]
        return {**row, "commit": report["commit"]}


def claims() -> list[Claim]:
    """Return the claims that the raw rows support: the worst seed's."""
    rows, found = read_rows(TOPIC, RAW), []
    for arm, title in ARMS.items():
        mine = [row for row in rows if row["config"] == arm]
        if len(mine) < len(SEEDS):
            continue
        for policy in ("deterministic", "stochastic"):

            def each(key: str, scale: float = 100.0, mine: Any = mine, policy: str = policy) -> str:
                return ", ".join(f"{scale * float(row[f'{key}_{policy}']):.3g}" for row in mine)

            note = (
                f"{title}, {policy}, per seed: corrected {each('corrected')} % of actions; violating "
                f"{each('violating_guarded')} %, without the safeguard {each('violating_free')} %; return "
                f"{each('return_guarded', 1.0)}, without {each('return_free', 1.0)}"
            )
            for name, text, target in (
                ("guarded", "behind the safeguard of one file", "<= 0"),
                ("free", "under that file's limits without its safeguard", "> 0"),
            ):
                worst = max(float(row[f"violating_{name}_{policy}"]) for row in mine)
                said = f"cart-pole, {title} {text}: violating steps, worst seed"
                found.append(
                    Claim(f"composition-{arm}-{policy}-{name}", said, target, 100 * worst, "%", policy, list(SEEDS),
                          COMMAND, QUICK, 5, RAW, note)
                )  # fmt: skip
    return found

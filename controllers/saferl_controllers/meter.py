"""What a safeguard did since it was last asked: how often it corrected, how far, on which rungs, and how long it took."""

from __future__ import annotations

from typing import Any

from saferl_controllers.safeguard import Safeguarded
from saferl_envs.signals import FloatArray


class SafeguardMeter:
    """Sums over steps of what a safeguard did, for logs.

    Args:
        rungs: Of its fallback ladder; told only where there are several.
    """

    def __init__(self, rungs: int) -> None:
        self._rungs = rungs
        self._sums: dict[str, float] = {}
        self._actions = self._calls = 0

    def add(self, found: Safeguarded, moved: FloatArray, seconds: float, which: Any) -> None:
        """Note what became of the copies `which`, whose actions were moved by (N,), and how long all of it took."""
        sums = {
            "intervention_rate": found.intervened[which].sum(),
            "correction": moved[which].sum(),
            "infeasible_rate": (~found.feasible[which]).sum(),
            "verified_rate": found.verified[which].sum(),
            "slack": found.slack[which].sum(),
        }
        if self._rungs > 1:
            sums |= {f"rung_{k}": (found.rung[which] == k).sum() for k in range(self._rungs)}
        for key, value in sums.items():
            self._sums[key] = self._sums.get(key, 0.0) + float(value)
        self._sums["solve_ms"] = self._sums.get("solve_ms", 0.0) + 1e3 * seconds
        self._actions += len(moved[which])
        self._calls += 1

    def take(self) -> dict[str, float]:
        """Return means over actions (``solve_ms``: over calls, each of all copies), and begin anew."""
        means = {
            f"safeguard/{key}": total / (self._calls if key == "solve_ms" else max(self._actions, 1))
            for key, total in self._sums.items()
        }
        self._sums, self._actions, self._calls = {}, 0, 0
        return means

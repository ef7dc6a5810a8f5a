"""Velocity commands for legged robots: drawn, resampled and turned over at random, as in the CaT release.

Chane-Sane et al. 2024, released code: each component uniform in a range; zero where every component is small; resampled with
a probability per step that is larger while standing; the sign of the turning rate flips now and then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from saferl_envs.noise import Noise
from saferl_envs.signals import FloatArray, SignalInfo

COMMAND = SignalInfo(("vx", "vy", "yaw_rate"), "m/s, m/s, rad/s")


@dataclass(frozen=True)
class Commands:
    """How commands (vx, vy, yaw rate) in the base's frame are drawn.

    Attributes:
        low: Lower bounds, m/s, m/s and rad/s.
        high: Upper bounds.
        deadzone: A command none of whose components is larger becomes zero: stand.
        period: Mean seconds between resampling while walking, and between flips of the turning rate's sign.
        standing_probability: Probability per step of resampling while standing.
    """

    low: tuple[float, float, float] = (-0.3, -0.7, -0.78)
    high: tuple[float, float, float] = (1.0, 0.7, 0.78)
    deadzone: float = 0.1
    period: float = 10.0
    standing_probability: float = 0.01

    def draw(self, noise: Noise) -> FloatArray:
        """Return new commands (n, 3)."""
        return self._stand(noise.uniform("command", 3, self.low, self.high))

    def _stand(self, command: FloatArray) -> FloatArray:
        command[(np.abs(command) <= self.deadzone).all(axis=1)] = 0.0
        return command

    def grid(self, shape: tuple[int, int, int], noise: Noise) -> FloatArray:
        """Return commands (n, 3) of a regular grid over the ranges, bounds included; a single point of an axis is zero.

        As with drawn commands, those within the dead zone become zero.

        Copies with successive seeds get its points in turn, so that as many of them as there are points cover all.
        """
        ranges = zip(self.low, self.high, shape, strict=True)
        axes = [np.linspace(low, high, count) if count > 1 else np.zeros(1) for low, high, count in ranges]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        chosen: FloatArray = points[(noise.seeds % np.uint64(len(points))).astype(np.intp)]
        return self._stand(chosen)

    def go_on(self, command: FloatArray, noise: Noise, timestep: float) -> FloatArray:
        """Return the commands (n, 3) of the next step, given those of this one."""
        rate = timestep / self.period
        standing = ~command.any(axis=1)
        resampled, flipped = noise.uniform("command_changes", 2).T
        out = command.copy()
        out[flipped < rate, 2] *= -1.0
        chosen = resampled < np.where(standing, self.standing_probability, rate)
        if chosen.any():
            out[chosen] = self.draw(noise)[chosen]
        return out

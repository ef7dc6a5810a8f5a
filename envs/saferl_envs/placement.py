"""Random places for things on a floor that keep clear of each other, for all copies at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from saferl_envs.noise import Noise
from saferl_envs.signals import FloatArray

TRIES = 100
"""Candidates per thing. Safety-Gymnasium begins anew where one does not fit; here the freest of its candidates is taken."""


def place(
    noise: Noise, name: str, number: int, extent: float, keepout: float, taken: Sequence[tuple[FloatArray, float]] = ()
) -> FloatArray:
    """Return positions (n, number, 2) in the square of half-width `extent`, less `keepout` at its edge, m.

    Each is the first of its candidates that is at least the sum of both keep-outs away from all that have their place.

    Args:
        noise: Of the n copies.
        name: Of the draws.
        number: How many to place.
        extent: Half the width of the floor, m.
        keepout: Radius that others of them and what is `taken` keep clear of, m.
        taken: What has its place: positions (n, k, 2) and their keep-out.
    """
    edge = max(extent - keepout, 0.0)
    placed = np.empty((noise.n, number, 2))
    copies = np.arange(noise.n)
    for i in range(number):
        tried = noise.uniform(f"{name}/{i}", 2 * TRIES, -edge, edge).reshape(noise.n, TRIES, 2)
        room = np.full((noise.n, TRIES), np.inf)
        for others, clear in (*taken, (placed[:, :i], keepout)):
            for k in range(others.shape[1]):
                away = np.hypot(tried[..., 0] - others[:, k, :1], tried[..., 1] - others[:, k, 1:])
                np.minimum(room, away - clear - keepout, out=room)
        fits = room >= 0.0
        chosen = np.where(fits.any(axis=1), fits.argmax(axis=1), room.argmax(axis=1))
        placed[:, i] = tried[copies, chosen]
    return placed

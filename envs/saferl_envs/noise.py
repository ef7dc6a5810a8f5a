"""Counter-based random numbers: a pure function of (seed, episode, step, name), vectorised over copies.

No generator state exists. Copy i of 256 draws the same bits as one environment with its seed, draws of different names do
not depend on the order in which they are asked for, and a resumed run continues exactly. The bits come from the SplitMix64
finaliser (Steele, Lea and Flood 2014) applied along the key; passes are chained so that each counter changes every bit.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saferl_envs.errors import TaskError
from saferl_envs.signals import FloatArray

UInt64Array = NDArray[np.uint64]


def as_seeds(seeds: ArrayLike) -> UInt64Array:
    """Return seeds as numbers of 64 bits.

    Raises:
        TaskError: One is negative, no whole number, or has more than 64 bits.
    """
    try:
        found, given = np.array(seeds, np.uint64), np.asarray(seeds)
        valid = not ((given < 0) | (given % 1 != 0)).any()
    except (OverflowError, TypeError, ValueError):
        valid = False
    if not valid:
        raise TaskError(f"seeds must be whole numbers from 0 to 2**64 - 1, got {seeds!r}")
    return found


_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


def _mix(z: UInt64Array) -> UInt64Array:
    """SplitMix64's finaliser, a bijection of 64-bit words; `z` must be a fresh array, which is overwritten."""
    z ^= z >> _S30
    z *= _M1
    z ^= z >> _S27
    z *= _M2
    z ^= z >> _S31
    return z


@lru_cache(maxsize=256)
def _name_key(name: str) -> np.uint64:
    """Return a 64-bit key of a draw's name, the same on every machine and in every process."""
    return np.uint64(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little"))


class Noise:
    """Random numbers for n copies at one moment of each.

    Args:
        seeds: (n,) seed of each copy.
        episodes: (n,) number of episodes each copy has begun since it was seeded.
        steps: (n,) control steps since each copy's episode began.

    Attributes:
        seeds: As given.
        n: Number of copies.
    """

    def __init__(self, seeds: ArrayLike, episodes: ArrayLike, steps: ArrayLike) -> None:
        with np.errstate(over="ignore"):
            key = _mix(np.asarray(seeds, np.uint64) + _GAMMA)
            key = _mix(key + _GAMMA * (np.asarray(episodes).astype(np.uint64) + np.uint64(1)))
            self._key = _mix(key + _GAMMA * (np.asarray(steps).astype(np.uint64) + np.uint64(1)))
        self.seeds: UInt64Array = np.asarray(seeds, np.uint64)
        self.n = self._key.shape[0]

    def rows(self, ids: NDArray[np.intp]) -> Noise:
        """Return the noise of some of the copies: what it draws are rows of what all draw."""
        some = object.__new__(Noise)
        some._key, some.seeds, some.n = self._key[ids], self.seeds[ids], len(ids)
        return some

    def bits(self, name: str, d: int) -> UInt64Array:
        """Return (n, d) independent 64-bit words of the draw called `name`."""
        with np.errstate(over="ignore"):
            stream = _mix(self._key ^ _name_key(name))
            columns = np.arange(1, d + 1, dtype=np.uint64) * _GAMMA
            return _mix(stream[:, np.newaxis] + columns)

    def uniform(self, name: str, d: int, low: ArrayLike = 0.0, high: ArrayLike = 1.0) -> FloatArray:
        """Return (n, d) numbers uniform in [low, high); bounds broadcast over the d columns."""
        unit = (self.bits(name, d) >> _S11).astype(np.float64) * 2.0**-53
        low = np.asarray(low, np.float64)
        drawn: FloatArray = low + (np.asarray(high, np.float64) - low) * unit
        return drawn

    def normal(self, name: str, d: int, scale: ArrayLike = 1.0) -> FloatArray:
        """Return (n, d) normal numbers with mean 0 and the given standard deviation (Box-Muller)."""
        unit = ((self.bits(name, 2 * d) >> _S11).astype(np.float64) + 0.5) * 2.0**-53
        radius = np.sqrt(-2.0 * np.log(unit[:, :d]))
        drawn: FloatArray = np.asarray(scale, np.float64) * (radius * np.cos(2.0 * np.pi * unit[:, d:]))
        return drawn

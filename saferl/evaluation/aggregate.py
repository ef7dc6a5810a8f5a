"""Statistics over runs: interquartile mean, stratified bootstrap, probability of improvement, feasible-first order.

Source of the first three: Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice",
arXiv 2108.13264, sections 4.1 and 4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Interval = tuple[float, float]
Statistic = Callable[[Sequence[Array]], Array]
"""Strata (..., n_t) to one number each (...): leading axes are resamples."""
LEVEL = 0.95
EQUAL_WITHIN = 0.05
"""An equality holds within this share of its bound."""


@dataclass(frozen=True)
class Requirement:
    """What a constraint asks of a policy: a bound on its mean episode cost, or on the share of steps that violate it.

    Attributes:
        name: Name of the constraint.
        measure: ``"cost"`` where the constraint has a cost limit, else ``"rate"``.
        bound: Cost per episode, or share of steps.
        sense: ``"<="``, ``">="`` or ``"=="``.
    """

    name: str
    measure: str
    bound: float
    sense: str = "<="

    @property
    def column(self) -> str:
        """The name of the measured number in tables: ``cost_speed``."""
        return f"{self.measure}_{self.name}"

    def excess(self, values: Any) -> Array:
        """Return by how much values (...) miss the bound, relative to it; ``<= 0`` holds."""
        return excess(values, self.bound, self.sense, floor=1.0 if self.measure == "cost" else 1e-3)


def excess(values: Any, bound: float, sense: str, floor: float = 1.0) -> Array:
    """Return by how much values (...) miss a bound, relative to ``max(|bound|, floor)``; ``<= 0`` holds.

    An equality holds within 5 % of its bound.
    """
    scale = max(abs(bound), floor)
    difference = (np.asarray(values, np.float64) - bound) / scale
    if sense == "==":
        return np.asarray(np.abs(difference) - EQUAL_WITHIN * abs(bound) / scale)
    return np.asarray(difference if sense == "<=" else -difference)


def iqm(samples: Any) -> Array:
    """Return the interquartile mean (...) of samples (..., n): the mean without the lowest and the highest quarter.

    Of n samples floor(n / 4) are left out at either end, so for fewer than four it is the mean.
    """
    ordered = np.sort(np.asarray(samples, np.float64), axis=-1)
    cut = ordered.shape[-1] // 4
    return np.asarray(ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1))


def pooled_iqm(strata: Sequence[Array]) -> Array:
    """Return the interquartile mean (...) over all runs of all strata (..., n_t), every run counting once."""
    return iqm(np.concatenate(list(strata), axis=-1))


def pooled_mean(strata: Sequence[Array]) -> Array:
    """Return the mean (...) over all runs of all strata (..., n_t)."""
    return np.asarray(np.concatenate(list(strata), axis=-1).mean(axis=-1))


def bootstrap(strata: Sequence[Any], statistic: Statistic, seed: int = 0, resamples: int = 2000) -> Interval | None:
    """Return the stratified percentile bootstrap interval (95 %) of a statistic.

    Runs are drawn again with replacement inside every stratum, never across (Agarwal et al. 2021, section 4.1).

    Args:
        strata: Per task, or per task and method, the runs' scores (n_t,).
        statistic: Strata (R, n_t) to (R,).
        seed: Seed of the resampling; the same samples give the same interval.
        resamples: R.

    Returns:
        The interval, or None where no stratum holds two runs: resampling one run says nothing.
    """
    arrays = [np.asarray(stratum, np.float64) for stratum in strata]
    if max((len(a) for a in arrays), default=0) < 2:
        return None
    rng = np.random.default_rng(seed)
    drawn = [a[rng.integers(0, len(a), (resamples, len(a)))] for a in arrays]
    low, high = np.quantile(statistic(drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def improvement(x: Sequence[Array], y: Sequence[Array]) -> Array:
    """Return the probability of improvement P(X > Y) (...) of runs x over runs y, per task (..., n_t) and (..., m_t).

    ``1/M sum_m 1/(n m) sum_i sum_j S(x_mi, y_mj)``, S = 1 if x is larger, 1/2 if equal, else 0: the mean over tasks of
    Mann and Whitney's U / (n m) (Agarwal et al. 2021, section 4.3).
    """
    per_task = []
    for ours, theirs in zip(x, y, strict=True):
        a, b = np.asarray(ours)[..., :, np.newaxis], np.asarray(theirs)[..., np.newaxis, :]
        per_task.append(np.mean(a > b, axis=(-2, -1)) + 0.5 * np.mean(a == b, axis=(-2, -1)))
    return np.asarray(np.mean(per_task, axis=0))


def improvement_interval(x: Sequence[Array], y: Sequence[Array], seed: int = 0, resamples: int = 2000) -> Interval | None:
    """Return the stratified bootstrap interval (95 %) of `improvement`; strata are the tasks of either side."""
    return bootstrap([*x, *y], lambda strata: improvement(strata[: len(x)], strata[len(x) :]), seed, resamples)


def feasible_first(returns: Any, excesses: Any) -> Array:
    """Return ranks (n,), larger is better, equal where nothing tells two apart: the order in which everything is compared.

    A feasible one (excess ``<= 0``) beats every infeasible one; among feasible ones the return decides, among infeasible
    ones the smaller excess.
    """
    missed = np.asarray(excesses, np.float64)
    holds = missed <= 0
    keys = np.stack([holds.astype(np.float64), np.where(holds, np.asarray(returns, np.float64), -missed)], axis=-1)
    _, ranks = np.unique(keys, axis=0, return_inverse=True)  # rows in lexicographic order
    return np.asarray(ranks).reshape(-1)


def normalise(returns: Any, one: float) -> Array:
    """Return normalised returns (...): 1 at the return `one`, and larger is better whatever its sign.

    ``1 + (return - one) / |one|``, which is the ratio where `one` is positive; `one` must not be zero.
    """
    return np.asarray(1 + (np.asarray(returns, np.float64) - one) / abs(one))

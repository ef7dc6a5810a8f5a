"""Which cost limits make sense: from the episode costs of a few policies to the range of limits that bind.

Two costs bound that range. A limit that an unconstrained policy keeps anyway changes nothing; a limit that not even the most
careful policy keeps cannot be met by any policy that was found. Everything here speaks of policies that were found with a
given budget: another training may find a more careful one, or a bolder one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from saferl.evaluation.statistics import bootstrap_interval
from saferl_envs.constraints.base import Sense

Array = np.ndarray[Any, Any]
Pattern = Literal["never", "always", "sometimes"]
Status = Literal["clear", "unclear", "empty"]

FREE, CAREFUL = "unconstrained", "careful"
QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
FRACTIONS = {"strict": 0.02, "medium": 0.08, "loose": 0.30}
"""How far a suggested limit lies on the way from the most careful to the unconstrained cost: each about four times the one
before, since methods differ most where little is allowed. Published velocity benchmarks ask 25 of at most 1000: 2.5 %."""
KNOWN_SHARE = 0.5
"""Limits are suggested where at least this share of the way between two costs lies outside of both their intervals."""
DRIFT = 0.1
"""A cost that changes by more than this share from one tenth of the training to the next has not settled."""


@dataclass(frozen=True)
class Sample:
    """What E episodes of one policy said of one constraint.

    Attributes:
        policy: Name of the policy.
        costs: (E,) the episode's aggregated cost.
        quantity: (E,) the constrained quantity's worst value, in the constraint's unit.
        violated: (E,) share of the episode's steps above zero.
        curve: (R,) mean cost per step of each rollout while it was trained, in order; empty where it was not.
    """

    policy: str
    costs: Array
    quantity: Array
    violated: Array
    curve: Array = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Distribution:
    """Numbers of several episodes.

    Attributes:
        mean: Their mean.
        interval: Its 95 % bootstrap interval over these episodes.
        quantiles: At `QUANTILES`.
        episodes: How many there are.
        left_out: How many more were not finite.
    """

    mean: float
    interval: tuple[float, float]
    quantiles: tuple[float, ...]
    episodes: int
    left_out: int


@dataclass(frozen=True)
class Drift:
    """A cost that was still changing when training ended: its mean per step in the last tenth but one and in the last."""

    before: float
    after: float


@dataclass(frozen=True)
class End:
    """One end of a range: a policy, its mean cost per episode, the 95 % interval of that, and whether it was still changing."""

    policy: str
    cost: float
    interval: tuple[float, float]
    drift: Drift | None = None


@dataclass(frozen=True)
class Range:
    """The costs that policies were found to have.

    Attributes:
        sense: How the cost is compared with a limit.
        least: The least mean cost of any policy.
        greatest: The greatest.
        free: That of the unconstrained policy as it was trained, with its noise.
    """

    sense: Sense
    least: End
    greatest: End
    free: End

    @property
    def careful(self) -> End:
        """The end that is hardest to reach: least cost, greatest cost for ``>=``, farthest from the free one for ``==``."""
        if self.sense == "==":
            return max(self.least, self.greatest, key=lambda end: abs(end.cost - self.free.cost))
        return self.least if self.sense == "<=" else self.greatest

    @property
    def status(self) -> Status:
        """Whether limits bind between `careful` and `free`; ``unclear`` where their intervals fill most of the way."""
        if self.careful.cost == self.free.cost:
            return "empty"
        low, high = sorted((self.careful, self.free), key=lambda end: end.cost)
        return "clear" if high.interval[0] - low.interval[1] > KNOWN_SHARE * (high.cost - low.cost) else "unclear"


def distribution(numbers: Array) -> Distribution | None:
    """Return the distribution of numbers (E,), or None where none is finite."""
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        return None
    quantiles = tuple(float(q) for q in np.quantile(finite, QUANTILES))
    left_out = len(numbers) - len(finite)
    return Distribution(float(finite.mean()), bootstrap_interval(finite), quantiles, len(finite), left_out)


def drift_of(curve: Array) -> Drift | None:
    """Return how a cost was still changing when training ended, from the curve (R,) of a `Sample`; None if it had settled."""
    tenth = len(curve) // 10
    if not tenth:
        return None
    before, after = float(curve[-2 * tenth : -tenth].mean()), float(curve[-tenth:].mean())
    return Drift(before, after) if abs(after - before) > DRIFT * max(abs(before), abs(after)) else None


def find_range(sense: Sense, costs: Mapping[str, Distribution], drifts: Mapping[str, Drift | None]) -> Range | None:
    """Return the range of mean costs of policies by name, or None without an unconstrained one."""
    if FREE not in costs:
        return None
    ends = {name: End(name, found.mean, found.interval, drifts.get(name)) for name, found in costs.items()}
    # of several policies at the same end, name the one that was trained to be there
    least = min(ends.values(), key=lambda end: (end.cost, end.policy != CAREFUL))
    greatest = max(ends.values(), key=lambda end: (end.cost, end.policy == CAREFUL))
    return Range(sense, least, greatest, ends[FREE])


def suggest(found: Range) -> dict[str, float]:
    """Return a strict, a medium and a loose cost limit; none where the range is not clear.

    They lie `FRACTIONS` of the way from the most careful to the unconstrained cost, from the near bound of one's interval to
    the near bound of the other's: the verdict on each is binding, and certain. Each is rounded to two significant digits of
    its distance from where the way begins.
    """
    if found.status != "clear":
        return {}
    upwards = found.free.cost > found.careful.cost
    start = found.careful.interval[1 if upwards else 0]
    way = found.free.interval[0 if upwards else 1] - start
    return {name: _rounded(start, fraction * way) for name, fraction in FRACTIONS.items()}


def _rounded(start: float, step: float) -> float:
    return round(start + step, 1 - math.floor(math.log10(abs(step))))


def pattern_of(samples: Sequence[Sample]) -> Pattern:
    """Return whether a constraint is violated on no step of any policy, on every step of all, or on some."""
    shares = np.concatenate([sample.violated for sample in samples])
    if (shares == 0).all():
        return "never"
    return "always" if (shares == 1).all() else "sometimes"


def policy_name(policy: str) -> str:
    """Return a policy's name as it stands in tables."""
    return policy.replace("_deterministic", ", no noise")


def the_policy(policy: str) -> str:
    """Return a policy's name as it stands in sentences."""
    name, separator, _ = policy.partition("_")
    return f"the {name} policy{' without exploration noise' if separator else ''}"


def number(value: float) -> str:
    """Return a number in about three digits: 612, 24.8, 0.00213."""
    if abs(value) < 100:
        return f"{value + 0.0:.3g}"
    return f"{value:.0f}" if abs(value) < 1e7 else f"{value:.3g}"

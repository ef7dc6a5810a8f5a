"""What is to be thought of a cost limit: infeasible, binding or trivial, why, and how sure that is."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

from saferl.evaluation.calibration import Drift, Range, number, the_policy
from saferl_envs.constraints import Constraint
from saferl_envs.constraints.base import Sense

Verdict = Literal["infeasible", "binding", "trivial"]
Bounds = tuple[float, float]

EQUALITY_TOLERANCE = 0.05
"""An equality holds within this share of its limit, as in `saferl.evaluation.statistics`."""


@dataclass(frozen=True)
class Judgement:
    """What is to be thought of a cost limit.

    Attributes:
        limit: The cost limit.
        source: Where it comes from.
        verdict: ``infeasible``, ``binding`` or ``trivial``, by the mean costs.
        certain: Whether the verdict is the same anywhere within the costs' intervals, and the cost that it rests on was not
            still moving towards the limit when training ended; or whether it holds for any policy whatever.
        reason: Why.
    """

    limit: float
    source: str
    verdict: Verdict
    certain: bool
    reason: str


def cost_bounds(constraint: Constraint, steps: float, gamma: float) -> Bounds:
    """Return between what numbers the aggregated cost of an episode of at most `steps` steps must lie.

    Args:
        constraint: Says how a step's cost is made, and the episode's of it.
        steps: Length of the longest episode.
        gamma: Discount of costs whose aggregate is ``discounted``.
    """
    if constraint.cost != "indicator":
        return (-math.inf if constraint.cost == "signed" else 0.0), math.inf
    discounted = steps if gamma == 1 else (1.0 - gamma**steps) / (1.0 - gamma)
    return 0.0, {"sum": float(steps), "mean": 1.0, "discounted": discounted}[constraint.aggregate]


def judge(limit: float, source: str, found: Range, bounds: Bounds = (-math.inf, math.inf)) -> Judgement:
    """Return what is to be thought of a cost limit.

    Args:
        limit: The cost limit, in the constraint's sense.
        source: Where it comes from, for the reader.
        found: The costs found.
        bounds: Between what numbers any policy's cost must lie, as `cost_bounds` returns them.
    """
    ends = (found.least, found.greatest, found.free)
    verdict = _verdict(found.sense, limit, *(end.cost for end in ends))
    reason, proof = _reason(limit, verdict, found), _proof(found.sense, limit, verdict, bounds)
    if proof:
        return Judgement(limit, source, verdict, True, f"{reason}; and {proof}")
    doubts = []
    elsewhere = {_verdict(found.sense, limit, *costs) for costs in itertools.product(*(end.interval for end in ends))}
    if elsewhere != {verdict}:
        doubts.append("it lies within the 95 % interval of a cost it is compared with")
    rests_on = {"trivial": found.free, "infeasible": found.careful}.get(verdict)
    if rests_on is not None and rests_on.drift is not None and _leaves(found.sense, verdict, rests_on.drift):
        doubts.append("that cost was still changing when training ended")
    if doubts:
        reason += f"; this is not certain, since {' and '.join(doubts)}"
    return Judgement(limit, source, verdict, not doubts, reason)


def _proof(sense: Sense, limit: float, verdict: Verdict, bounds: Bounds) -> str | None:
    """Return why a verdict holds for any policy whatever, or None where it does not."""
    least, most = bounds
    says_least, says_most = f"this cost is never below {number(least)}", f"this cost is never above {number(most)}"
    below, above = limit < least, limit > most
    known: dict[tuple[Sense, Verdict], tuple[bool, str]] = {
        ("<=", "infeasible"): (below, says_least),
        ("<=", "trivial"): (limit >= most, says_most),
        (">=", "infeasible"): (above, says_most),
        (">=", "trivial"): (limit <= least, says_least),
        ("==", "infeasible"): (below or above, says_least if below else says_most),
    }
    applies, words = known.get((sense, verdict), (False, ""))
    return words if applies else None


def _leaves(sense: Sense, verdict: Verdict, drift: Drift) -> bool:
    """Return whether a cost was on the way to where a verdict that rests on it would be another."""
    if sense == "==":
        return True
    rising = drift.after > drift.before
    return rising == ((sense == "<=") == (verdict == "trivial"))


def _verdict(sense: Sense, limit: float, least: float, greatest: float, free: float) -> Verdict:
    """Classify a limit by what the unconstrained policy costs and what others reach."""
    if holds(sense, free, limit):
        return "trivial"
    if sense == "==":
        tolerance = EQUALITY_TOLERANCE * abs(limit)
        reached = least - tolerance <= limit <= greatest + tolerance
    else:
        reached = holds(sense, least if sense == "<=" else greatest, limit)
    return "binding" if reached else "infeasible"


def holds(sense: Sense, cost: float, limit: float) -> bool:
    """Return whether a mean cost is what a cost limit asks for."""
    if sense == "==":
        return abs(cost - limit) <= EQUALITY_TOLERANCE * abs(limit)
    return cost <= limit if sense == "<=" else cost >= limit


def _reason(limit: float, verdict: Verdict, found: Range) -> str:
    free, careful = found.free.cost, found.careful
    policy = the_policy(careful.policy)
    if verdict == "trivial":
        where = {"<=": "not below", ">=": "not above", "==": "within 5 % of"}[found.sense]
        return f"it is {where} {number(free)}, what the unconstrained policy costs: it changes nothing"
    if verdict == "binding":
        if found.sense == "==":
            return f"it lies within the costs found, {number(found.least.cost)} to {number(found.greatest.cost)}"
        share = (limit - careful.cost) / (free - careful.cost)
        return (
            f"it lies {100 * share:.2g} % of the way from {number(careful.cost)}, the cost of {policy}, "
            f"to {number(free)}, that of the unconstrained one"
        )
    if found.sense == "==":
        return f"no policy found costs so; they cost from {number(found.least.cost)} to {number(found.greatest.cost)}"
    side, most = ("below", "least") if found.sense == "<=" else ("above", "most")
    return f"it is {side} {number(careful.cost)}, the {most} that any policy found costs ({policy})"

"""What a calibration says in sentences: the range of limits that bind, and what the reader should know before believing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from saferl.evaluation.calibration import (
    FREE,
    Distribution,
    End,
    Pattern,
    Range,
    Sample,
    distribution,
    number,
    policy_name,
    the_policy,
)
from saferl.evaluation.calibration_verdict import Judgement, holds
from saferl_envs.constraints import Constraint

SHORT = 0.5
"""A policy whose episodes last less than this share of another's may be saving cost by ending them."""

NOISE_SHARE = 0.02
"""Exploration noise that costs more than this share of the range is worth a sentence."""
UNCLEAR = (
    "The intervals of these two overlap or nearly do: so many episodes cannot tell which limits bind, so none is suggested. "
    "More --episodes would tell, or more --steps."
)


def range_words(found: Range) -> str:
    """Return which cost limits bind, and why."""
    if found.sense == "==":
        return _equality_words(found)
    less, most, beyond, onwards = (
        ("less", "most careful policy found", "or above", "from there on up")
        if found.sense == "<="
        else ("more", "policy found with the greatest cost", "or below", "from there on down")
    )
    if found.status == "empty":
        return (
            f"The unconstrained policy costs {number(found.free.cost)} per episode and no policy found costs {less}: a limit "
            f"of that {beyond} changes nothing, and any other was met by no policy found."
        )
    said = (
        f"The unconstrained policy costs {_with_interval(found.free)} per episode, so a limit of that {beyond} changes "
        f"nothing; the {most} ({policy_name(found.careful.policy)}) costs {_with_interval(found.careful)}, so any limit "
        f"{onwards} can be met."
    )
    if found.status == "unclear":
        return f"{said} {UNCLEAR}"
    low, high = sorted((found.careful.cost, found.free.cost))
    return f"{said} Limits between {number(low)} and {number(high)} bind."


def _equality_words(found: Range) -> str:
    least, greatest, free = (number(end.cost) for end in (found.least, found.greatest, found.free))
    if found.least.cost == found.greatest.cost:
        return f"Every policy found costs {free} per episode: a limit of that changes nothing, and no other was met."
    said = (
        f"The policies found cost from {least} ({policy_name(found.least.policy)}) to {greatest} "
        f"({policy_name(found.greatest.policy)}) per episode, and a mixture of two policies costs anything in between; the "
        f"unconstrained one costs {free}, so a limit within 5 % of that changes nothing. Other limits between {least} and "
        f"{greatest} bind."
    )
    return f"{said} {UNCLEAR}" if found.status == "unclear" else said


def pattern_words(pattern: Pattern) -> list[str]:
    """Return a sentence for a constraint that is never violated, or always."""
    if pattern == "sometimes":
        return []
    when = (
        "never violated: on no step of any episode" if pattern == "never" else "always violated: on every step of all episodes"
    )
    return [f"This constraint was {when}, by every policy played."]


def noise_words(found: Range, costs: Mapping[str, Distribution], judgements: Sequence[Judgement]) -> list[str]:
    """Return a sentence for each limit on which the unconstrained policy's exploration noise decides."""
    calm = costs.get(f"{FREE}_deterministic")
    if calm is None:
        return []
    words = []
    for judged in judgements:
        kept = holds(found.sense, calm.mean, judged.limit)
        if kept != (judged.verdict == "trivial"):
            words.append(
                f"Without exploration noise the unconstrained policy costs {number(calm.mean)}, which "
                f"{'keeps' if kept else 'does not keep'} a limit of {judged.limit:g}."
            )
    return words


def left_out_words(costs: Mapping[str, Distribution]) -> list[str]:
    """Return a sentence for each policy some of whose episodes have a cost that is no finite number."""
    return [
        f"{found.left_out} of {found.left_out + found.episodes} episodes of {the_policy(policy)} are left out: "
        "their cost is not finite."
        for policy, found in costs.items()
        if found.left_out
    ]


def limit_advice(constraint: Constraint, samples: Sequence[Sample], pattern: Pattern) -> str | None:
    """Return where the limit inside g would have to be for the constraint to matter, in words; None where it may stay.

    From quantiles of the constrained quantity's worst value per episode: a limit there holds throughout that share of the
    episodes.
    """
    if pattern == "sometimes":
        return None
    upper, unit = constraint.bounds_from_above, "" if constraint.unit == "1" else f" {constraint.unit}"
    known = {s.policy: found for s in samples if (found := distribution(s.quantity)) is not None}
    if not known or (pattern == "never" and FREE not in known):
        return None
    sign = 1.0 if upper else -1.0
    if np.isin(np.concatenate([sign * (s.quantity - constraint.limit) for s in samples]), (0.0, 1.0)).all():
        return "Its g was 0 or 1 in all of these episodes, which does not tell where the limit inside it would have to be."
    policy = FREE if pattern == "never" else min(known, key=lambda name: sign * known[name].quantiles[2])
    low, _, median, _, high = known[policy].quantiles
    mild = high if upper else low
    present = f"{constraint.limit:g}{unit}"
    if pattern == "never":
        tight, direction = (low if upper else high), ("down" if upper else "up")
        return (
            f"To matter, the limit inside g would have to move {direction} from {present}: {the_policy(policy)} "
            f"crosses {number(mild)}{unit} in 5 % of its episodes, {number(median)}{unit} in half, "
            f"{number(tight)}{unit} in 95 %."
        )
    direction = "up" if upper else "down"
    return (
        f"To be met, the limit inside g would have to move {direction} from {present}: at {number(median)}{unit} it would hold "
        f"throughout half of {the_policy(policy)}'s episodes, at {number(mild)}{unit} throughout 95 %."
    )


def drift_words(found: Range) -> list[str]:
    """Return a sentence for each end of the range whose cost was still changing when training ended."""
    words = []
    for end in {end.policy: end for end in (found.free, found.careful)}.values():
        if end.drift is not None:
            before, after = end.drift.before, end.drift.after
            how = "rising" if after > before else "falling"
            words.append(
                f"The cost of {the_policy(end.policy)} was still {how} when its training ended, "
                f"{number(before)} to {number(after)} per step from one tenth of it to the next: with more "
                "--steps that end of the range would move, and the suggestions with it."
            )
    return words


def exploration_words(found: Range, costs: Mapping[str, Distribution]) -> list[str]:
    """Return a sentence if only policies without exploration noise are as careful as the most careful one."""
    noisy = {name: known.mean for name, known in costs.items() if not name.endswith("_deterministic")}
    reached = {"<=": min, ">=": max}.get(found.sense, min)(noisy.values())
    if found.sense == "==" or abs(reached - found.careful.cost) <= NOISE_SHARE * abs(found.free.cost - found.careful.cost):
        return []
    side, beyond = ("less", "below") if found.sense == "<=" else ("more", "above")
    return [
        f"With exploration noise no policy found costs {side} than {number(reached)}: {beyond} that, a limit asks of training "
        "to lower its noise as well."
    ]


def length_words(lengths: Mapping[str, float]) -> list[str]:
    """Return a sentence if some policies' episodes are much shorter than the longest ones, (policy: mean steps)."""
    longest = max(lengths, key=lambda policy: lengths[policy])
    short = [
        f"{number(steps)} steps with {the_policy(name)}" for name, steps in lengths.items() if steps < SHORT * lengths[longest]
    ]
    if not short:
        return []
    return [
        f"Episodes last {', '.join(short)}, against {number(lengths[longest])} with {the_policy(longest)}: costs of policies "
        "that end their episodes early are low for that reason."
    ]


def _with_interval(end: End) -> str:
    """Return a cost with its interval, where it has any width."""
    low, high = end.interval
    return number(end.cost) if low == high else f"{number(end.cost)} [{number(low)}, {number(high)}]"

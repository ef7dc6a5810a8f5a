"""A calibration as dataclasses, JSON, Markdown and terminal tables: the same numbers and words in each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from saferl.evaluation.calibration import (
    FRACTIONS,
    FREE,
    QUANTILES,
    Distribution,
    Pattern,
    Range,
    Sample,
    distribution,
    drift_of,
    find_range,
    number,
    pattern_of,
    policy_name,
    suggest,
)
from saferl.evaluation.calibration_verdict import Bounds, Judgement, judge
from saferl.evaluation.calibration_words import (
    drift_words,
    exploration_words,
    left_out_words,
    limit_advice,
    noise_words,
    pattern_words,
    range_words,
)
from saferl_envs.constraints import Constraint


@dataclass(frozen=True)
class PolicySummary:
    """A policy that was played: environment steps it was trained for, and its returns and lengths of episodes."""

    trained: int
    returns: Distribution | None
    lengths: Distribution | None


@dataclass(frozen=True)
class Calibrated:
    """What was found about one constraint.

    Attributes:
        spec: The constraint's JSON form.
        costs: The episode's aggregated cost, by policy.
        quantity: The constrained quantity's worst value per episode, by policy, in the constraint's unit.
        violation_rates: Share of steps above zero, by policy, averaged over episodes.
        pattern: Whether it is violated on no step of any policy, on all steps of all, or on some.
        range: The costs found, or None where the unconstrained policy's are not numbers.
        suggestions: Cost limits by name: strict, medium, loose.
        judgements: What is to be thought of the present cost limit and of others asked about.
        words: All of it in sentences.
    """

    spec: dict[str, Any]
    costs: dict[str, Distribution]
    quantity: dict[str, Distribution]
    violation_rates: dict[str, float]
    pattern: Pattern
    range: Range | None
    suggestions: dict[str, float]
    judgements: tuple[Judgement, ...]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Calibration:
    """What was found about an environment's constraints.

    Attributes:
        env_id: The environment.
        episodes: Episodes per policy.
        seed: Seed of training and of the episodes.
        policies: The policies, by name.
        constraints: The constraints, in their order.
        notes: What the reader should know before believing any of it.
        provenance: Versions, commit, command, configuration.
    """

    env_id: str
    episodes: int
    seed: int
    policies: dict[str, PolicySummary]
    constraints: tuple[Calibrated, ...]
    notes: tuple[str, ...]
    provenance: dict[str, Any] = field(default_factory=dict)


def calibrate_constraint(
    constraint: Constraint,
    samples: Sequence[Sample],
    asked: Sequence[tuple[str, float]] = (),
    bounds: Bounds = (-math.inf, math.inf),
) -> Calibrated:
    """Return what the episodes of several policies say about a constraint's cost limit.

    Args:
        constraint: The constraint, with its present cost limit if it has one.
        samples: One per policy.
        asked: Further cost limits to judge: (where it comes from, limit).
        bounds: Between what numbers any policy's cost must lie.
    """
    costs = {s.policy: known for s in samples if (known := distribution(s.costs)) is not None}
    quantity = {s.policy: known for s in samples if (known := distribution(s.quantity)) is not None}
    pattern = pattern_of(samples)
    found = find_range(constraint.sense, costs, {s.policy: drift_of(s.curve) for s in samples})
    present = [] if constraint.cost_limit is None else [("present", float(constraint.cost_limit))]
    judgements: tuple[Judgement, ...] = ()
    words = [f"The {FREE} policy's costs are not finite, so nothing can be said about a cost limit."]
    if found is not None:
        judgements = tuple(judge(limit, source, found, bounds) for source, limit in [*present, *asked])
        words = [
            *pattern_words(pattern),
            range_words(found),
            *drift_words(found),
            *exploration_words(found, costs),
            *noise_words(found, costs, judgements),
        ]
    advice = limit_advice(constraint, samples, pattern)
    return Calibrated(
        spec=constraint.to_spec(),
        costs=costs,
        quantity=quantity,
        violation_rates={s.policy: float(s.violated.mean()) for s in samples},
        pattern=pattern,
        range=found,
        suggestions={} if found is None else suggest(found),
        judgements=judgements,
        words=(*words, *([advice] if advice else []), *left_out_words(costs)),
    )


def to_json(calibration: Calibration) -> dict[str, Any]:
    """Return the calibration as JSON data; numbers that are not finite become null."""
    plain: dict[str, Any] = _plain(dataclasses.asdict(calibration))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


HEADER = (
    "policy",
    "episode cost [95 %]",
    *(f"{100 * q:.0f} %" for q in QUANTILES),
    "violated",
    "worst value, 5 / 50 / 95 %",
)


def heading(found: Calibrated) -> str:
    """Return a constraint's name with its limit, cost and present cost limit."""
    spec = found.spec
    unit = "" if spec["unit"] == "1" else f" {spec['unit']}"
    cost = f"cost: {spec.get('aggregate', 'sum')} of {spec.get('cost', 'indicator')}"
    limit = spec.get("cost_limit")
    present = "no cost limit" if limit is None else f"cost limit {spec.get('sense', '<=')} {limit:g}"
    return f"{spec['name']} (limit {spec['limit']:g}{unit}, {cost}, {present})"


def _rows(found: Calibrated) -> list[tuple[str, ...]]:
    rows = []
    for policy, costs in found.costs.items():
        worst = found.quantity.get(policy)
        rows.append(
            (
                policy_name(policy),
                f"{number(costs.mean)} [{number(costs.interval[0])}, {number(costs.interval[1])}]",
                *(number(q) for q in costs.quantiles),
                f"{100 * found.violation_rates[policy]:.2f} %",
                "-" if worst is None else " / ".join(number(q) for q in worst.quantiles[::2]),
            )
        )
    return rows


def conclusions(found: Calibrated) -> list[str]:
    """Return what follows for a constraint's cost limit, an item a line."""
    lines = list(found.words)
    if found.suggestions:
        lines.append(f"Suggested cost limits: {', '.join(f'{key} {value:g}' for key, value in found.suggestions.items())}.")
    return lines + [
        f"Cost limit {judged.limit:g} ({judged.source}) is {judged.verdict}: {judged.reason}." for judged in found.judgements
    ]


def introduction(calibration: Calibration) -> list[str]:
    """Return what was played, an item a line."""
    lines = [
        f"{calibration.episodes} episodes per policy, seed {calibration.seed}. Everything below speaks of policies found at "
        "these steps of training; intervals are over episodes, not over trainings: another seed trains other policies."
    ]
    for policy, played in calibration.policies.items():
        trained = f"trained {played.trained:,} steps" if played.trained else "not trained"
        returns, lengths = ("not finite" if d is None else number(d.mean) for d in (played.returns, played.lengths))
        lines.append(f"{policy_name(policy)}: {trained}, return {returns}, episodes of {lengths} steps.")
    return lines


def suggestion_rule() -> str:
    """Return how cost limits are suggested."""
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in FRACTIONS.items())
    return (
        f"Suggested cost limits lie on the way from the most careful cost found to the unconstrained one ({shares}), counted "
        "from the near bound of one interval to the near bound of the other, and rounded to two significant digits of that "
        "distance."
    )


def to_markdown(calibration: Calibration, picture: str) -> str:
    """Return the calibration as a Markdown document that shows the file `picture`."""
    lines = [f"# Calibration: {calibration.env_id}", ""]
    lines += [f"- {line}" for line in [*introduction(calibration), suggestion_rule(), *calibration.notes]]
    lines += ["", f"![costs per episode of every policy, and the limits]({picture})", ""]
    for found in calibration.constraints:
        lines += [f"## {heading(found)}", "", "| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
        lines += ["| " + " | ".join(row) + " |" for row in _rows(found)]
        lines += ["", *(f"- {line}" for line in conclusions(found)), ""]
    versions = ", ".join(f"{name} {version}" for name, version in calibration.provenance.get("versions", {}).items())
    return "\n".join([*lines, f"Versions: {versions}. Commit: {calibration.provenance.get('commit')}.", ""])


def to_table(found: Calibrated) -> Table:
    """Return a constraint's costs as a terminal table."""
    table = Table(title=heading(found), title_justify="left")
    for name in HEADER:
        table.add_column(name, justify="left" if name == "policy" else "right", no_wrap=name == "policy")
    for row in _rows(found):
        table.add_row(*row)
    return table

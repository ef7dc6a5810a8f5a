"""The step of constrained policy optimisation: the best one inside a trust region that keeps linear constraints.

Achiam, Held, Tamar and Abbeel 2017 (CPO, arXiv 1705.10528), equations 10 to 14::

    maximise g.x   subject to   c_i + b_i.x <= 0,   x.H x / 2 <= delta

The paper solves one constraint in closed form. Here any few are, exactly: the solution lies in the span of H^-1 g and the
H^-1 b_i of the constraints that bind, so each set of binding constraints gives one candidate, and the best that is feasible
is the solution. Only products of the directions enter, never H.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import torch as th

Array = np.ndarray[Any, Any]
Case = Literal["free", "constrained", "recovery"]
MOST_CONSTRAINTS = 10
"""How many constraints are solved for; every set of them is tried."""
_TOLERANCE = 1e-9


class Step(NamedTuple):
    """The step ``x = H^-1 (reward g - sum_i costs_i b_i)``.

    Attributes:
        reward: Weight of the reward's direction.
        costs: (C,) weights of the constraints' directions.
        case: ``free``, no constraint binds; ``constrained``, some do; ``recovery``, no step in the region keeps them all, and
            this one leads back.
    """

    reward: float
    costs: Array
    case: Case


def best_step(q: float, r: Array, s: Array, c: Array, delta: float) -> Step:
    """Return the best step.

    Args:
        q: ``g.H^-1 g``, above zero.
        r: (C,) ``b_i.H^-1 g``.
        s: (C, C) ``b_i.H^-1 b_j``.
        c: (C,) by how much each constraint is exceeded now; negative: room left.
        delta: Radius of the region, above zero.

    Returns:
        The solution; where there is none, the step to the region's edge towards the nearest point that keeps all
        constraints in the metric of H (with one constraint, the paper's recovery), or where no such point exists either, the
        one that reduces the constraint that is furthest from what can be reached.
    """
    r, s, c = np.asarray(r, np.float64), np.asarray(s, np.float64), np.asarray(c, np.float64)
    reach = np.sqrt(2.0 * delta * s.diagonal())
    slack = _TOLERANCE * (np.abs(c) + reach + 1e-300)
    best: Step | None = None
    value = -np.inf
    for binding, inverse in _subsets(s):
        left = float(2.0 * delta - c[binding] @ inverse @ c[binding])
        across = float(q - r[binding] @ inverse @ r[binding])
        if left < -_TOLERANCE * delta:
            continue
        reward = float(np.sqrt(max(left, 0.0) / across)) if across > 1e-12 * q else 0.0
        costs = np.zeros(len(c))
        costs[binding] = inverse @ (reward * r[binding] + c[binding])
        if (c + reward * r - s @ costs > slack).any():
            continue
        gain = float(reward * q - r @ costs)
        if gain > value + _TOLERANCE * abs(value) or best is None:
            best, value = Step(reward, costs, "constrained" if binding else "free"), gain
    return best or Step(0.0, _recovery(s, c, delta), "recovery")


def _recovery(s: Array, c: Array, delta: float) -> Array:
    """Return the weights (C,) of the step that leads back to where the constraints hold, to the edge of the region."""
    reach = np.sqrt(np.maximum(s.diagonal(), 0.0))
    slack = 1e-7 * (np.abs(c) + 1e-300)
    weights, shortest = None, np.inf
    for binding, inverse in _subsets(s):
        found = np.zeros(len(c))
        found[binding] = inverse @ c[binding]
        length = float(found @ s @ found)
        if 0.0 < length < shortest and (found >= 0.0).all() and (c - s @ found <= slack).all():
            weights, shortest = found, length
    if weights is None:
        # of those that are exceeded and can be moved
        distance = np.where((reach > 0.0) & (c > 0.0), c / np.maximum(reach, 1e-300), 0.0)
        worst = int(np.argmax(distance))
        if not distance[worst] > 0.0:
            return np.zeros(len(c))
        weights, shortest = np.eye(len(c))[worst], float(s[worst, worst])
    scaled: Array = weights * np.sqrt(2.0 * delta / shortest)
    return scaled


def _subsets(s: Array) -> Iterator[tuple[list[int], Array]]:
    """Yield sets of constraints that may bind at once, smallest first, with the inverse of their block of s."""
    steered = [i for i in range(len(s)) if s[i, i] > 0.0]
    for size in range(len(steered) + 1):
        for chosen in itertools.combinations(steered, size):
            binding = list(chosen)
            block = s[np.ix_(binding, binding)]
            scale = np.sqrt(block.diagonal())
            correlation = block / np.outer(scale, scale)
            # parallel directions: one of the two alone stands for both
            if size > 1 and np.linalg.eigvalsh(correlation)[0] < 1e-10:
                continue
            yield binding, np.linalg.inv(correlation) / np.outer(scale, scale) if size else np.zeros((0, 0))


def conjugate_gradient(
    product: Callable[[th.Tensor], th.Tensor], b: th.Tensor, steps: int, tolerance: float = 1e-10
) -> th.Tensor:
    """Return x with ``H x = b`` up to `steps` steps of conjugate gradients (Hestenes and Stiefel 1952).

    Args:
        product: v to H v, H symmetric and positive definite.
        b: (P,)
        steps: Most steps.
        tolerance: Stops where the squared residual has fallen below this part of the squared norm of b.
    """
    x, residual = th.zeros_like(b), b.clone()
    direction, squared = b.clone(), b @ b
    least = tolerance * squared
    for _ in range(steps):
        if squared <= least:
            break
        image = product(direction)
        length = squared / (direction @ image)
        x = x + length * direction
        residual = residual - length * image
        following = residual @ residual
        direction = residual + following / squared * direction
        squared = following
    return x

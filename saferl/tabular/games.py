"""Two players of a bilinear game ``min_x max_y x^T M y``: the smallest example of what optimism is for.

Plain gradient descent-ascent spirals outwards; with both players optimistic (Popov 1980; Daskalakis et al. 2018) it comes
to rest.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from saferl.tabular.cmdp import Array

Move = Callable[[Array, Array], Array]
"""(present point, step downhill) -> next point: the mirror map of a player."""


def descend_ascend(
    matrix: Array, x: Array, y: Array, rate: float, iterations: int, optimistic_x: bool, optimistic_y: bool
) -> tuple[Array, Array]:
    """Return the iterates (K, n) and (K, m) of (optimistic) gradient descent-ascent, OGDA where both are optimistic."""
    return _play(matrix, x, y, rate, iterations, (optimistic_x, optimistic_y), lambda point, step: point + step)


def multiplicative_weights(
    matrix: Array, x: Array, y: Array, rate: float, iterations: int, optimistic: bool
) -> tuple[Array, Array]:
    """Return the iterates of multiplicative weights on two simplices, OMWU (Daskalakis and Panageas 2019) if optimistic."""
    return _play(matrix, x, y, rate, iterations, (optimistic, optimistic), _reweigh)


def _play(
    matrix: Array, x: Array, y: Array, rate: float, iterations: int, optimistic: tuple[bool, bool], move: Move
) -> tuple[Array, Array]:
    xs, ys = np.empty((iterations, len(x))), np.empty((iterations, len(y)))
    last_x, last_y = matrix @ y, matrix.T @ x
    for k in range(iterations):
        xs[k], ys[k] = x, y
        slope_x, slope_y = matrix @ y, matrix.T @ x
        x = move(x, -rate * (2.0 * slope_x - last_x if optimistic[0] else slope_x))
        y = move(y, rate * (2.0 * slope_y - last_y if optimistic[1] else slope_y))
        last_x, last_y = slope_x, slope_y
    return xs, ys


def _reweigh(weights: Array, step: Array) -> Array:
    scaled = weights * np.exp(step - step.max())
    normalised: Array = scaled / scaled.sum()
    return normalised

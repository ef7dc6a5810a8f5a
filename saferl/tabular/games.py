"""Two players of a bilinear game ``min_x max_y x^T M y``: the smallest example of what optimism is for.

Plain gradient descent-ascent spirals outwards; with both players optimistic (Popov 1980; Daskalakis et al. 2018) it comes
to rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from saferl.tabular.cmdp import Array
from saferl_envs.errors import ConfigError, choose

Move = Callable[[Array, Array], Array]
"""(present point, step downhill) -> next point: the mirror map of a player."""


class Game(NamedTuple):
    """A game and where it begins.

    Attributes:
        matrix: (n, m) M.
        start: (n,) and (m,), the first points of both players.
        rest: (n,) and (m,), the equilibrium.
        simplex: Whether points are mixed strategies, which multiplicative weights move, or anything.
        rate: A step that shows the difference.
    """

    matrix: Array
    start: tuple[Array, Array]
    rest: tuple[Array, Array]
    simplex: bool
    rate: float


class Played(NamedTuple):
    """Iterates of a game.

    Attributes:
        x: (K, n).
        y: (K, m).
        distances: (K,) of both players together from the equilibrium.
    """

    x: Array
    y: Array
    distances: Array


GAMES: Mapping[str, Game] = {
    # min_x max_y xy over the plane
    "plane": Game(np.eye(1), (np.ones(1), np.ones(1)), (np.zeros(1), np.zeros(1)), False, 0.1),
    "pennies": Game(
        np.array([[1.0, -1.0], [-1.0, 1.0]]),
        (np.array([0.7, 0.3]), np.array([0.4, 0.6])),
        (np.full(2, 0.5), np.full(2, 0.5)),
        True,
        0.1,
    ),
}


def play_game(name: str, iterations: int, rate: float | None = None) -> dict[str, Played]:
    """Return what each algorithm does in a game, by the algorithm's title; step sizes are the game's own where none is given.

    Raises:
        ConfigError: There is no game of that name, or the rate is not positive.
    """
    if name not in GAMES:
        raise ConfigError(choose("game", name, GAMES, "saferl tabular"))
    if rate is not None and not 0.0 < rate < np.inf:
        raise ConfigError(f"the policy rate must be a positive number, got {rate}")
    game = GAMES[name]
    step = game.rate if rate is None else rate
    if game.simplex:
        found = {
            title: multiplicative_weights(game.matrix, *game.start, step, iterations, optimistic)
            for title, optimistic in (("multiplicative weights", False), ("OMWU", True))
        }
    else:
        found = {
            title: descend_ascend(game.matrix, *game.start, step, iterations, *optimistic)
            for title, optimistic in (
                ("descent-ascent", (False, False)),
                ("optimistic y", (False, True)),
                ("optimistic x", (True, False)),
                ("OGDA", (True, True)),
            )
        }
    return {
        title: Played(x, y, np.sqrt(((x - game.rest[0]) ** 2).sum(axis=1) + ((y - game.rest[1]) ** 2).sum(axis=1)))
        for title, (x, y) in found.items()
    }


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

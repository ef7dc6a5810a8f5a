"""Projections onto polytopes: certified, equal to cvxpy's, idempotent, non-expansive, and honest where there is no point."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, NamedTuple

import daqp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from saferl_controllers.projection.fast import PolytopeProjection
from saferl_controllers.projection.half_space import project_half_space_in_box
from saferl_controllers.projection.problem import residuals
from saferl_controllers.projection.reference import ChanceProjection, ConvexProjection
from saferl_envs.errors import ConfigError

Array = np.ndarray[Any, Any]


class Problem(NamedTuple):
    """Two points and what they are projected onto."""

    points: Array
    rows: Array
    offsets: Array
    low: Array
    high: Array
    weights: Array | None


def problem(seed: int, feasible: bool | None = None, most: int = 12) -> Problem:
    """Return a random problem with redundant, opposite, equal or no special rows; feasible, or as it comes."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, most + 1)), int(rng.integers(2, 2 * most + 1))
    low, high = -rng.uniform(0.2, 2.0, n), rng.uniform(0.2, 2.0, n)
    points = rng.normal(size=(2, n)) * rng.choice([0.5, 3.0])
    rows, half = rng.normal(size=(m, n)), m // 2
    kind = rng.integers(4)
    if kind == 1:
        rows[half:] = rows[: m - half] * rng.uniform(0.5, 2.0, (m - half, 1))
    if kind == 2:
        rows[half:] = -rows[: m - half]
    inside = rng.uniform(low, high)
    room = rng.choice([0.0, 0.1, 1.0]) * rng.uniform(0.0, 1.0, m)
    if kind == 3 and not feasible:
        room -= rng.uniform(0.0, 1.5)
    weights = rng.uniform(0.1, 10.0, n) if seed % 2 else None
    return Problem(points, rows, rows @ inside + room, low, high, weights)


def projected(p: Problem, points: Array | None = None) -> Any:
    return PolytopeProjection(p.low, p.high, p.weights)(p.points if points is None else points, p.rows, p.offsets)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_answers_certify_themselves(seed: int) -> None:
    p = problem(seed, most=30)
    found = projected(p)
    box = PolytopeProjection(p.low, p.high, p.weights).box
    worst = residuals(box, p.points, p.rows, p.offsets, found).worst()
    assert (worst[found.feasible] <= 1e-8).all()
    assert (worst <= 1e-5).all()  # where rows are relaxed their price is large
    assert ((found.point >= p.low) & (found.point <= p.high)).all()
    assert (found.slack[found.feasible] == 0.0).all()


def test_a_wrong_answer_has_residuals() -> None:
    p = problem(1, feasible=True)
    box = PolytopeProjection(p.low, p.high, p.weights).box
    found = projected(p)
    moved = np.clip(found.point + 1e-3, p.low, p.high)
    assert residuals(box, p.points, p.rows, p.offsets, found._replace(point=moved)).worst().max() > 1e-5


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_idempotent_and_non_expansive(seed: int) -> None:
    p = problem(seed, feasible=True)
    found = projected(p)
    assert found.feasible.all()
    again = projected(p, found.point)
    np.testing.assert_allclose(again.point, found.point, rtol=0, atol=1e-8)
    scale = np.ones(len(p.low)) if p.weights is None else p.weights

    def distance(pair: Array) -> float:
        return float(np.sqrt(scale @ np.square(pair[0] - pair[1])))

    assert distance(found.point) <= distance(p.points) + 1e-8


@pytest.mark.parametrize("seed", range(40))
def test_equal_to_cvxpy(seed: int) -> None:
    p = problem(seed)
    found = projected(p)
    reference = ConvexProjection(p.low, p.high, len(p.rows), p.weights)
    exact = reference(p.points, p.rows, p.offsets)
    assert found.feasible.tolist() == exact.feasible.tolist()
    met = found.feasible
    np.testing.assert_allclose(found.point[met], exact.point[met], rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.point[~met], exact.point[~met], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.slack, exact.slack, rtol=0, atol=1e-5)
    worst = residuals(reference.box, p.points, p.rows, p.offsets, exact).worst()
    assert (worst[met] <= 1e-8).all()
    assert (worst <= 1e-3).all()  # not polished where rows are relaxed


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_says_where_there_is_no_point(seed: int) -> None:
    p = problem(seed)
    found = projected(p)
    # the largest t with  G x + t |g| <= h  in the box, by a linear program: room for a ball, or missing room
    lengths = np.linalg.norm(p.rows, axis=1, keepdims=True)
    bounds = [*zip(p.low, p.high, strict=True), (None, 1.0)]
    room = -linprog(np.r_[np.zeros(len(p.low)), -1.0], np.c_[p.rows, lengths], p.offsets, bounds=bounds).fun
    if abs(room) > 1e-7:
        assert found.feasible.tolist() == [room > 0.0] * 2
    assert (found.slack.max(axis=1)[~found.feasible] > 0.0).all()


def test_what_exceeding_costs_decides_which_row_gives_way() -> None:
    rows, offsets = np.array([[1.0], [-1.0]]), np.array([-0.5, -0.5])  # x <= -0.5 and x >= 0.5
    low, high = np.array([-1.0]), np.array([1.0])
    for prices, expected in ((None, 0.0), (np.array([3.0, 1.0]), -0.25), (np.array([1.0, 3.0]), 0.25)):
        found = PolytopeProjection(low, high, slack_weights=prices)(np.array([[0.9]]), rows, offsets)
        assert not found.feasible[0]
        assert found.point[0, 0] == pytest.approx(expected, abs=1e-6)
        assert found.slack[0] == pytest.approx([expected + 0.5, 0.5 - expected], abs=1e-6)


def test_among_the_least_excess_the_closest() -> None:
    # x0 <= -2 cannot be met in the box; x1 is free
    found = PolytopeProjection(-np.ones(2), np.ones(2))(np.array([[0.3, 0.4]]), np.array([[1.0, 0.0]] * 2), np.full(2, -2.0))
    assert found.point[0] == pytest.approx([-1.0, 0.4], abs=1e-6)
    assert found.slack[0] == pytest.approx([1.0, 1.0], abs=1e-6)


@pytest.mark.parametrize("unit", [1e-6, 1e-3, 1.0, 1e4])
@pytest.mark.parametrize("copies", [1, 20])
def test_the_least_excess_does_not_depend_on_units(unit: float, copies: int) -> None:
    points = np.full((copies, 1), 0.3)
    alone = PolytopeProjection(-np.ones(1), np.ones(1))(points, np.array([[unit]]), np.array([-1.01 * unit]))
    assert not alone.feasible.any()
    np.testing.assert_allclose(alone.point, -1.0, atol=1e-6)
    # both rows in that unit, in a box of another: the second can be met, the first cannot
    rows, offsets = unit * np.eye(2), np.array([-1.01 * unit * 1e-3, 0.0])
    box = PolytopeProjection(-np.full(2, 1e-3), np.full(2, 1e-3), np.full(2, 1e6))
    both = box(np.full((copies, 2), 3e-4), rows, offsets)
    assert not both.feasible.any()
    np.testing.assert_allclose(both.point, np.tile([-1e-3, 0.0], (copies, 1)), atol=1e-8)


def test_numbers_that_are_not_finite_are_refused() -> None:
    projection = PolytopeProjection(-np.ones(1), np.ones(1))
    for rows, offsets in ((np.nan, 0.0), (1.0, np.nan), (np.inf, 0.0)):
        with pytest.raises(ConfigError, match="not finite"):
            projection(np.array([[0.5]]), np.array([[rows]] * 2), np.full(2, offsets))


def test_rows_that_ask_nothing() -> None:
    projection = PolytopeProjection(np.full(2, -np.inf), np.full(2, np.inf))
    point = np.array([[3.0, -4.0]])
    assert projection(point, np.zeros((0, 2)), np.zeros(0)).point.tolist() == point.tolist()
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    found = projection(point, rows, np.array([1.0, np.inf, 0.0]))
    assert found.feasible[0]
    np.testing.assert_allclose(found.point, [[1.0, -4.0]], atol=1e-12)


def test_batches_take_rows_of_their_own() -> None:
    rng = np.random.default_rng(0)
    points, rows, offsets = rng.normal(size=(20, 1, 5)), rng.normal(size=(20, 6, 5)), rng.uniform(-1.0, 0.5, (20, 6))
    projection = PolytopeProjection(-np.ones(5), np.ones(5))
    together = projection(points[:, 0], rows, offsets)
    assert together.box_multipliers.any()
    assert (~together.feasible).any()
    for k in range(20):
        alone = projection(points[k], rows[k], offsets[k])
        assert alone.point[0].tolist() == together.point[k].tolist()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
@example(101322369, False)
@example(316, False)  # a row of zeros that cannot be met
@example(32305, False)  # met by one small entry alone, a million off, which the solver of several rows does not find
def test_one_half_space_in_a_box_is_exact(seed: int, inside: bool) -> None:
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(1, 9)), int(rng.integers(1, 20))
    low, high = np.sort(rng.normal(size=(2, n)), axis=0)
    low[rng.uniform(size=n) < 0.2], high[rng.uniform(size=n) < 0.2] = -np.inf, np.inf
    points, normals = rng.normal(size=(k, n)) * 2.0, rng.normal(size=(k, n)) * (rng.uniform(size=(k, n)) < 0.8)
    offsets, weights = rng.normal(size=k), rng.uniform(0.1, 10.0, n)
    if inside:  # another algorithm
        points = np.clip(points, low, high)
    closed = project_half_space_in_box(points, normals, offsets, low, high, weights)
    solver = PolytopeProjection(low, high, weights)
    twice = solver(points, np.stack((normals, normals), axis=1), np.stack((offsets, offsets), axis=1))
    once = solver(points, normals[:, np.newaxis], offsets[:, np.newaxis])
    assert closed.feasible.tolist() == once.feasible.tolist()
    assert np.isfinite(once.row_multipliers).all()
    assert np.isfinite(once.box_multipliers).all()
    lost = closed.feasible & ~twice.feasible
    assert (np.abs(closed.point[lost]).max(axis=1) > 1e5).all()
    assert (twice.slack[lost] > 0.0).all()
    assert (closed.feasible | ~twice.feasible).all()
    # relative too: a point may lie far off, where a normal's entry is small
    np.testing.assert_allclose(closed.point[~lost], twice.point[~lost], rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(closed.point, once.point, rtol=1e-6, atol=1e-5)
    tight = closed.feasible & (closed.multiplier > 0.0)
    np.testing.assert_allclose(np.einsum("ki,ki->k", normals, closed.point)[tight], offsets[tight], rtol=0, atol=1e-9)


def test_clipping_after_projecting_is_not_the_projection() -> None:
    point, normal, low, high = np.array([[1.0, 1.0]]), np.array([2.0, 1.0]), np.array([0.8, -1.0]), np.ones(2)
    exact = project_half_space_in_box(point, normal, np.array(1.0), low, high).point[0]
    assert exact == pytest.approx([0.8, -0.6])
    clipped = np.clip(point[0] - normal * (normal @ point[0] - 1.0) / 5.0, low, high)
    assert normal @ clipped > 1.0


def test_a_chance_constraint_holds_with_its_probability() -> None:
    rng = np.random.default_rng(0)
    mean, root = np.array([1.0, 0.5]), np.array([[0.3, 0.0], [0.1, 0.2]])
    found = ChanceProjection(-np.ones(2), np.ones(2), 1, 0.9)(
        np.ones(2), mean[np.newaxis], root[np.newaxis], np.array([0.5])
    )  # fmt: skip
    assert found.feasible
    assert found.slack[0] == 0.0
    assert found.residual <= 1e-6
    drawn = mean + rng.normal(size=(200_000, 2)) @ root.T
    assert (drawn @ found.point <= 0.5).mean() == pytest.approx(0.9, abs=0.003)


def test_a_chance_constraint_that_cannot_be_met_says_so() -> None:
    row, root = np.array([[1.0, 0.0]]), 0.1 * np.eye(2)[np.newaxis]
    found = ChanceProjection(np.array([0.5, -1.0]), np.ones(2), 1, 0.9)(np.ones(2), row, root, np.array([0.2]))
    assert not found.feasible
    assert found.point[0] == pytest.approx(0.5, abs=1e-6)
    quantile = NormalDist().inv_cdf(0.9)
    assert found.slack[0] == pytest.approx(0.5 + quantile * 0.1 * np.linalg.norm(found.point) - 0.2, abs=1e-6)


def test_a_chance_constraint_without_spread_is_a_half_space() -> None:
    normal, low, high = np.array([1.0, 2.0]), -np.ones(2), np.ones(2)
    chance = ChanceProjection(low, high, 1, 0.99)
    point = chance(np.ones(2), normal[np.newaxis], np.zeros((1, 2, 2)), np.array([0.7])).point
    exact = project_half_space_in_box(np.ones((1, 2)), normal, np.array(0.7), low, high).point[0]
    np.testing.assert_allclose(point, exact, atol=1e-5)


@pytest.mark.parametrize(
    ("low", "high", "more", "words"),
    [
        ([1.0], [0.0], {}, "nowhere above high"),
        ([0.0, 0.0], [1.0], {}, "must be a vector"),
        ([np.nan], [1.0], {}, "nowhere above high"),
        ([0.0], [1.0], {"weights": [0.0]}, "above zero"),
        ([0.0], [1.0], {"weights": [1.0, 1.0]}, "1 numbers above zero"),
        ([0.0], [1.0], {"slack_weights": [-1.0]}, "slack weights"),
    ],
)
def test_bad_bounds_and_weights_are_named(low: Any, high: Any, more: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        PolytopeProjection(np.array(low), np.array(high), **{key: np.array(value) for key, value in more.items()})


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ConfigError, match="in 2 dimensions"):
        PolytopeProjection(-np.ones(2), np.ones(2))(np.zeros((1, 2)), np.zeros((3, 2)), np.zeros(2))
    with pytest.raises(ConfigError, match="3 slack weights for 2 rows"):
        PolytopeProjection(-np.ones(2), np.ones(2), slack_weights=np.ones(3))(np.zeros((1, 2)), np.zeros((2, 2)), np.zeros(2))
    with pytest.raises(ConfigError, match="level"):
        ChanceProjection(-np.ones(2), np.ones(2), 1, 0.4)


@pytest.mark.parametrize(("offset", "feasible"), [(0.3, True), (-5.0, False)])
def test_a_solver_that_gives_up_is_not_taken_for_one_that_finds_no_point(
    monkeypatch: pytest.MonkeyPatch, offset: float, feasible: bool
) -> None:
    """The first solve gives up (iteration limit); the relaxed one then tells whether there is a point."""
    solve, calls = daqp.solve, []

    def gives_up(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        x, value, status, info = solve(*args, **kwargs)
        return x, value, -4 if len(calls) == 1 else status, info

    project = PolytopeProjection(-np.ones(2), np.ones(2))
    point, rows = np.array([[0.9, 0.8]]), np.array([[1.0, 1.0], [1.0, -2.0]])
    expected = project(point, rows, np.array([offset, 1.0]))
    monkeypatch.setattr("saferl_controllers.projection.fast.daqp.solve", gives_up)
    found = project(point, rows, np.array([offset, 1.0]))
    assert found.feasible.tolist() == expected.feasible.tolist() == [feasible]
    np.testing.assert_allclose(found.point, expected.point, atol=1e-6)
    assert (found.slack.max() > 0.0) == (not feasible)

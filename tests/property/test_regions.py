"""Signed distances of shapes: exact, 1-Lipschitz, with the right sign and a unit gradient."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saferl_envs.constraints import (
    Ball,
    Box,
    Capsule,
    HalfSpace,
    KeepIn,
    KeepOut,
    Shape,
    from_spec,
    shape_from_spec,
    shapes,
)
from saferl_envs.signals import FloatArray

EXAMPLES = 60
POINTS = 64

coordinates = st.floats(-10, 10, allow_nan=False).map(lambda x: round(x, 6))
sizes = st.floats(0, 5).map(lambda x: round(x, 6))
points_of_space = st.tuples(coordinates, coordinates, coordinates)
directions = points_of_space.filter(lambda v: math.hypot(*v) > 1e-3)
half_spaces = st.builds(HalfSpace, normal=directions, offset=coordinates)
balls = st.builds(Ball, center=points_of_space, radius=sizes)
boxes = st.builds(Box, center=points_of_space, half_sizes=st.tuples(sizes, sizes, sizes))
capsules = st.builds(Capsule, start=points_of_space, end=points_of_space, radius=sizes)
all_shapes = st.one_of(half_spaces, balls, boxes, capsules)
seeds = st.integers(0, 2**32 - 1)


def cloud(seed: int, n: int = POINTS) -> FloatArray:
    """Points around the shapes, some of them on the grid where box centres, edges and axes like to be."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-15, 15, size=(n, 3))
    points[: n // 4] = np.round(points[: n // 4])
    return points


def special_points(shape: Shape) -> FloatArray:
    """The points of a shape's specification (centre, ends of the axis): its kinks."""
    return np.array([value for value in vars(shape).values() if isinstance(value, tuple)])


def inside(shape: Shape, points: FloatArray) -> FloatArray:
    """The definition of each set, written without distances."""
    match shape:
        case HalfSpace():
            return points @ shape.normal <= shape.offset
        case Ball():
            return ((points - shape.center) ** 2).sum(axis=1) <= shape.radius**2
        case Box():
            return (np.abs(points - shape.center) <= shape.half_sizes).all(axis=1)
        case Capsule():
            return distance_to_segment(shape, points) <= shape.radius
    raise TypeError(shape)


def distance_to_segment(shape: Capsule, points: FloatArray) -> FloatArray:
    """Minimise the distance over the segment by ternary search: it is convex along the segment."""
    start, axis = np.array(shape.start), np.subtract(shape.end, shape.start)
    low, high = np.zeros(len(points)), np.ones(len(points))

    def distance(along: FloatArray) -> FloatArray:
        return np.linalg.norm(points - start - along[:, None] * axis, axis=1)

    for _ in range(80):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        left = distance(a) < distance(b)
        low, high = np.where(left, low, a), np.where(left, b, high)
    return np.minimum(distance((low + high) / 2), np.minimum(distance(np.zeros_like(low)), distance(np.ones_like(low))))


def test_every_registered_shape_is_tested_here():
    assert set(shapes()) == {"half_space", "ball", "box", "capsule"}


@settings(max_examples=EXAMPLES, deadline=None)
@given(all_shapes, seeds)
def test_negative_inside_and_positive_outside(shape: Shape, seed: int):
    points = cloud(seed)
    distance = shape.signed_distance(points)
    clear = np.abs(distance) > 1e-6
    np.testing.assert_array_equal(distance[clear] < 0, inside(shape, points)[clear])


@settings(max_examples=EXAMPLES, deadline=None)
@given(all_shapes, seeds)
def test_lipschitz_constant_is_one(shape: Shape, seed: int):
    points = cloud(seed)
    distance = shape.signed_distance(points)
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    assert (np.abs(distance[:, None] - distance[None]) <= apart + 1e-9).all()


@settings(max_examples=EXAMPLES, deadline=None)
@given(all_shapes, seeds)
def test_walking_the_distance_against_the_gradient_ends_on_the_surface(shape: Shape, seed: int):
    """With the Lipschitz constant and the sign this makes the distance exact: no surface point is nearer or farther."""
    points = np.concatenate([cloud(seed), special_points(shape)])
    distance, gradient = shape.signed_distance(points), shape.gradient(points)
    np.testing.assert_allclose(shape.signed_distance(points - distance[:, None] * gradient), 0.0, atol=1e-9)


@settings(max_examples=EXAMPLES, deadline=None)
@given(all_shapes, seeds)
def test_gradient_has_length_one_everywhere(shape: Shape, seed: int):
    points = np.concatenate([cloud(seed), special_points(shape), special_points(shape) + 1e-14])
    np.testing.assert_allclose(np.linalg.norm(shape.gradient(points), axis=1), 1.0, rtol=1e-12)


@settings(max_examples=EXAMPLES, deadline=None)
@given(all_shapes, seeds)
def test_gradient_matches_central_differences_away_from_kinks(shape: Shape, seed: int):
    points, step = cloud(seed), 1e-5
    forward, backward = (
        np.stack([(shape.signed_distance(points + s * e) - shape.signed_distance(points)) / s for e in np.eye(3)], axis=1)
        for s in (step, -step)
    )
    smooth = (np.abs(forward - backward) < 1e-4).all(axis=1)
    np.testing.assert_allclose(shape.gradient(points)[smooth], ((forward + backward) / 2)[smooth], atol=1e-4)


@settings(max_examples=EXAMPLES, deadline=None)
@given(half_spaces, seeds)
def test_half_space_closed_form(shape: HalfSpace, seed: int):
    points = cloud(seed)
    np.testing.assert_allclose(shape.signed_distance(points), points @ np.array(shape.normal) - shape.offset, atol=1e-12)
    assert math.hypot(*shape.normal) == pytest.approx(1.0, rel=1e-14)


@settings(max_examples=EXAMPLES, deadline=None)
@given(balls, seeds)
def test_ball_closed_form(shape: Ball, seed: int):
    points = cloud(seed)
    expected = [math.dist(p, shape.center) - shape.radius for p in points]
    np.testing.assert_allclose(shape.signed_distance(points), expected, atol=1e-12)


@settings(max_examples=EXAMPLES, deadline=None)
@given(boxes, seeds)
def test_box_closed_form(shape: Box, seed: int):
    points, half_sizes = cloud(seed), np.array(shape.half_sizes)
    offset = points - np.array(shape.center)
    outside = np.linalg.norm(offset - np.clip(offset, -half_sizes, half_sizes), axis=1)
    to_faces = np.concatenate([half_sizes - offset, half_sizes + offset], axis=1).min(axis=1)
    np.testing.assert_allclose(shape.signed_distance(points), np.where(outside > 0, outside, -to_faces), atol=1e-12)


@settings(max_examples=EXAMPLES, deadline=None)
@given(capsules, seeds)
def test_capsule_against_a_search_along_its_axis(shape: Capsule, seed: int):
    points = cloud(seed)
    np.testing.assert_allclose(shape.signed_distance(points), distance_to_segment(shape, points) - shape.radius, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(boxes, seeds)
def test_box_against_samples_of_its_surface(shape: Box, seed: int):
    points, half_sizes = cloud(seed, 16), np.array(shape.half_sizes)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 25)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    surface = np.array(shape.center) + half_sizes * grid[(np.abs(grid) == 1).any(axis=1)]
    nearest = np.linalg.norm(points[:, None] - surface[None], axis=2).min(axis=1)
    distance, spacing = np.abs(shape.signed_distance(points)), np.linalg.norm(half_sizes) / 12
    assert (distance <= nearest + 1e-9).all()
    assert (nearest <= distance + spacing).all()


@settings(max_examples=EXAMPLES, deadline=None)
@given(all_shapes)
def test_shape_round_trips_through_json(shape: Shape):
    assert shape_from_spec(json.loads(json.dumps(shape.to_spec())), "test") == shape


@settings(max_examples=EXAMPLES, deadline=None)
@given(all_shapes, st.floats(-1, 1), seeds)
def test_regions_are_the_shape_moved_by_the_clearance(shape: Shape, limit: float, seed: int):
    signals = {"base_position": cloud(seed)}
    keep_out, keep_in = KeepOut(name="out", limit=limit, shape=shape), KeepIn(name="in", limit=limit, shape=shape)
    distance = shape.signed_distance(signals["base_position"])
    np.testing.assert_array_equal(keep_out.value(signals)[:, 0] <= 0, limit - distance <= 0)
    np.testing.assert_array_equal(keep_in.value(signals)[:, 0] <= 0, distance + limit <= 0)
    slopes = keep_in.gradient(signals)["base_position"]
    np.testing.assert_array_equal(slopes, -keep_out.gradient(signals)["base_position"])
    np.testing.assert_array_equal(slopes[:, 0], shape.gradient(signals["base_position"]))
    for constraint in (keep_out, keep_in):
        assert from_spec(json.loads(json.dumps(constraint.to_spec()))) == constraint

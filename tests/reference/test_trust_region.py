"""CPO's step against scipy's optimiser, the paper's closed form for one constraint, and its recovery."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from saferl.trust_region import best_step, conjugate_gradient
from scipy.optimize import minimize


def problem(rng, constraints, size=6):
    """Return H, g, B (size, C), c and delta of a random problem; c reaches from room to spare to out of reach."""
    root = rng.normal(size=(size, size))
    hessian = root @ root.T / size + 0.1 * np.eye(size)
    g, b = rng.normal(size=size), rng.normal(size=(size, constraints))
    delta = 10.0 ** rng.uniform(-3, 0)
    reach = np.sqrt(2 * delta * np.einsum("ic,ic->c", b, np.linalg.solve(hessian, b)))
    return hessian, g, b, rng.uniform(-1.2, 1.2, constraints) * reach, delta


def ours(hessian, g, b, c, delta):
    """Return the step x and how it was found."""
    towards_g, towards_b = np.linalg.solve(hessian, g), np.linalg.solve(hessian, b)
    step = best_step(g @ towards_g, b.T @ towards_g, b.T @ towards_b, c, delta)
    return step.reward * towards_g - towards_b @ step.costs, step


def by_scipy(hessian, g, b, c, delta):
    """Return the best of several starts of SLSQP, or None where none ends at a feasible point."""
    # in coordinates in which the region is the unit ball
    root = np.linalg.cholesky(hessian).T / np.sqrt(2 * delta)
    slope, normals = np.linalg.solve(root.T, g), np.linalg.solve(root.T, b)
    scale = np.linalg.norm(slope)
    rows = np.linalg.norm(normals, axis=0)
    constraints = [
        {"type": "ineq", "fun": lambda y: 1.0 - y @ y, "jac": lambda y: -2.0 * y},
        {"type": "ineq", "fun": lambda y: -(c + y @ normals) / rows, "jac": lambda y: -(normals / rows).T},
    ]
    nearest = -normals @ np.linalg.pinv(normals.T @ normals) @ np.maximum(c, 0.0)
    best = None
    for start in (nearest, 0.5 * slope / scale, np.zeros(len(g))):
        found = minimize(
            lambda y: -slope @ y / scale, start, jac=lambda _: -slope / scale, constraints=constraints, method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )  # fmt: skip
        feasible = found.x @ found.x <= 1 + 1e-8 and (-(c + found.x @ normals) / rows >= -1e-8).all()
        if feasible and (best is None or slope @ found.x > slope @ best):
            best = found.x
    return None if best is None else np.linalg.solve(root, best)


@pytest.mark.parametrize("problems", [150, pytest.param(1000, marks=pytest.mark.slow)])
def test_the_step_is_scipys_on_random_problems(record_property, problems):
    rng, largest = np.random.default_rng(0), 0.0
    seen = {"free": 0, "constrained": 0, "recovery": 0}
    for k in range(problems):
        hessian, g, b, c, delta = problem(rng, 1 + k % 3)
        x, step = ours(hessian, g, b, c, delta)
        seen[step.case] += 1
        assert 0.5 * x @ hessian @ x <= delta * (1 + 1e-9)
        other = by_scipy(hessian, g, b, c, delta)
        if step.case == "recovery":
            assert other is None
            continue
        assert (c + b.T @ x <= 1e-9 * (1 + np.abs(c))).all()
        assert other is not None
        size = np.sqrt(2 * delta * g @ np.linalg.solve(hessian, g))
        largest = max(largest, abs(g @ x - g @ other) / size)
        assert largest <= 1e-6, (k, step)
    record_property("measured", float(largest))  # a plain number: it crosses processes
    assert min(seen.values()) >= problems // 20, seen


def test_one_constraint_has_the_papers_closed_form():
    """Achiam et al. 2017, theorem 2 in the appendix: lambda is one of two roots, nu follows from it."""
    rng = np.random.default_rng(1)
    checked = 0
    for _ in range(200):
        hessian, g, b, c, delta = problem(rng, 1)
        x, step = ours(hessian, g, b, c, delta)
        if step.case != "constrained":
            continue
        q, r = g @ np.linalg.solve(hessian, g), float(b[:, 0] @ np.linalg.solve(hessian, g))
        s, c0 = float(b[:, 0] @ np.linalg.solve(hessian, b[:, 0])), float(c[0])
        lagrange = np.sqrt((q - r**2 / s) / (2 * delta - c0**2 / s))
        nu = max(0.0, (lagrange * c0 + r) / s)
        expected = np.linalg.solve(hessian, g - nu * b[:, 0]) / lagrange
        np.testing.assert_allclose(x, expected, rtol=1e-9, atol=1e-12)
        checked += 1
    assert checked > 30


def test_recovery_of_one_constraint_is_the_papers_and_reaches_the_edge():
    rng = np.random.default_rng(2)
    hessian, g, b, _, delta = problem(rng, 1)
    s = float(b[:, 0] @ np.linalg.solve(hessian, b[:, 0]))
    x, step = ours(hessian, g, b, np.array([2 * np.sqrt(2 * delta * s)]), delta)
    assert step.case == "recovery"
    np.testing.assert_allclose(x, -np.sqrt(2 * delta / s) * np.linalg.solve(hessian, b[:, 0]), rtol=1e-10)


def test_contradicting_constraints_recover_the_one_furthest_away():
    b = np.array([[1.0, -1.0], [0.0, 0.0]])
    x, step = ours(np.eye(2), np.array([0.0, 1.0]), b, np.array([0.3, 0.2]), 0.005)
    assert step.case == "recovery"
    np.testing.assert_allclose(x, [-0.1, 0.0], atol=1e-12)


def test_recovery_leaves_alone_what_already_holds():
    step = best_step(1.0, np.zeros(2), np.diag([0.0, 1.0]), np.array([1.0, -1.0]), 0.5)
    assert step.case == "recovery"
    np.testing.assert_array_equal(step.costs, [0.0, 0.0])


@pytest.mark.parametrize("c", [-1.0, 1.0])
def test_a_constraint_that_no_step_moves_is_left_out_or_cannot_be_kept(c):
    x, step = ours(np.eye(2), np.array([0.0, 1.0]), np.zeros((2, 1)), np.array([c]), 0.5)
    if c < 0:
        assert step.case == "free"
        np.testing.assert_allclose(x, [0.0, 1.0])
    else:
        assert step.case == "recovery"
        np.testing.assert_array_equal(x, [0.0, 0.0])


def test_without_constraints_it_is_the_natural_gradient():
    hessian, g, _, _, delta = problem(np.random.default_rng(3), 1)
    x, step = ours(hessian, g, np.zeros((6, 0)), np.zeros(0), delta)
    direction = np.linalg.solve(hessian, g)
    assert step.case == "free"
    np.testing.assert_allclose(x, np.sqrt(2 * delta / (g @ direction)) * direction)


def test_conjugate_gradients_solve():
    rng = np.random.default_rng(4)
    root = rng.normal(size=(12, 12))
    hessian, b = root @ root.T + np.eye(12), rng.normal(size=12)
    matrix = th.from_numpy(hessian)
    found = conjugate_gradient(lambda v: matrix @ v, th.from_numpy(b), 40, 1e-24)
    np.testing.assert_allclose(found.numpy(), np.linalg.solve(hessian, b), rtol=1e-8)
    assert th.equal(conjugate_gradient(lambda v: matrix @ v, th.zeros(12, dtype=th.float64), 5), th.zeros(12, dtype=th.float64))

"""Closed-form projections: feasible, closest, idempotent, non-expansive."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saferl_controllers import BoxSafeguard
from saferl_controllers.projection.sets import project_ball, project_box, project_half_space
from saferl_envs.errors import ConfigError

SETS = {
    "box": (lambda x: project_box(x, np.array([-1.0, 0.0, -2.0]), np.array([1.0, 0.5, 2.0])),
            lambda x: ((x >= [-1, 0, -2]) & (x <= [1, 0.5, 2])).all(axis=1)),
    "ball": (lambda x: project_ball(x, np.array([0.5, 0.0, 1.0]), 1.5),
             lambda x: np.linalg.norm(x - [0.5, 0, 1], axis=1) <= 1.5 + 1e-9),
    "half-space": (lambda x: project_half_space(x, np.array([1.0, 2.0, -1.0]), 0.3),
                   lambda x: x @ [1, 2, -1] <= 0.3 + 1e-9),
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_projection_axioms(name, seed):
    project, inside = SETS[name]
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, 50, 3)) * 3
    px, py = project(x), project(y)
    assert inside(px).all()
    np.testing.assert_allclose(project(px), px, atol=1e-12)
    gaps, moved = np.linalg.norm(px - py, axis=1), np.linalg.norm(x - y, axis=1)
    assert (gaps <= moved + 1e-12).all()
    candidates = project(rng.normal(size=(50, 3)) * 2)  # no other point of the set is closer
    distance = np.linalg.norm(x - px, axis=1)
    for candidate in candidates:
        assert (np.linalg.norm(x - candidate, axis=1) >= distance - 1e-12).all()
    np.testing.assert_array_equal(px[inside(x)], x[inside(x)])


def test_box_safeguard_says_what_it_did():
    guard = BoxSafeguard(np.array([-1.0, -1.0]), np.array([1.0, 1.0]))
    done = guard.filter({}, np.array([[0.5, 0.5], [2.0, 0.0]]))
    np.testing.assert_array_equal(done.action, [[0.5, 0.5], [1.0, 0.0]])
    np.testing.assert_array_equal(done.intervened, [False, True])
    assert done.feasible.all()
    with pytest.raises(ConfigError, match="must not be above"):
        BoxSafeguard(np.array([1.0]), np.array([0.0]))

"""Terrain: heights as published, the ground under the physics, the height scan, and who moves up or down."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from saferl_envs.engine import Engine
from saferl_envs.errors import TaskError
from saferl_envs.tasks.solo12_terrain import SCAN_X, SCAN_Y, Solo12Terrain
from saferl_envs.terrain import Terrain

TERRAIN = Terrain()


@pytest.fixture(scope="module")
def ground():
    return TERRAIN.build()


def field(ground, level, column):
    """Return the heights of one field, (80, 80)."""
    i, j = 80 + 80 * level, 80 + 80 * column
    return ground.heights[i : i + 80, j : j + 80]


def test_the_mix_is_the_published_one():
    columns = TERRAIN.columns
    assert len(columns) == 20
    shares = {name: columns.count(name) / 20 for name in columns}
    assert shares == {"boxes": 0.35, "slope_up": 0.05, "slope_down": 0.05, "stairs_up": 0.2, "stairs_down": 0.35}


@pytest.mark.parametrize("level", [0, 4, 9])
def test_heights_are_the_published_ones(ground, level):
    difficulty, rough = level / 10, 0.01 + 0.02 * level / 10
    for column, name in enumerate(TERRAIN.columns):
        patch = field(ground, level, column)
        middle = patch[35:45, 35:45]
        if name == "boxes":
            height = 0.05 + 0.195 * difficulty
            assert set(np.unique(patch.round(9))) <= {round(k * height, 9) for k in (-1.0, -0.5, 0.0, 0.5, 1.0)}
            assert (patch != 0).mean() > 0.3
            assert not middle.any()
            continue
        assert np.ptp(middle) <= 2 * rough
        assert abs(patch[0, 0]) <= rough
        along = patch[:, 39:41].mean(axis=1)[40:]  # from the middle outwards
        sign = 1 if name.endswith("up") else -1
        if name.startswith("slope"):
            assert sign * (along[35] - along[15]) / 2.0 == pytest.approx(0.6 * difficulty, abs=2 * rough / 2.0)
        else:
            step = 0.05 + 0.295 * difficulty
            levels = [along[3:8].mean(), along[12:16].mean(), along[20:24].mean(), along[28:32].mean()]
            np.testing.assert_allclose(np.diff(levels), sign * step, rtol=0, atol=1.2 * rough)


def test_the_border_is_flat_and_the_same_seed_gives_the_same_ground(ground):
    assert not ground.heights[:80].any()
    assert not ground.heights[:, -80:].any()
    np.testing.assert_array_equal(TERRAIN.build().heights, ground.heights)
    assert (Terrain(seed=1).build().heights != ground.heights).any()
    with pytest.raises(TaskError, match="multiples of the grid"):
        Terrain(size=8.03).build()


def test_the_physics_stands_on_the_same_heights(ground):
    model = Solo12Terrain().spec().compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    rng = np.random.default_rng(0)
    points = rng.integers(100, [861, 1661], (200, 2)) * ground.grid
    for x, y in points:
        found = mujoco.mj_ray(model, data, np.array([x, y, 9.0]), np.array([0, 0, -1.0]), None, 1, -1, np.array([-1], np.int32))
        height = found if isinstance(found, float) else found[0]
        assert 9.0 - height == pytest.approx(ground.height(x, y), abs=2e-4)


def test_the_scan_is_in_the_robots_frame(ground):
    task = Solo12Terrain(play=True)
    engine = Engine(task, 40, threads=1)
    base, q = engine.signals.view["base_position"], engine.simulation.qpos
    yaw = 2 * np.arctan2(q[:, 6], q[:, 3])
    assert np.ptp(yaw) > 3
    scan = engine.signals.view["height_scan"].reshape(40, 13, 11)
    for copy in (0, 13, 39):
        for i, ahead in enumerate(SCAN_X):
            for j, beside in enumerate(SCAN_Y):
                x = base[copy, 0] + np.cos(yaw[copy]) * ahead - np.sin(yaw[copy]) * beside
                y = base[copy, 1] + np.sin(yaw[copy]) * ahead + np.cos(yaw[copy]) * beside
                assert scan[copy, i, j] == ground.height(x, y)
    observed = engine.observe()
    assert observed.shape == (40, 188)
    below = np.clip(base[:, 2:3] - 0.3 - scan.reshape(40, -1), -1, 1)
    np.testing.assert_allclose(observed[:, 45:], 5 * below, rtol=0, atol=1e-12)


def test_style_holds_on_flat_ground_only():
    engine = Engine(Solo12Terrain(play=True), 200, threads=1)
    engine.seed(np.arange(200))
    engine.reset()
    qpos = engine.simulation.qpos
    qpos[::2, 0] += 1.5  # half of them off the platform
    qpos[::2, 2] = engine.task.ground.height(qpos[::2, 0], qpos[::2, 1]) + 0.4
    rng = np.random.default_rng(0)
    tilt = engine.constraints.names.index("base_orientation")
    on_flat = off_flat = 0
    for _ in range(40):
        violated = engine.step(rng.normal(size=(200, 12))).violated[:, tilt]
        flat = engine.signals.view["terrain_variance"][:, 0] < 1e-3
        assert not violated[~flat].any()
        on_flat, off_flat = on_flat + violated[flat].sum(), off_flat + (~flat).sum()
    assert on_flat > 0
    assert off_flat > 0


def test_success_moves_up_failure_down_and_the_top_starts_again():
    task = Solo12Terrain()
    engine = Engine(task, 5, threads=1)
    engine.memory["place"][:, 0] = [3, 3, 3, 0, 9]
    engine.memory["place"][:, 1] = 2
    engine.memory["place"][:, 2] = [3.2, 0.5, 2.0, 0.0, 3.2]
    engine.memory["command"][:] = [[1, 0, 0], [1, 0, 0], [0.5, 0, 0], [1, 0, 0], [1, 0, 0]]
    # away from the origin by: nothing, nothing, 1.5 m (a quarter of what was commanded is 1.25 m), nothing, nothing
    origin = task.ground.origins[engine.memory["place"][:, 0].astype(int), 2]
    engine.simulation.qpos[:, :2] = origin + np.array([[0, 0], [0, 0], [1.5, 0], [0, 0], [0, 0]])
    engine.signals.update()
    engine.reset()
    assert engine.memory["place"][:, 0].tolist() == [4, 2, 3, 0, 0]
    assert engine.memory["place"][:, 1].tolist() == [2] * 5
    assert not engine.memory["place"][:, 2].any()
    moved = engine.simulation.qpos[:, :2] - task.ground.origins[[4, 2, 3, 0, 0], 2]
    np.testing.assert_allclose(moved, 0.0, rtol=0, atol=1e-12)
    metrics = task.metrics(engine.memory)
    assert metrics["level"] == pytest.approx(9 / 5)
    assert metrics["level/boxes"] == pytest.approx(9 / 5)
    assert not engine.outcomes()["crossed"].any()
    engine.memory["place"][:, 2] = [3.1, 2.9, 3.1, 3.1, 2.9]  # levels 4, 2, 3, 0, 0; column 2 is one of boxes
    found = engine.outcomes()
    for name, expected in {
        "crossed": [1, 0, 1, 1, 0],
        "crossed/boxes": [1, 0, 1, 1, 0],
        "crossed/stairs_up": [np.nan] * 5,
        "crossed/level_0": [np.nan, np.nan, np.nan, 1, 0],
        "crossed/level_4": [1, *[np.nan] * 4],
    }.items():
        np.testing.assert_array_equal(found[name], expected)
    engine.seed(np.arange(5))
    engine.reset()
    assert not engine.memory["place"][:, 0].any()


@pytest.mark.parametrize(
    ("terrain", "message"),
    [
        ({"grid": 0}, "grid must be a positive length"),
        ({"levels": True}, "levels must be a whole number"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"platform": 9.0}, "must be smaller than a field"),
        ({"level": 3}, "unknown key 'level'"),
    ],
)
def test_a_ground_that_cannot_be_is_refused_in_one_line(terrain, message):
    with pytest.raises(TaskError) as error:
        Solo12Terrain(terrain=terrain)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_without_curriculum_few_copies_see_many_levels_and_columns():
    engine = Engine(Solo12Terrain(curriculum=False), 10, threads=1)
    engine.seed(np.arange(10))
    engine.reset()
    levels, columns = engine.memory["place"][:, :2].T
    assert len(set(levels)) >= 5
    assert len(set(columns)) >= 8
    assert engine.observe()[:, 45:].std() > 0

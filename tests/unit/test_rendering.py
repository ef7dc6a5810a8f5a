"""Frames: they show the robot, follow it, cost no change of the caller's model, and never crash without OpenGL."""

import os
import subprocess
import sys
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest

from saferl_envs import opengl
from saferl_envs.errors import TaskError
from saferl_envs.rendering import FrameRenderer, HumanViewer

ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
GL_VARIABLES = ("MUJOCO_GL", "PYOPENGL_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY")


def load(name):
    return mujoco.MjModel.from_xml_path(str(ASSETS / f"{name}.xml"))


def standing(model, **moved):
    """Return qpos0 with entries replaced by index, e.g. ``at_0=3.0``."""
    qpos = model.qpos0.copy()
    for key, value in moved.items():
        qpos[int(key.removeprefix("at_"))] = value
    return qpos


def robot_pixels(frame):
    """Return the pixels of the tan and pink geoms of Gymnasium's robots: red well above blue."""
    return (frame[..., 0].astype(int) - frame[..., 2]) > 50


def run(code, **variables):
    environment = {key: value for key, value in os.environ.items() if key not in GL_VARIABLES}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def gl_backend():
    backend, notice = opengl.choose_backend()
    if backend == "stick":
        pytest.skip(notice)
    return backend


@pytest.fixture(params=["stick", "opengl"])
def backend(request):
    return "stick" if request.param == "stick" else request.getfixturevalue("gl_backend")


@pytest.mark.parametrize("name", ["half_cheetah", "ant"])
@pytest.mark.parametrize("camera", [None, -1])
def test_the_robot_is_in_the_picture_and_moves(name, camera, backend):
    model = load(name)
    with FrameRenderer(model, 160, 120, camera, backend=backend) as renderer:
        first = renderer.render(standing(model))
        bent = renderer.render(standing(model, at_8=0.5))
        again = renderer.render(standing(model))
    assert first.shape == (120, 160, 3)
    assert first.dtype == np.uint8
    assert first.std() > 15
    assert 0.005 < robot_pixels(first).mean() < 0.5
    assert np.mean(first != bent) > 0.002
    assert np.array_equal(first, again)


@pytest.mark.parametrize("name", ["half_cheetah", "ant"])
def test_the_camera_follows_the_robot_over_a_ground_that_stands_still(name, backend):
    model = load(name)
    with FrameRenderer(model, 160, 120, -1, backend=backend) as renderer:
        here, there = renderer.render(standing(model)), renderer.render(standing(model, at_0=7.13))
    for frame in (here, there):
        rows, columns = np.nonzero(robot_pixels(frame))
        assert abs(columns.mean() - 80) < 25
        assert abs(rows.mean() - 60) < 30
        assert columns.min() > 2
        assert columns.max() < 157
    assert np.mean(here[60:] != there[60:]) > 0.05  # the tiles moved past


def test_a_planar_robot_is_seen_from_the_side_and_a_hop_is_seen(backend):
    model = load("half_cheetah")
    with FrameRenderer(model, 160, 120, -1, backend=backend) as renderer:
        low, high = renderer.render(standing(model)), renderer.render(standing(model, at_1=0.2))
        head = renderer.render(standing(model, at_2=-0.6))  # nose up
    rows = [np.nonzero(robot_pixels(frame))[0].mean() for frame in (low, high)]
    assert rows[1] < rows[0] - 3
    right = np.nonzero(robot_pixels(head)[:, 80:])[0].mean()
    left = np.nonzero(robot_pixels(head)[:, :80])[0].mean()
    assert right < left - 10  # +x, where the head is, points right


def test_the_callers_model_and_data_stay_as_they_are(backend):
    model = load("ant")
    data = mujoco.MjData(model)
    before = (model.vis.quality.offsamples, model.vis.global_.offwidth, data.xpos.copy())
    with FrameRenderer(model, 800, 32, backend=backend) as renderer:  # wider than the model's buffer of 640
        assert renderer.render(data).shape == (32, 800, 3)
    assert model.vis.quality.offsamples == before[0] != 0
    assert model.vis.global_.offwidth == before[1] == 640
    assert np.array_equal(data.xpos, before[2])


def test_shadows_reflections_and_multisampling_are_off(gl_backend):
    with FrameRenderer(load("ant"), 64, 48, backend=gl_backend) as renderer:
        scene = renderer._gl.scene
        assert scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] == 0
        assert scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] == 0
        assert renderer._model.vis.quality.offsamples == 0


def test_stick_figures_and_opengl_see_the_same_ground_from_the_same_place(gl_backend):
    model = load("ant")
    depths = []
    for name in (gl_backend, "stick"):
        with FrameRenderer(model, 160, 120, -1, backend=name) as renderer:
            depths.append(renderer.depth(model.qpos0))
    assert depths[0].dtype == depths[1].dtype == np.float32
    np.testing.assert_allclose(depths[1][100:], depths[0][100:], rtol=2e-3)  # ground before the robot
    near = depths[0] < 10.0  # MuJoCo's floor ends at 40 m, where the stick figure's goes on
    assert near.mean() > 0.5
    assert np.mean(np.abs(depths[0] - depths[1])[near] < 0.3) > 0.95


def test_two_renderers_do_not_disturb_each_other(backend):
    cheetah, ant = load("half_cheetah"), load("ant")
    one, two = (FrameRenderer(model, 96, 64, backend=backend) for model in (cheetah, ant))
    alone = one.render(cheetah.qpos0)
    two.render(ant.qpos0)
    assert np.array_equal(one.render(cheetah.qpos0), alone)
    two.close()
    two.close()
    assert np.array_equal(one.render(cheetah.qpos0), alone)
    one.close()


def test_every_shape_is_drawn_as_a_stick_figure():
    shapes = ("box", "cylinder", "ellipsoid", "capsule", "sphere")
    geoms = "".join(f'<geom type="{kind}" size=".1 .1 .1" pos="0 {0.5 * i - 1} 0.5"/>' for i, kind in enumerate(shapes))
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><asset><mesh name="wedge" vertex="0 0 0  .2 0 0  0 .2 0  0 0 .2"/></asset><worldbody>'
        f'<body><freejoint/>{geoms}<geom type="mesh" mesh="wedge" pos="0 1.5 0.5"/></body></worldbody></mujoco>'
    )
    with FrameRenderer(model, 160, 120, backend="stick") as renderer:
        depth = renderer.depth(model.qpos0)
    assert len(np.unique(depth)) == len(shapes) + 2  # one distance per geom, and the sky: there is no ground


def test_bad_cameras_and_positions_name_what_is_valid():
    model = load("ant")
    with pytest.raises(TaskError, match="valid: track"):
        FrameRenderer(model, camera="trak", backend="stick")
    with pytest.raises(TaskError, match="valid: -1, 0"):
        FrameRenderer(model, camera=3, backend="stick")
    with pytest.raises(TaskError, match=r"\(15,\)"):
        FrameRenderer(model, backend="stick").render(np.zeros(3))


def test_a_driver_that_aborts_is_found_out_in_a_process_of_its_own(monkeypatch):
    monkeypatch.setattr(opengl, "PROBE", "import os; os.abort()  # {name}")
    monkeypatch.setenv("MUJOCO_GL", "egl")
    opengl.probe.cache_clear()
    try:
        backend, notice = opengl.choose_backend()
    finally:
        opengl.probe.cache_clear()
    assert backend == "stick"
    assert "crashes (signal 6)" in notice
    assert "libegl1" in notice
    assert "libosmesa6" in notice


def test_off_draws_stick_figures_and_loads_no_opengl():
    code = f"""
import sys, mujoco
from saferl_envs.rendering import FrameRenderer
renderer = FrameRenderer(mujoco.MjModel.from_xml_path({str(ASSETS / "ant.xml")!r}), 64, 48)
loaded = [name for name in sys.modules if name.startswith(("OpenGL", "mujoco.egl", "mujoco.osmesa", "glfw"))]
print(renderer.backend, renderer.render(renderer._data).std() > 10, loaded, renderer.notice, sep="|")
"""
    result = run(code, MUJOCO_GL="off")
    assert result.stdout.startswith("stick|True|[]|drawing stick figures because MUJOCO_GL=off"), result.stderr


def test_the_variable_counts_after_mujoco_was_imported_and_importing_is_silent():
    code = f"""
import os, sys, mujoco
import saferl_envs.rendering as rendering
assert not [name for name in sys.modules if name.startswith("OpenGL")]
model = mujoco.MjModel.from_xml_path({str(ASSETS / "ant.xml")!r})
kept = rendering.FrameRenderer(model, 64, 48)  # is still open when the process ends
kept.render(model.qpos0)
os.environ["MUJOCO_GL"] = "off"
print(rendering.FrameRenderer(model, 64, 48).backend)
"""
    result = run(code)
    assert (result.stdout, result.stderr) == ("stick\n", "")


def test_human_mode_without_a_display_returns_one_line(monkeypatch):
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    opengl.probe.cache_clear()
    model = load("ant")
    viewer = HumanViewer(model)
    line = viewer.show(model.qpos0)
    opengl.probe.cache_clear()
    assert line == viewer.notice == "no window: no display; render_mode='rgb_array' works without one"
    viewer.close()

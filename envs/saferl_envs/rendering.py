"""Headless frames of a MuJoCo state: egl, then osmesa, then stick figures with one line that says why.

Importing this module creates no OpenGL context; the first `FrameRenderer` does.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from saferl_envs.camera import FollowCamera, Pinhole
from saferl_envs.errors import TaskError, choose
from saferl_envs.opengl import INSTALL, OpenGLScene, choose_backend, probe
from saferl_envs.signals import FloatArray
from saferl_envs.stick_figure import StickFigure


class FrameRenderer:
    """Draws frames of one model without a window.

    The renderer owns a copy of the model and a state of its own: neither the caller's model nor its data is changed.

    Args:
        model: The model to draw.
        width: Width of the frames, pixels.
        height: Height of the frames, pixels.
        camera: Name or number of a camera of the model. None takes the camera called ``track`` if there is one, else
            one that follows the first moving body, as -1 does always. Stick figures take that one for None.
        backend: ``"egl"``, ``"osmesa"``, ``"glfw"``, ``"cgl"`` or ``"stick"`` to skip the choice.

    Attributes:
        backend: What draws.
        notice: One line that says why stick figures are drawn and how to see the robot itself, else None.

    Raises:
        TaskError: The camera does not exist, or the size is not positive.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        width: int = 320,
        height: int = 240,
        camera: str | int | None = None,
        *,
        backend: str | None = None,
    ) -> None:
        if width < 1 or height < 1:
            raise TaskError(f"renderer: a frame of {width} x {height} pixels; both must be positive")
        self.width, self.height = width, height
        self._camera_id = _camera_id(model, camera)
        self._model = copy.copy(model)
        # Shadows, reflections and multisampling cost a software driver 90 % of its time.
        self._model.vis.quality.offsamples = 0
        self._model.vis.global_.offwidth = max(width, self._model.vis.global_.offwidth)
        self._model.vis.global_.offheight = max(height, self._model.vis.global_.offheight)
        self._data = mujoco.MjData(self._model)
        self._place(self._data.qpos)
        self._follow = FollowCamera(self._model, self._data)
        self._gl: OpenGLScene | None = None
        self.backend, self.notice = (backend, None) if backend else choose_backend()
        if self.backend != "stick":
            try:
                self._gl = OpenGLScene(self._model, self.backend, width, height)
            except Exception as error:
                # The probe passed, but this process had already bound PyOpenGL to another platform, or has no memory.
                self.notice = f"drawing stick figures because {self.backend} failed ({error}); {INSTALL}"
                self.backend = "stick"
        if self._gl is None:
            if camera is None:
                self._camera_id = -1
            self._figure = StickFigure(self._model, width, height, tile=_round_length(0.4 * self._follow.radius))

    def render(self, data_or_qpos: mujoco.MjData | FloatArray) -> NDArray[np.uint8]:
        """Return the frame (H, W, 3) of a state.

        Args:
            data_or_qpos: A state of the model, or its generalised positions (nq,).

        Raises:
            TaskError: The positions do not have nq entries.
        """
        self._place(data_or_qpos)
        if self._gl is not None:
            return self._gl.render(self._data, self._gl_camera())
        return self._figure.draw(self._data, self._pinhole())

    def arrange(self, markers: Mapping[str, FloatArray], body_pos: FloatArray | None = None) -> None:
        """Put mocap bodies, by name, to positions (3,) in m, and bodies where a copy has its own of (nbody, 3), from now on."""
        _arrange(self._model, self._data, markers, body_pos)

    def depth(self, data_or_qpos: mujoco.MjData | FloatArray) -> NDArray[np.float32]:
        """Return the distance along the view axis (H, W), m; stick figures give one distance per geom.

        Args:
            data_or_qpos: A state of the model, or its generalised positions (nq,).

        Raises:
            TaskError: The positions do not have nq entries.
        """
        self._place(data_or_qpos)
        if self._gl is not None:
            return self._gl.depth(self._data, self._gl_camera())
        far = float(self._model.vis.map.zfar * self._model.stat.extent)
        return self._figure.depth(self._data, self._pinhole(), far)

    def close(self) -> None:
        """Free the OpenGL context. Safe to call twice; the renderer cannot be used afterwards."""
        if self._gl is not None:
            self._gl.close()

    def __enter__(self) -> FrameRenderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _place(self, state: mujoco.MjData | FloatArray) -> None:
        """Copy positions into the own state and compute what a picture needs of it, without dynamics."""
        if isinstance(state, mujoco.MjData):
            self._data.mocap_pos[:] = state.mocap_pos
            self._data.mocap_quat[:] = state.mocap_quat
            state = state.qpos
        positions = np.asarray(state, dtype=np.float64)
        if positions.shape != (self._model.nq,):
            raise TaskError(f"renderer: positions of shape {positions.shape}; this model has ({self._model.nq},)")
        self._data.qpos[:] = positions
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        mujoco.mj_tendon(self._model, self._data)

    def _gl_camera(self) -> mujoco.MjvCamera:
        camera = mujoco.MjvCamera()
        if self._camera_id >= 0:
            camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, self._camera_id
        else:
            camera.type = mujoco.mjtCamera.mjCAMERA_FREE
            camera.lookat[:], camera.azimuth, camera.elevation, camera.distance = self._follow.view(self._data)
        return camera

    def _pinhole(self) -> Pinhole:
        number = self._camera_id
        if number < 0:
            return Pinhole.from_view(self._follow.view(self._data), float(self._model.vis.global_.fovy))
        rotation = self._data.cam_xmat[number].reshape(3, 3)
        return Pinhole(self._data.cam_xpos[number], rotation, float(self._model.cam_fovy[number]))


def _camera_id(model: mujoco.MjModel, camera: str | int | None) -> int:
    """Return the number of a camera of the model, -1 for the following one."""
    names = [model.camera(number).name or str(number) for number in range(model.ncam)]
    if camera is None:
        return names.index("track") if "track" in names else -1
    if isinstance(camera, str):
        if camera not in names:
            raise TaskError(choose("camera", camera, names, "renderer"))
        return names.index(camera)
    if not -1 <= camera < model.ncam:
        raise TaskError(choose("camera number", camera, map(str, range(-1, model.ncam)), "renderer"))
    return camera


def _arrange(
    model: mujoco.MjModel, data: mujoco.MjData, markers: Mapping[str, FloatArray], body_pos: FloatArray | None
) -> None:
    for name, position in markers.items():
        data.mocap_pos[model.body(name).mocapid[0]] = position
    if body_pos is not None:
        model.body_pos[:] = body_pos


def _round_length(length: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is not above `length`."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(step * power for step in (1.0, 2.0, 5.0) if step * power <= length * (1 + 1e-9)))


class HumanViewer:
    """Shows states in MuJoCo's window where there is a display; without one it does nothing and says so.

    Args:
        model: The model to show; the window works on a copy.

    Attributes:
        notice: One line that says why there is no window, else None.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = copy.copy(model)
        self._data = mujoco.MjData(self._model)
        self._handle: Any = None
        reason = probe("glfw")
        if reason is None:
            try:
                self._handle = importlib.import_module("mujoco.viewer").launch_passive(self._model, self._data)
            except Exception as error:  # on macOS: only under mjpython
                reason = str(error)
        self.notice = None if reason is None else f"no window: {reason}; render_mode='rgb_array' works without one"

    def arrange(self, markers: Mapping[str, FloatArray], body_pos: FloatArray | None = None) -> None:
        """Put bodies where a copy has them; see `FrameRenderer.arrange`."""
        if self._handle is not None and self._handle.is_running():
            with self._handle.lock():
                _arrange(self._model, self._data, markers, body_pos)

    def show(self, data_or_qpos: mujoco.MjData | FloatArray) -> str | None:
        """Show a state; return None, or the line that says why nothing is shown."""
        if self._handle is None:
            return self.notice
        if not self._handle.is_running():
            return "no window: it was closed"
        qpos = data_or_qpos.qpos if isinstance(data_or_qpos, mujoco.MjData) else data_or_qpos
        with self._handle.lock():
            self._data.qpos[:] = qpos
            mujoco.mj_forward(self._model, self._data)
        self._handle.sync()
        return None

    def close(self) -> None:
        """Close the window. Safe to call twice."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None

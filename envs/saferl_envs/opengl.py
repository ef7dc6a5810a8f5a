"""OpenGL without a window: which backend works on this machine, and one scene drawn with it.

A backend is tried in a process of its own, because a broken driver may abort instead of raising, and because a failed
import of PyOpenGL cannot be undone: it stays bound to the platform that did not work.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes.util
import functools
import importlib
import os
import subprocess
import sys
import weakref
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from saferl_envs.errors import TaskError

INSTALL = "on Debian or Ubuntu install libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri, or libosmesa6"
OFF = ("off", "disable", "disabled", "false", "0")
NAMED = {"egl": "egl", "osmesa": "osmesa", "glfw": "glfw", "glx": "glfw", "wgl": "glfw", "cgl": "cgl"}
LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
PROBE = """
import importlib, mujoco
context = importlib.import_module("mujoco.{name}").GLContext(16, 16)
context.make_current()
model = mujoco.MjModel.from_xml_string("<mujoco/>")
mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value).free()
print("works")
"""


def has_display() -> bool:
    """Return whether a window may be opened. GLFW aborts the process on Linux when there is no display."""
    linux = sys.platform.startswith("linux")
    return not linux or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@functools.cache
def probe(name: str) -> str | None:
    """Return None when the OpenGL backend `name` works on this machine, else why not, in a few words.

    The trial runs once per process, in a child process, and takes about a second.
    """
    if name == "glfw" and not has_display():
        return "no display"
    try:
        trial = subprocess.run(
            [sys.executable, "-c", PROBE.format(name=name)],
            env={**os.environ, "MUJOCO_GL": name},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"could not be tried ({type(error).__name__})"
    if trial.returncode == 0 and "works" in trial.stdout:
        return None
    if trial.returncode < 0:
        return f"its driver crashes (signal {-trial.returncode})"
    library = LIBRARIES.get(name)
    if library and ctypes.util.find_library(library) is None:
        return f"lib{library} is not installed"
    if name == "glfw":
        return "the display cannot be opened or has no OpenGL"
    lines = [line for line in trial.stderr.splitlines() if line and not line.startswith(" ")]
    return lines[-1][:90] if lines else f"exit code {trial.returncode}"


def choose_backend() -> tuple[str, str | None]:
    """Return the backend that works here and, when that is ``"stick"``, one line that says why and what helps.

    ``MUJOCO_GL`` is read at this moment, not when mujoco was imported: ``egl``, ``osmesa`` or ``glfw`` allow that one
    alone, ``off`` allows none. Otherwise the order is egl, osmesa, then glfw where there is a display.
    """
    asked = os.environ.get("MUJOCO_GL", "").lower().strip()
    if asked in OFF:
        return "stick", f"drawing stick figures because MUJOCO_GL={asked}; unset it to see the robot itself"
    native = {"darwin": ["cgl", "glfw"], "win32": ["glfw"]}.get(sys.platform, ["egl", "osmesa", "glfw"])
    reasons = []
    for name in [NAMED[asked]] if asked in NAMED else native:
        reason = probe(name)
        if reason is None:
            return name, None
        reasons.append(f"{name}: {reason}")
    return "stick", f"drawing stick figures because OpenGL does not work here ({'; '.join(reasons)}); {INSTALL}"


class OpenGLScene:
    """One OpenGL context with its scene.

    It imports the context class of the backend directly: ``mujoco.Renderer`` takes the one that ``MUJOCO_GL`` named
    when mujoco was first imported, which is too early for a choice made here.
    """

    def __init__(self, model: mujoco.MjModel, backend: str, width: int, height: int) -> None:
        self._model, self._width, self._height = model, width, height
        self._closed = True
        self._context = importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
        self._context.make_current()
        self._resources = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        self._closed = False
        _open_contexts.add(self)
        # Registered after the backend's own clean-up, so it runs before it; a context freed later prints a traceback.
        atexit.register(_close_all)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._resources)
        self._resources.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self.scene = mujoco.MjvScene(model, maxgeom=model.ngeom + model.nsite + 2000)
        self.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._option = mujoco.MjvOption()
        self._rectangle = mujoco.MjrRect(0, 0, width, height)

    def render(self, data: mujoco.MjData, camera: mujoco.MjvCamera) -> NDArray[np.uint8]:
        """Return the frame (H, W, 3)."""
        frame = np.empty((self._height, self._width, 3), np.uint8)
        self._draw(data, camera, frame, None)
        return np.ascontiguousarray(frame[::-1])

    def depth(self, data: mujoco.MjData, camera: mujoco.MjvCamera) -> NDArray[np.float32]:
        """Return the distances (H, W), m."""
        buffer = np.empty((self._height, self._width), np.float32)
        self._draw(data, camera, None, buffer)
        near = float(self._model.vis.map.znear * self._model.stat.extent)
        far = float(self._model.vis.map.zfar * self._model.stat.extent)
        # The depth buffer is reversed: 1 at the near plane, 0 at the far one.
        distance = near * far / (near + buffer[::-1].astype(np.float64) * (far - near))
        return distance.astype(np.float32)

    def _draw(self, data: mujoco.MjData, camera: mujoco.MjvCamera, color: Any, depth: Any) -> None:
        if self._closed:
            raise TaskError("renderer: it was closed; make a new FrameRenderer")
        self._context.make_current()
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self._model, data, self._option, None, camera, everything, self.scene)
        mujoco.mjr_render(self._rectangle, self.scene, self._resources)
        mujoco.mjr_readPixels(color, depth, self._rectangle, self._resources)

    def close(self) -> None:
        """Free the context. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(Exception):  # a lost context must not hide the error that led here
            self._context.make_current()
            self._resources.free()
            self._context.free()

    def __del__(self) -> None:
        self.close()


_open_contexts: weakref.WeakSet[OpenGLScene] = weakref.WeakSet()


def _close_all() -> None:
    for context in list(_open_contexts):
        context.close()

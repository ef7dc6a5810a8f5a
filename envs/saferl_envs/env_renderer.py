"""Frames of an environment's first copy, in the modes Gymnasium knows; nothing of OpenGL is touched before the first."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from saferl_envs.rendering import FrameRenderer, HumanViewer
from saferl_envs.signals import FloatArray
from saferl_envs.simulation import Simulation


class EnvRenderer:
    """Renders one copy of a simulation on demand.

    Args:
        simulation: The copies.
        camera: Name of a camera of the model, or None for one that follows the robot.
        width: Pixels.
        height: Pixels.
        markers: Returns where mocap bodies of all copies stand, (N, 3) each by name.
    """

    def __init__(
        self,
        simulation: Simulation,
        camera: str | None,
        width: int,
        height: int,
        markers: Callable[[], Mapping[str, FloatArray]] = dict,
    ) -> None:
        self._markers = markers
        self._simulation, self._camera, self._size = simulation, camera, (width, height)
        self._frames: FrameRenderer | None = None
        self._viewer: HumanViewer | None = None
        self._warned = False

    @property
    def frames(self) -> FrameRenderer:
        """The renderer behind, made at first use."""
        if self._frames is None:
            self._frames = FrameRenderer(self._simulation.model, *self._size, camera=self._camera)
        return self._frames

    @property
    def notice(self) -> str | None:
        """The line that says why stick figures are drawn, if so."""
        return self.frames.notice

    def render(self, mode: str | None, copy: int = 0) -> Any:
        """Return a frame of one copy: (H, W, 3) uint8, (H, W) float32 depth in m, or None where no mode is set."""
        if mode is None:
            return None
        qpos = self._simulation.qpos[copy]
        markers = {name: positions[copy] for name, positions in self._markers().items()}
        body_pos = self._simulation.own_field("body_pos", copy)
        if mode == "human":
            if self._viewer is None:
                self._viewer = HumanViewer(self._simulation.model)
            self._viewer.arrange(markers, body_pos)
            notice = self._viewer.show(qpos)
            if notice is not None and not self._warned:
                self._warned = True
                warnings.warn(notice, stacklevel=2)
            return None
        self.frames.arrange(markers, body_pos)
        return self.frames.depth(qpos) if mode == "depth_array" else self.frames.render(qpos)

    def close(self) -> None:
        """Free the renderer."""
        if self._frames is not None:
            self._frames.close()
            self._frames = None
        if self._viewer is not None:
            self._viewer.close()
            self._viewer = None

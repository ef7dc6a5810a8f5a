"""Frames of the first of some Gymnasium environments, which themselves are made without a render mode and pay nothing for it.

A robot on MuJoCo is drawn by our own renderer, which needs no display. Anything else is drawn by a twin that is made with
``render_mode="rgb_array"`` at the first frame and plays the first copy's episode again. Where that fails, a plain frame says
why.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from saferl_envs.errors import TaskError, choose
from saferl_envs.gymnasium_make import one_line
from saferl_envs.rendering import FrameRenderer

if TYPE_CHECKING:
    from saferl_envs.gymnasium_copies import GymnasiumCopies

Frame = NDArray[np.uint8]
_PAPER, _INK, _FRAME = (244, 244, 240), (40, 44, 52), (24, 26, 30)
_FONT_SIZE = 12


class TwinRenderer:
    """Draws the first copy.

    Args:
        copies: The copies.
        width: Of a frame, pixels.
        height: Of a frame, pixels.

    Raises:
        TaskError: The size is not positive.
    """

    def __init__(self, copies: GymnasiumCopies, width: int, height: int) -> None:
        if width < 1 or height < 1:
            raise TaskError(f"renderer: a frame of {width} x {height} pixels; both must be positive")
        self._copies, self._width, self._height = copies, width, height
        self._robot: FrameRenderer | None = None
        self._twin: gymnasium.Env[Any, Any] | None = None
        self._number, self._steps = 0, 0
        self._observation: Any = None
        self._notice: str | None = None
        self._drew, self._failed = False, False

    @property
    def notice(self) -> str | None:
        """One line that says why there is no picture, or no exact one, if so."""
        if not self._drew:
            self.render("rgb_array")
        return self._notice

    def render(self, mode: str | None) -> Frame | None:
        """Return a frame (H, W, 3), or None where no mode is set.

        Raises:
            TaskError: The mode is another than ``rgb_array``.
        """
        if mode is None:
            return None
        if mode != "rgb_array":
            raise TaskError(choose("render mode", mode, ["rgb_array"], self._copies.env_id))
        self._drew = True
        if not self._failed:
            try:
                return self._draw()
            except Exception as error:  # a missing library, a lost display: training must not die of a picture
                self._failed = True
                self._notice = f"{self._copies.env_id} draws no picture here ({one_line(error)})"
        return self._page()

    def close(self) -> None:
        """Free the twin and what draws."""
        if self._robot is not None:
            self._robot.close()
            self._robot = None
        if self._twin is not None:
            self._twin.close()
            self._twin = None

    def _draw(self) -> Frame:
        base = self._copies.first.unwrapped
        model, data = getattr(base, "model", None), getattr(base, "data", None)
        if isinstance(model, mujoco.MjModel) and isinstance(data, mujoco.MjData):
            if self._robot is None:
                self._robot = FrameRenderer(model, self._width, self._height)
                self._notice = self._robot.notice
            return self._robot.render(data)
        frame = np.asarray(self._followed().render())
        if frame.ndim != 3 or frame.shape[2] != 3:
            raise TaskError(f"its frames have shape {frame.shape}, expected (height, width, 3)")
        image = Image.fromarray(frame.astype(np.uint8))
        return np.asarray(ImageOps.pad(image, (self._width, self._height), color=_FRAME))

    def _followed(self) -> gymnasium.Env[Any, Any]:
        """Return the twin, brought to where the first copy is."""
        copies, episode = self._copies, self._copies.episode
        if self._twin is None:
            modes = copies.first.metadata.get("render_modes") or []
            if "rgb_array" not in modes:
                raise TaskError(f"its render modes are {', '.join(modes) or 'none'}, and rgb_array is needed")
            self._twin, self._number = copies.twin(), 0
        if self._number != episode.number:
            self._observation, _ = self._twin.reset(seed=episode.seed)
            self._number, self._steps = episode.number, 0
        for action in copies.first_actions(self._steps, episode.steps):
            self._observation = self._twin.step(action)[0]
        self._steps = episode.steps
        if not copies.sees(self._observation):
            self._notice = f"{copies.env_id} is not deterministic under its seed: the picture is of another course"
        return self._twin

    def _page(self) -> Frame:
        """Return a plain frame with words."""
        image = Image.new("RGB", (self._width, self._height), _PAPER)
        lines = [self._copies.env_id, f"step {self._copies.episode.steps}", "", self._notice or ""]
        room = max(8, 2 * self._width // _FONT_SIZE - 2)
        wrapped = [part for line in lines for part in (textwrap.wrap(line, room) or [""])]
        font = ImageFont.load_default(size=_FONT_SIZE)
        ImageDraw.Draw(image).multiline_text((_FONT_SIZE, _FONT_SIZE), "\n".join(wrapped), fill=_INK, font=font)
        return np.asarray(image)

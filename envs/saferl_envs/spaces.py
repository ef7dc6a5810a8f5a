"""Gymnasium spaces and render settings of a task, the same for every face."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from saferl_envs.signals import FloatArray

RENDER_MODES = ["human", "rgb_array", "depth_array"]


def action_space(low: FloatArray, high: FloatArray) -> spaces.Box:
    """Return the action space of one copy, float32, from its bounds (na,)."""
    return spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)


def observation_space(size: int) -> spaces.Box:
    """Return the unbounded observation space of one copy, float64 as in Gymnasium's own environments."""
    return spaces.Box(-np.inf, np.inf, (size,), np.float64)


def metadata(control_timestep: float) -> dict[str, Any]:
    """Return the render modes and the frame rate at which video runs in real time."""
    return {"render_modes": RENDER_MODES, "render_fps": round(1.0 / control_timestep)}

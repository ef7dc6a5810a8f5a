"""Gymnasium spaces and render settings of a task, the same for every face."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from saferl_envs.engine import Engine

RENDER_MODES = ["human", "rgb_array", "depth_array"]


def action_space(engine: Engine) -> spaces.Box:
    """Return the action space of one copy, float32."""
    return spaces.Box(engine.action_low.astype(np.float32), engine.action_high.astype(np.float32), dtype=np.float32)


def observation_space(engine: Engine) -> spaces.Box:
    """Return the unbounded observation space of one copy, float64 as in Gymnasium's own environments."""
    return spaces.Box(-np.inf, np.inf, (engine.observe().shape[1],), np.float64)


def metadata(engine: Engine) -> dict[str, Any]:
    """Return the render modes and the frame rate at which video runs in real time."""
    return {"render_modes": RENDER_MODES, "render_fps": round(1.0 / engine.simulation.control_timestep)}

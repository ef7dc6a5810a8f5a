"""What the barrier safeguard must hold on every registered task; a new task is tested here because it is registered."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

import saferl_envs
from saferl_controllers import safeguards
from saferl_envs.engine import Engine
from saferl_envs.errors import ConfigError

# levels and variants are one class with other numbers
IDS = tuple({type(saferl_envs.make_task(env_id)): env_id for env_id in reversed(saferl_envs.task_ids())}.values())
TOLERANCE = 1e-3


@pytest.mark.parametrize("env_id", IDS)
def test_what_is_verified_keeps_every_limit(env_id: str) -> None:
    copies = Engine(saferl_envs.make_task(env_id), 2, threads=1)
    copies.seed(np.arange(2))
    copies.reset()
    settings = safeguards()["barrier"].settings.model_validate({"name": "barrier", "backup": "holding", "horizon": 2})
    low, high = (getattr(copies.action_space, side, np.inf) for side in ("low", "high"))
    if not isinstance(copies.action_space, spaces.Box) or not np.isfinite(high - low).all():
        with pytest.raises(ConfigError, match=r"finite bounds|range"):
            settings.build(copies)
        return
    safeguard, rng = settings.build(copies), np.random.default_rng(0)
    for _ in range(3):
        proposed = rng.uniform(low, high, (2, *low.shape)).astype(np.float32)
        found = safeguard.filter(copies.present(), proposed)
        assert ((found.action >= low) & (found.action <= high)).all()
        assert (found.feasible == (found.slack == 0.0)).all()
        assert (found.action[~found.intervened] == proposed[~found.intervened]).all()
        assert ((found.rung >= 0) & (found.rung < safeguard.rungs)).all()
        taken = copies.step(found.action)
        assert (taken.values[found.verified] <= TOLERANCE).all()
        ended = np.flatnonzero(taken.terminated | taken.truncated)
        if ended.size:
            copies.reset(ended)

"""A price on corrections: behind a safeguard, learners are paid less for proposals that it had to change.

Where a whole region of proposals is corrected to the same action, nothing tells a learner which way leads out of it. The price
does (the "adaption penalty" of Krasowski et al. 2023, Provably safe reinforcement learning, arXiv 2205.06750). That it grows
with the squared distance, so that it has a slope everywhere, is our choice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnvWrapper

from saferl.vec import ConstrainedVecEnv


class PricedCorrections(VecEnvWrapper):
    """Takes ``price * sum(((proposed - executed) / half range)^2)`` from the reward of every step.

    The returns in ``info["episode"]`` are without it: they say how a task goes, and stay comparable.

    Args:
        venv: Copies behind a safeguard.
        price: Reward per squared half range, not below 0.
    """

    def __init__(self, venv: ConstrainedVecEnv, price: float) -> None:
        super().__init__(venv)
        self._base, self.price = venv, price
        space: Any = venv.action_space  # a Box: safeguards guard no other
        half = 0.5 * (space.high.astype(np.float64) - space.low)
        self._scale = np.where(np.isfinite(half), half, 1.0)

    def reset(self) -> Any:
        """Reset every copy."""
        return self.venv.reset()

    def step_wait(self) -> Any:
        """Step, and take the price of what was corrected."""
        observations, rewards, dones, infos = self.venv.step_wait()
        step: Any = self._base.last_step
        told = step.extras
        moved = (told["action_proposed"] - told["action_executed"]) / self._scale
        return observations, rewards - self.price * np.square(moved).sum(axis=1), dones, infos

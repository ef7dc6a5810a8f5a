"""Scales that follow a quantity slowly, so that dividing by them does not hide how its size changes from rollout to rollout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch as th

from saferl_envs.errors import ConfigError

MEMORY = 0.95


class SlowScale:
    """Running standard deviations of C quantities: the first rollout's, then ``0.95 scale + 0.05 deviation`` each.

    Standardising every minibatch makes the mixture of equal reward and cost a signal of constant size that only flips its
    sign when the multiplier passes 1; the theory of optimistic players needs its magnitude.

    Args:
        members: Number of quantities C.
    """

    def __init__(self, members: int) -> None:
        self.scales = th.ones(members, dtype=th.float64)
        self.seeded = th.zeros(1, dtype=th.bool)

    def __call__(self, values: th.Tensor) -> th.Tensor:
        """See one rollout's values (B, C); return them with their means removed, divided by the scales."""
        centred = values - values.mean(dim=0)
        found = centred.std(dim=0).double().cpu()
        self.scales = MEMORY * self.scales + (1.0 - MEMORY) * found if self.seeded else found
        self.seeded = th.ones(1, dtype=th.bool)
        return centred / (self.scales.to(values) + 1e-8)

    def state_dict(self) -> dict[str, Any]:
        """Return the scales, every bit."""
        return {"scales": self.scales.clone(), "seeded": self.seeded.clone()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take over what `state_dict` returned.

        Raises:
            ConfigError: It is of another number of quantities.
        """
        if state["scales"].shape != self.scales.shape:
            raise ConfigError(f"the saved scales are of {len(state['scales'])} advantages, expected {len(self.scales)}")
        self.scales, self.seeded = state["scales"].double().cpu().clone(), state["seeded"].cpu().clone()

"""A rollout as flat tensors, for methods that draw minibatches of it themselves."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch as th


class Rollout(NamedTuple):
    """A rollout, or a minibatch of it: B steps under C limited constraints.

    Attributes:
        observations: (B, ...), or a dictionary of such.
        actions: (B, na), or (B,) whole numbers.
        old_log_prob: (B,) of the policy that acted.
        advantages: (B,) of rewards.
        returns: (B,) of rewards.
        features: (B, F) what the cost critics see.
        cost_advantages: (B, C) scaled.
        cost_targets: (B, C) scaled cost returns.
    """

    observations: Any
    actions: th.Tensor
    old_log_prob: th.Tensor
    advantages: th.Tensor
    returns: th.Tensor
    features: th.Tensor
    cost_advantages: th.Tensor
    cost_targets: th.Tensor

    def pick(self, index: th.Tensor) -> Rollout:
        """Return some of the steps."""
        observations, *rest = self
        parts = isinstance(observations, dict)
        picked = {key: part[index] for key, part in observations.items()} if parts else observations[index]
        return Rollout(picked, *(tensor[index] for tensor in rest))


def stack(observations: list[Any]) -> Any:
    """Return single observations as one batch."""
    if isinstance(observations[0], dict):
        return {key: np.stack([observation[key] for observation in observations]) for key in observations[0]}
    return np.stack(observations)

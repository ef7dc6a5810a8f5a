"""Cost critics: one value network per constraint, evaluated together, and the advantages that follow from them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch as th
from torch import nn

Array = np.ndarray[Any, Any]


class ParallelLinear(nn.Module):
    """C independent linear layers in one product: (C, N, in) to (C, N, out), orthogonal weights, zero biases."""

    def __init__(self, members: int, inputs: int, outputs: int, gain: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(th.empty(members, inputs, outputs))
        self.bias = nn.Parameter(th.zeros(members, 1, outputs))
        for member in range(members):
            nn.init.orthogonal_(self.weight.data[member].T, gain)

    def forward(self, x: th.Tensor) -> th.Tensor:
        """Return the outputs (C, N, out)."""
        return th.baddbmm(self.bias, x, self.weight)


class CostCritics(nn.Module):
    """C value networks of the same shape that share no parameters; training clips the norm of all their gradients together.

    They are trained on cost returns times `scale`, so that their outputs are near 1 at most: with ``1 - gamma``, the
    output is a discounted share of violating steps for indicator costs.

    Args:
        inputs: Number of features.
        members: Number of constraints C.
        hidden: Widths of the hidden layers.
        activation: Their activation.
        learning_rate: Of Adam, apart from the policy's, so that the scale of costs does not touch the policy's clipping.
        scale: Factor between cost returns and outputs.
        gain: Of the last layer's first weights; 0 to begin with outputs of 0 everywhere.
    """

    def __init__(
        self, inputs: int, members: int, hidden: Sequence[int], activation: type[nn.Module], learning_rate: float, scale: float,
        gain: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.members, self.scale = members, scale
        widths = [inputs, *hidden]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [ParallelLinear(members, a, b, np.sqrt(2)), activation()]
        self.network = nn.Sequential(*layers, ParallelLinear(members, widths[-1], 1, gain))
        self.optimizer = th.optim.Adam(self.parameters(), lr=learning_rate, eps=1e-5, fused=True)

    def forward(self, features: th.Tensor) -> th.Tensor:
        """Return scaled cost values (N, C) of features (N, inputs)."""
        out: th.Tensor = self.network(features.expand(self.members, *features.shape))
        return out.squeeze(-1).T

    def values(self, features: th.Tensor) -> th.Tensor:
        """Return cost values (N, C) in units of discounted cost, without gradient."""
        with th.no_grad():
            found: th.Tensor = self(features) / self.scale
        return found


def cost_advantages(
    costs: Array, values: Array, next_values: Array, ended: Array, gamma: float, gae_lambda: float
) -> tuple[Array, Array]:
    """Return generalised advantages and returns of costs (Schulman et al. 2016, equation 16, with costs for rewards).

    ``delta_t = c_t + gamma V'_t - V_t`` and ``A_t = delta_t + gamma lambda (1 - ended_t) A_t+1``; returns are ``A + V``.

    Args:
        costs: (T, N, C) per-step costs.
        values: (T, N, C) cost values of the observations acted on.
        next_values: (T, N, C) cost values of what followed: of the last observation where a time limit ended the episode,
            zero where it terminated.
        ended: (T, N) whether the episode ended with this step.
        gamma: Discount of costs.
        gae_lambda: Weight of longer returns.
    """
    delta = costs + gamma * next_values - values
    advantages = np.zeros_like(delta)
    carried = np.zeros_like(delta[0])
    goes_on = (gamma * gae_lambda * ~ended)[..., np.newaxis].astype(delta.dtype)
    for t in reversed(range(len(delta))):
        carried = delta[t] + goes_on[t] * carried
        advantages[t] = carried
    return advantages, advantages + values

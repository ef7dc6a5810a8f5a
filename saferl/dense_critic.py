"""One cost critic in NumPy, with its slopes: for a few inputs torch takes several times as long."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from saferl.cost_critics import CostCritics, ParallelLinear

Array = np.ndarray[Any, Any]


class DenseCritic:
    """What a `CostCritics` of one member with rectified units says of states and actions.

    On a CPU the critic's own weights are looked at, so that it may learn meanwhile; elsewhere they are a copy.

    Args:
        critic: The critic.
        states: How many of its inputs are the state's; those of an action follow.
    """

    def __init__(self, critic: CostCritics, states: int) -> None:
        linear = [layer for layer in critic.network if isinstance(layer, ParallelLinear)]
        if critic.members != 1 or not all(isinstance(layer, ParallelLinear | nn.ReLU) for layer in critic.network):
            raise ValueError("a dense critic has one member and rectified units")
        self._weights = [layer.weight.detach()[0].cpu().numpy() for layer in linear]
        self._biases = [layer.bias.detach()[0].cpu().numpy() for layer in linear]
        self._of_states, self._of_actions = self._weights[0][:states], self._weights[0][states:]
        self._seen, self._at = linear[0].weight, linear[0].weight.data_ptr() if linear[0].weight.device.type == "cpu" else -1

    def shows(self, critic: CostCritics) -> bool:
        """Return whether what a critic says now is still seen here."""
        weight: Any = critic.network[0].weight
        return weight is self._seen and weight.data_ptr() == self._at

    def prepared(self, features: Array) -> Array:
        """Return what states (N, states) put into the first layer, (N, width): the same for all actions."""
        found: Array = features @ self._of_states + self._biases[0]
        return found

    def values(self, prepared: Array) -> Array:
        """Return the values (N,) of prepared states, for a critic of states alone."""
        return self._up(prepared)[0]

    def risk(self, prepared: Array, actions: Array) -> Array:
        """Return the risk (N,) of actions (N, na) in prepared states."""
        return self._up(prepared + actions.astype(np.float32) @ self._of_actions)[0]

    def slopes(self, prepared: Array, actions: Array) -> tuple[Array, Array]:
        """Return the risk (N,) of actions (N, na) in prepared states, and its slope (N, na)."""
        risk, on = self._up(prepared + actions.astype(np.float32) @ self._of_actions)
        slope = on[-1] * self._weights[-1].T
        for weight, active in zip(self._weights[-2:0:-1], on[-2::-1], strict=True):
            slope = (slope @ weight.T) * active
        return risk, (slope @ self._of_actions.T).astype(np.float64)

    def _up(self, before: Array) -> tuple[Array, list[Array]]:
        """Return the output (N,), and which hidden units (N, width) are on, layer by layer."""
        on = [before > 0.0]
        for weight, bias in zip(self._weights[1:-1], self._biases[1:-1], strict=True):
            before = (before * on[-1]) @ weight + bias
            on.append(before > 0.0)
        out = (before * on[-1]) @ self._weights[-1] + self._biases[-1]
        return out[:, 0].astype(np.float64), on

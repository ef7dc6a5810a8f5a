"""Lagrange multipliers, one per limited constraint: dual ascent, and the PID controller of which it is the integral part.

Both see, once per policy iteration, the mean episode cost J of each constraint, and its error against the cost limit d:
``e = J - d`` for ``<=`` and ``==``, ``e = d - J`` for ``>=``, so that a positive error always asks for more pressure.
Multipliers of inequalities are never negative; an equality's may be. They are the magnitudes: `Multipliers.weights` turns
them into the signed weights of the cost advantages.

Sources: Stooke, Achiam and Abbeel 2020 (arXiv 2007.03964) for PID; Ray, Achiam and Amodei 2019 for PPO-Lagrangian.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch as th
from pydantic import BaseModel, Field, PositiveFloat

from saferl_envs.errors import ConfigError

Array = np.ndarray[Any, Any]
Optimizer = Literal["sgd", "adam"]
CostScale = PositiveFloat | Literal["limit"]


class Multipliers(ABC):
    """What every update rule shares.

    Args:
        limits: Cost limit of each constraint, (C,), in units of its aggregated cost.
        senses: ``<=``, ``>=`` or ``==`` of each.
        initial: Their common start.
        maximum: Cap on their size, or None.
        cost_scale: Costs and limits are divided by it before anything else, so that gains need not be changed; ``limit``
            divides by the size of each limit, of the one it falls to where it falls, so that errors are relative and one gain
            serves constraints of different units (ours).

    Attributes:
        values: (C,) float64.
        limits: The present cost limits (C,).

    Raises:
        ConfigError: A cost is to be relative to a limit of 0.
    """

    def __init__(
        self,
        limits: Sequence[float],
        senses: Sequence[str],
        initial: float = 0.0,
        maximum: float | None = None,
        cost_scale: CostScale = 1.0,
    ) -> None:
        self.limits = np.asarray(limits, np.float64)
        self._direction = np.array([-1.0 if sense == ">=" else 1.0 for sense in senses])
        self._floor = np.array([-np.inf if sense == "==" else 0.0 for sense in senses])
        self._maximum = maximum
        self._cost_scale = np.abs(self.limits) if cost_scale == "limit" else np.full(len(self.limits), cost_scale)
        if not self._cost_scale.all():
            raise ConfigError("method.cost_scale: limit needs cost limits other than 0, to divide by")
        self.values = np.full(len(self.limits), float(initial))

    @property
    def weights(self) -> Array:
        """The signed weights (C,) of the cost advantages in ``A_reward - sum_i weight_i A_cost_i``."""
        weights: Array = self._direction * self.values
        return weights

    def set_limits(self, limits: Array) -> None:
        """Take other cost limits (C,) from now on."""
        self.limits = np.asarray(limits, np.float64)

    def error(self, costs: Array) -> Array:
        """Return the errors (C,) of mean episode costs (C,); positive asks for more pressure."""
        error: Array = self._direction * (np.asarray(costs, np.float64) - self.limits) / self._cost_scale
        return error

    def project(self, values: Array) -> Array:
        """Return values (C,) held at zero from below for inequalities, and within the cap."""
        held: Array = np.maximum(values, self._floor)
        return held if self._maximum is None else np.clip(held, -self._maximum, self._maximum)

    @abstractmethod
    def update(self, costs: Array) -> None:
        """Let the multipliers see the mean episode costs (C,) of one policy iteration."""

    @abstractmethod
    def _state(self) -> dict[str, Array]:
        """Return the arrays behind the values, live."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything as tensors, every bit."""
        return {name: th.from_numpy(array.copy()) for name, array in {"values": self.values, **self._state()}.items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take over what `state_dict` returned.

        Raises:
            ConfigError: It is of another rule or number of constraints.
        """
        mine = {"values": self.values, **self._state()}
        if set(state) != set(mine) or any(tuple(state[name].shape) != array.shape for name, array in mine.items()):
            raise ConfigError(f"the multipliers' state does not fit {type(self).__name__} of {len(self.values)} constraints")
        for name, array in mine.items():
            array[...] = state[name].cpu().numpy()


class MultiplierSettings(BaseModel):
    """Settings that every rule has; mixed into those of methods.

    Attributes:
        multiplier_initial: Start of every multiplier.
        multiplier_maximum: Cap, or None; needed where `sum_norm` is off (rlpyt and OmniSafe: 100).
        cost_scale: Costs and limits are divided by it before the rule sees them (rlpyt: 10), or by the limits (``limit``).
        sum_norm: Divide the mixture by ``1 + sum |w|``.
    """

    multiplier_initial: float = Field(0.0, ge=0)
    multiplier_maximum: PositiveFloat | None = None
    cost_scale: CostScale = 1.0
    sum_norm: bool = True

    def shared(self) -> dict[str, Any]:
        """Return the arguments that all rules take."""
        return {"initial": self.multiplier_initial, "maximum": self.multiplier_maximum, "cost_scale": self.cost_scale}


class DualAscent(Multipliers):
    """Gradient ascent on the dual: ``lambda <- max(0, lambda + lr e)``, or Adam on the same gradient.

    OmniSafe's PPO-Lagrangian uses Adam with lr 0.035 from 0.001, where each update moves a multiplier by about lr whatever
    the size of the error.
    """

    def __init__(self, *args: Any, learning_rate: float, optimizer: Optimizer = "sgd", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.learning_rate, self.optimizer = learning_rate, optimizer
        self._first, self._second = np.zeros_like(self.values), np.zeros_like(self.values)
        self._updates = np.zeros(1)

    def update(self, costs: Array) -> None:
        """Take one step of ascent."""
        error = self.error(costs)
        self.values[:] = self.project(
            self.values + self.learning_rate * (error if self.optimizer == "sgd" else self._adam(error))
        )

    def _adam(self, gradient: Array, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Array:
        """Return Adam's direction (Kingma and Ba 2015, algorithm 1)."""
        self._updates += 1
        self._first[:] = beta1 * self._first + (1 - beta1) * gradient
        self._second[:] = beta2 * self._second + (1 - beta2) * gradient**2
        first, second = self._first / (1 - beta1**self._updates), self._second / (1 - beta2**self._updates)
        direction: Array = first / (np.sqrt(second) + epsilon)
        return direction

    def _state(self) -> dict[str, Array]:
        return {"first": self._first, "second": self._second, "updates": self._updates}


class PID(Multipliers):
    """PID control of the multipliers (Stooke et al. 2020, algorithm 2, as rlpyt and OmniSafe compute it).

    With ``e`` and J as above::

        I <- max(0, I + ki e)
        P <- a_p P + (1 - a_p) e ;   S <- a_d S + (1 - a_d) J ;   D <- max(0, S - S[delay updates ago])
        lambda = max(0, kp P + I + kd D)

    D acts only where the cost moves away from what is allowed, which for ``>=`` is falling cost. For an equality, which the
    paper does not treat, nothing is held at zero and D has both signs. With kp = kd = 0 this is dual ascent with learning
    rate ki, bit for bit. FSRL's form is smoothing 0 and delay 1.
    """

    def __init__(
        self,
        *args: Any,
        kp: float,
        ki: float,
        kd: float,
        p_smoothing: float = 0.95,
        d_smoothing: float = 0.95,
        d_delay: int = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.kp, self.ki, self.kd = kp, ki, kd
        self.p_smoothing, self.d_smoothing = p_smoothing, d_smoothing
        self._integral = self.values.copy()
        self._proportional = np.zeros_like(self.values)
        # the smoothed cost of the last `d_delay` updates, oldest first; before the first update all are the first cost
        self._smoothed = np.zeros((d_delay + 1, len(self.values)))
        self._seeded = np.zeros(1)

    def update(self, costs: Array) -> None:
        """Take one step of the controller."""
        error = self.error(costs)
        signed_cost = self._direction * np.asarray(costs, np.float64) / self._cost_scale
        if not self._seeded[0]:
            self._smoothed[:], self._seeded[0] = signed_cost, 1.0
        newest = self.d_smoothing * self._smoothed[-1] + (1 - self.d_smoothing) * signed_cost
        self._smoothed[:-1] = self._smoothed[1:].copy()
        self._smoothed[-1] = newest
        self._proportional[:] = self.p_smoothing * self._proportional + (1 - self.p_smoothing) * error
        self._integral[:] = self.project(self._integral + self.ki * error)
        derivative = np.maximum(self._smoothed[-1] - self._smoothed[0], self._floor)
        pushed = self._integral
        if self.kp:
            pushed = pushed + self.kp * self._proportional
        if self.kd:
            pushed = pushed + self.kd * derivative
        self.values[:] = self.project(pushed)

    def _state(self) -> dict[str, Array]:
        return {
            "integral": self._integral,
            "proportional": self._proportional,
            "smoothed": self._smoothed,
            "seeded": self._seeded,
        }

"""Limited constraints as one-sided ones, for methods that only know ``<=``: ``>=`` turned round, ``==`` as both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch as th

from saferl_envs.errors import ConfigError

Array = np.ndarray[Any, Any]


class OneSided:
    """M conditions ``error <= 0`` made of C constraints.

    Args:
        limits: (C,) cost limits.
        senses: ``<=``, ``>=`` or ``==`` of each.

    Attributes:
        columns: (M,) which constraint each condition is about.
        signs: (M,) 1 where its cost must not be larger, -1 where it must not be smaller.
        errors: (M,) by how much each condition was broken when costs were last seen, or NaN.
    """

    def __init__(self, limits: Sequence[float], senses: Sequence[str]) -> None:
        sides = {"<=": (1.0,), ">=": (-1.0,), "==": (1.0, -1.0)}
        pairs = [(c, sign) for c, sense in enumerate(senses) for sign in sides[sense]]
        self.limits = np.asarray(limits, np.float64)
        self.columns = np.array([c for c, _ in pairs], np.intp)
        self.signs = np.array([sign for _, sign in pairs])
        self.errors: Array = np.full(len(pairs), np.nan)

    @property
    def known(self) -> bool:
        """Whether costs have been seen."""
        return not np.isnan(self.errors).any()

    def see(self, costs: Array, factors: Array | float = 1.0) -> None:
        """Note by how much mean episode costs (C,) break each condition, times factors (C,) that give the errors' unit."""
        self.errors[:] = self.signs * ((np.asarray(costs, np.float64) - self.limits) * factors)[self.columns]

    def advantages(self, costs: th.Tensor) -> th.Tensor:
        """Return cost advantages (B, C) as those of the conditions (B, M): larger is worse."""
        signs = th.as_tensor(self.signs, dtype=costs.dtype, device=costs.device)
        return costs[:, th.as_tensor(self.columns, device=costs.device)] * signs

    def state_dict(self) -> dict[str, Any]:
        """Return what was seen, every bit."""
        return {"errors": th.from_numpy(self.errors.copy())}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take over what `state_dict` returned.

        Raises:
            ConfigError: It is of another number of conditions.
        """
        if state["errors"].shape != self.errors.shape:
            raise ConfigError(f"the saved errors are of {len(state['errors'])} conditions, expected {len(self.errors)}")
        self.errors[:] = state["errors"].cpu().numpy()

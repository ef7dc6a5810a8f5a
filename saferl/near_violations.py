"""Steps that count as violating already before a limit is reached, for critics that learn from violations alone.

Whether a step violates says nothing of how near the others came. Counted from a margin on, violations are seen more often, and
what was learned from them is still right where it is a little wrong. The constraints themselves, what is logged and what is
judged, stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch as th

from saferl.learned_costs import require_margins
from saferl_envs.errors import ConfigError


class NearViolations:
    """Violating steps of some constraints, counted from margins below their limits on.

    Args:
        specs: Specifications of all C constraints.
        columns: Which of them count.
        margins: By constraint name, how far below its limit violations begin to count, in the constraint's unit.
        where: Where `margins` stands, for error messages.

    Raises:
        ConfigError: A margin is of no constraint that counts, has no meaning for it, or is negative.
    """

    def __init__(
        self, specs: Sequence[Mapping[str, Any]], columns: Sequence[int], margins: Mapping[str, float], where: str = "method"
    ) -> None:
        names = [spec["name"] for spec in specs]
        require_margins(dict(zip(names, specs, strict=True)), margins, where)
        for name in margins:
            if names.index(name) not in columns:
                raise ConfigError(f"{where}.margins.{name}: the constraint is not guarded")
            if margins[name] < 0.0:
                raise ConfigError(f"{where}.margins.{name}: must not be negative, got {margins[name]:g}")
        ends = np.cumsum([len(spec["components"]) for spec in specs])
        self._columns = list(columns)
        self._near = [
            (slice(int(end) - len(spec["components"]), int(end)), float(margins[name]))
            for name, spec, end in zip(names, specs, ends, strict=True)
            if name in margins
        ]

    def __call__(self, violated: th.Tensor, values: th.Tensor) -> th.Tensor:
        """Return whether steps count, (B, 1) of 0 and 1.

        Args:
            violated: (B, C) whether each constraint was violated, 0 or 1.
            values: (B, K) signed values of all constraints' components.
        """
        found = violated[:, self._columns].amax(dim=1, keepdim=True)
        for part, margin in self._near:
            near = values[:, part].amax(dim=1, keepdim=True) > -margin
            found = th.maximum(found, near.to(found.dtype))
        return found

"""Soft actor-critic that knows its constraints: an off-policy baseline.

Haarnoja et al. 2018 (SAC, arXiv 1812.05905) as Stable-Baselines3 implements it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import PositiveFloat
from stable_baselines3 import SAC

from saferl.algorithms.off_policy import ConstrainedOffPolicy, OffPolicySettings
from saferl.algorithms.registry import register_method


class ConstrainedSAC(ConstrainedOffPolicy, SAC):
    """SAC on an environment with constraints, which are recorded and logged but not enforced."""

    def learning_state(self) -> dict[str, Any]:
        """Return the entropy coefficient too."""
        own = None if self.log_ent_coef is None else self.log_ent_coef.detach().clone()
        return {**super().learning_state(), "log_ent_coef": own}

    def load_learning_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `learning_state` returned."""
        super().load_learning_state(state)
        if self.log_ent_coef is not None:
            self.log_ent_coef.data.copy_(state["log_ent_coef"])


@register_method("sac", "SAC without regard to constraints: the off-policy baseline", "Haarnoja et al. 2018, arXiv 1812.05905")
class SACSettings(OffPolicySettings):
    """Settings of SAC.

    Attributes:
        ent_coef: Entropy coefficient, or ``auto``: learned.
    """

    algorithm: ClassVar[type[ConstrainedOffPolicy]] = ConstrainedSAC

    name: str = "sac"
    ent_coef: PositiveFloat | Literal["auto"] = "auto"

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        return {**super().arguments(), "ent_coef": self.ent_coef}

"""Optimisation at run time: projections, safeguards, and copies of an environment behind one.

Importing this package registers every safeguard.
"""

from saferl_controllers import barrier
from saferl_controllers.guarded import GuardedCopies
from saferl_controllers.guarded_policy import GuardedPolicy
from saferl_controllers.registry import SafeguardSettings, register_safeguard, safeguard_settings, safeguards
from saferl_controllers.safeguard import BoxSafeguard, Safeguard, Safeguarded

__all__ = [
    "BoxSafeguard",
    "GuardedCopies",
    "GuardedPolicy",
    "Safeguard",
    "SafeguardSettings",
    "Safeguarded",
    "barrier",
    "register_safeguard",
    "safeguard_settings",
    "safeguards",
]

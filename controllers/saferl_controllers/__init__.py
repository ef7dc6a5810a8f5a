"""Optimisation at run time: the safeguard contract and projections."""

from saferl_controllers.safeguard import BoxSafeguard, Safeguard, Safeguarded

__all__ = ["BoxSafeguard", "Safeguard", "Safeguarded"]

"""The methods, one file each. Importing this package registers all of them."""

from saferl.algorithms.cat import CaT
from saferl.algorithms.lagrangian import LagrangianPPO
from saferl.algorithms.penalty import PenaltyPPO
from saferl.algorithms.ppo import ConstrainedPPO
from saferl.algorithms.registry import methods, register_method

__all__ = ["CaT", "ConstrainedPPO", "LagrangianPPO", "PenaltyPPO", "methods", "register_method"]

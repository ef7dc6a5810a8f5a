"""The methods, one file each. Importing this package registers all of them."""

from saferl.algorithms.acs import ACS
from saferl.algorithms.acs_ppo import ACSPPO
from saferl.algorithms.cat import CaT
from saferl.algorithms.cpo import CPO
from saferl.algorithms.crpo import CRPO
from saferl.algorithms.fixed_lag import FixedMultipliers
from saferl.algorithms.focops import FOCOPS
from saferl.algorithms.lagrangian import LagrangianPPO
from saferl.algorithms.p3o import P3O
from saferl.algorithms.penalty import PenaltyPPO
from saferl.algorithms.ppo import ConstrainedPPO
from saferl.algorithms.qp_layer import QPLayer
from saferl.algorithms.registry import methods, register_method
from saferl.algorithms.reload import ReloadSettings
from saferl.algorithms.reload_sac import ReloadSAC
from saferl.algorithms.sac import ConstrainedSAC
from saferl.algorithms.td3 import ConstrainedTD3
from saferl.algorithms.td3_lag import TD3Lagrangian

__all__ = [
    "ACS",
    "ACSPPO",
    "CPO",
    "CRPO",
    "FOCOPS",
    "P3O",
    "CaT",
    "ConstrainedPPO",
    "ConstrainedSAC",
    "ConstrainedTD3",
    "FixedMultipliers",
    "LagrangianPPO",
    "PenaltyPPO",
    "QPLayer",
    "ReloadSAC",
    "ReloadSettings",
    "TD3Lagrangian",
    "methods",
    "register_method",
]

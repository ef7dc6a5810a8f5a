"""Run forward, but not faster than a limit: HalfCheetah, Hopper, Walker2d, Swimmer, Ant and Humanoid.

Bodies, observations, rewards and termination are those of Gymnasium's ``-v4`` environments (from the XML files that
Gymnasium ships); `HumanoidVelocity` says where its observation cannot be. Limits and costs are those of Safety-Gymnasium's
velocity tasks (Ji et al. 2023), whose limit is half the speed an unconstrained policy reaches: cost 1 in every step above it,
at most 25 per episode. ``Hard`` and ``Extreme`` multiply the limit by 0.75 and 0.5; these two levels are ours.

Version history: v0, first version.
"""

from saferl_envs.tasks.velocity_base import COST_LIMIT, Velocity
from saferl_envs.tasks.velocity_planar import HalfCheetahVelocity, HopperVelocity, SwimmerVelocity, Walker2dVelocity
from saferl_envs.tasks.velocity_spatial import AntVelocity, HumanoidVelocity

__all__ = [
    "COST_LIMIT",
    "AntVelocity",
    "HalfCheetahVelocity",
    "HopperVelocity",
    "HumanoidVelocity",
    "SwimmerVelocity",
    "Velocity",
    "Walker2dVelocity",
]

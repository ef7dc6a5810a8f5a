"""Constraints: written once, enforced by any method. One file per family."""

from saferl_envs.constraints.base import Constraint, CostShape, families, from_spec
from saferl_envs.constraints.contact import ContactForce, ForbiddenContact, Stumble
from saferl_envs.constraints.gait import AirTime, FeetInContact
from saferl_envs.constraints.gate import Gate
from saferl_envs.constraints.joint import ActionRate, JointAcceleration, JointPosition, JointTorque, JointVelocity
from saferl_envs.constraints.observation import SignalLimit
from saferl_envs.constraints.posture import BaseHeight, BaseTilt, Heading, UpsideDown
from saferl_envs.constraints.region import KeepIn, KeepOut
from saferl_envs.constraints.set import ConstraintSet, Evaluation, constraints_from_specs, cost_of
from saferl_envs.constraints.shape import Ball, Box, Capsule, HalfSpace, Shape, shape_from_spec, shapes
from saferl_envs.constraints.speed import AxisSpeed, PlanarSpeed

__all__ = [
    "ActionRate",
    "AirTime",
    "AxisSpeed",
    "Ball",
    "BaseHeight",
    "BaseTilt",
    "Box",
    "Capsule",
    "Constraint",
    "ConstraintSet",
    "ContactForce",
    "CostShape",
    "Evaluation",
    "FeetInContact",
    "ForbiddenContact",
    "Gate",
    "HalfSpace",
    "Heading",
    "JointAcceleration",
    "JointPosition",
    "JointTorque",
    "JointVelocity",
    "KeepIn",
    "KeepOut",
    "PlanarSpeed",
    "Shape",
    "SignalLimit",
    "Stumble",
    "UpsideDown",
    "constraints_from_specs",
    "cost_of",
    "families",
    "from_spec",
    "shape_from_spec",
    "shapes",
]

"""Euclidean projections with a closed form, for a batch of points at once."""

from __future__ import annotations

import numpy as np

from saferl_envs.signals import FloatArray


def project_box(points: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Return the closest points of the box ``low <= x <= high``; points (N, d), bounds (d,)."""
    projected: FloatArray = np.clip(points, low, high)
    return projected


def project_ball(points: FloatArray, center: FloatArray, radius: float) -> FloatArray:
    """Return the closest points of the ball ``|x - center| <= radius``; points (N, d), center (d,)."""
    offset = points - center
    distance = np.sqrt(np.einsum("nd,nd->n", offset, offset))[:, np.newaxis]
    scale = np.divide(radius, distance, out=np.ones_like(distance), where=distance > radius)
    projected: FloatArray = np.where(distance > radius, center + offset * scale, points)
    return projected


def project_half_space(points: FloatArray, normal: FloatArray, offset: float) -> FloatArray:
    """Return the closest points of the half-space ``normal . x <= offset``; points (N, d), normal (d,) not zero."""
    excess = np.maximum(np.einsum("nd,d->n", points, normal) - offset, 0.0)
    projected: FloatArray = points - (excess / np.dot(normal, normal))[:, np.newaxis] * normal
    return projected

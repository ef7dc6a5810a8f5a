"""Tracking: TensorBoard and video."""

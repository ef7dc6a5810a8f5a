"""Projections: closed forms in `sets`."""

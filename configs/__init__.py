"""Configurations, addressed as `<folder>/<name>`; shipped as package data."""

"""Benchmarks: each claim of the project, and the command that shows it."""

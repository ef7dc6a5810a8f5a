"""Experiments: configuration, run folder, train, evaluate, visualize."""

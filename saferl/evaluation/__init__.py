"""Evaluation: rollouts, statistics, report."""

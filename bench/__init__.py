"""Measurements: what the figures in README.md and bench/LOG.md come from. Not installed."""

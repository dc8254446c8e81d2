"""Measurements: what the figures in README.md and bench/notebook come from. Not installed."""

"""Seconds and memory: of whole processes, of stages, of training steps, of hostile files."""

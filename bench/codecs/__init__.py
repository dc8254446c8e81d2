"""Sizes, times and memory of our codec and of rivals on the same images."""

"""Noise processes, the mixture of logistics, and the objective of NCML."""

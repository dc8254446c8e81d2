"""Coefficients of JPEG files as bytes, and back, by a network of integers.

`codec.encode` and `decode` are the way in. Read `planes` (what a network sees), `network` (the
computation, and the proof that it is exact), `mixtures` and `decisions` (from its outputs to
bits), `codec` (the order of everything), `tiles`, `model_file`.

These modules are the specification, in plain numpy and slow: a second or more for 100 kB.
"""

"""The integer network, in plain numpy: what a model is, and what it predicts.

`integer_network` proves that its sums are exact. `distribution` turns its outputs into counts.
`head_learning` and `body_learning` are the steps it takes while it codes an image.
"""

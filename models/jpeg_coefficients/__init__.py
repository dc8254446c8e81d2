"""The network for JPEG coefficients in torch: data, network, training.

Read `blocks` (what a network is shown), then `network`, `sources` and `training`.
`ncml_codec.coefficients` is its integer twin, which codes files.
"""

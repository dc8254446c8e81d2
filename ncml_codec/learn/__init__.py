"""Learning wing: what trains and judges a network. It needs torch (extra `train`)."""

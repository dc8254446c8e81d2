"""Training and studying likelihood models, in torch. The codec imports none of it."""

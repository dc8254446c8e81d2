"""The training loop, its optimiser, checkpoints, logs and the card of a run."""

"""From a trained wave network to the integer network of a model file."""

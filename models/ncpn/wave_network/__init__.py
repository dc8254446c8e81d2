"""The codec's network: all pixels of a wave at once."""

"""Drawing images from a network: at a noise time, then back to clean images by the score."""

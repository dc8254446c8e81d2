"""Training images: data sets, crops, and what is done to crops."""

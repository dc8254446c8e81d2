"""From bits per dimension to bytes of a file; finished training runs side by side."""

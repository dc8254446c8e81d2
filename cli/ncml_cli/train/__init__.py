"""`ncml-train` and `ncml-export`."""

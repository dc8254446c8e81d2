"""`ncml-eval` and `ncml-sample`."""

"""`ncmlzip`: one module for each part of a call, from its options to its exit code."""

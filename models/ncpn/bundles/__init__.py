"""Small images as real bytes of any network, in floating point. FORMAT-BUNDLE.md."""

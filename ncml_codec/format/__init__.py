"""The bytes of a `.ncmz` file: headers, sections, checksums and limits. FORMAT.md describes them.

Nothing here computes a distribution: what a payload means is decided in `decode` and `encode`.
"""

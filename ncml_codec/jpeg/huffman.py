"""Huffman tables as JPEG files define them (ITU T.81, annex C)."""

from __future__ import annotations

from dataclasses import dataclass

from ncml_codec.errors import FormatError

LONGEST = 16  # bits of a code


@dataclass(frozen=True)
class HuffmanTable:
    """counts: how many codes have 1 to 16 bits, 16 bytes; symbols: in the order of their codes.

    Raises FormatError if these are no prefix code.
    """

    counts: bytes
    symbols: bytes

    def __post_init__(self) -> None:
        if len(self.counts) != LONGEST or sum(self.counts) != len(self.symbols):
            raise FormatError(f"Huffman table: {len(self.symbols)} symbols, other than its counts")
        if len(self.symbols) > 256:
            raise FormatError(f"Huffman table: {len(self.symbols)} symbols, at most 256")
        code = 0
        for length, count in enumerate(self.counts, 1):
            code = 2 * code + count
            if code > 1 << length:
                raise FormatError(f"Huffman table: too many codes of up to {length} bits")

    def codes(self) -> dict[int, tuple[int, int]]:
        """By symbol: its code and the code's length in bits.

        Of a symbol that has several codes the first counts. Bytes that use another one do not come
        back, so readers take them for damage.
        """
        codes: dict[int, tuple[int, int]] = {}
        code, at = 0, 0
        for length, count in enumerate(self.counts, 1):
            code *= 2
            for symbol in self.symbols[at : at + count]:
                codes.setdefault(symbol, (code, length))
                code += 1
            at += count
        return codes

"""A JPEG file of given coefficients whose scans are as simple as can be.

It shows the same pixels and is no copy of any file: for what is left of a damaged one.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from ncml_codec.jpeg.file_info import segments
from ncml_codec.jpeg.jpeg_file import Jpeg, written
from ncml_codec.jpeg.recipe import Recipe
from ncml_codec.jpeg.records import Frame, FrameKind, ScanNotes

_APPLICATIONS = range(0xE0, 0xF0)  # segments that say what the colours are, among other things
_BLOCK_BYTES = 400  # at most: 64 codes of 8 bits with 15 more each, zeros stuffed
_DC_SIZES, _RUNS, _AC_SIZES = range(16), range(16), range(1, 16)


def sequential(found: Jpeg) -> bytes:
    """Extended sequential, one scan a component, with Huffman codes of equal lengths.

    Raises FormatError for coefficients that no such file can hold.
    """
    frame = replace(found.layout.frame, kind=FrameKind.EXTENDED)
    markers = b"\xff\xd8"
    for code, _, body in segments(found.recipe.markers):
        if code in _APPLICATIONS:
            markers += _segment(code, body)
    for index, steps in enumerate(found.layout.quantisation):
        markers += _segment(0xDB, bytes([16 | index]) + steps.astype(">u2").tobytes())
    ac = [0, 0xF0, *(run << 4 | size for run in _RUNS for size in _AC_SIZES)]
    markers += _frame(frame) + _huffman(0, 5, list(_DC_SIZES)) + _huffman(16, 8, ac)
    for component in frame.components:
        markers += _segment(0xDA, bytes([1, component.identifier, 0, 0, 63, 0]))
    scans = tuple(ScanNotes() for _ in frame.components)
    size = len(markers) + _BLOCK_BYTES * frame.blocks + 4
    return written(replace(found, recipe=Recipe(size, markers + b"\xff\xd9", scans)))


def _segment(code: int, body: bytes) -> bytes:
    return bytes([0xFF, code]) + struct.pack(">H", len(body) + 2) + body


def _frame(frame: Frame) -> bytes:
    body = struct.pack(">BHHB", 8, frame.height, frame.width, len(frame.components))
    for index, part in enumerate(frame.components):
        body += bytes([part.identifier, part.horizontal << 4 | part.vertical, index])
    return _segment(frame.kind, body)


def _huffman(number: int, length: int, symbols: list[int]) -> bytes:
    """A table of codes of one length."""
    counts = bytes(len(symbols) if bits == length else 0 for bits in range(1, 17))
    return _segment(0xC4, bytes([number]) + counts + bytes(symbols))

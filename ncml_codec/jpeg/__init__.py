"""JPEG files as quantised DCT coefficients, and back to the very same bytes.

`read` gives a `Jpeg`: the frame and quantisation steps (`layout`), int16 coefficients
[block_rows, block_columns, 64] a component in zigzag order, and a `Recipe`: the markers' bytes,
what an encoder chose otherwise than libjpeg does, and what follows the image. `write`
gives the file.
`Recipe.pack` and `unpack` are its bytes; `layout` gives shapes and quantisation steps from a recipe
before any coefficient is known, and bounds what it claims; `file_info` says what the file is.
`stripped` leaves metadata out; `sequential` shows what coefficients are left of a damaged file.

Baseline, extended sequential and progressive Huffman files of 8 bits, one to four components. The
plain modules (`plain_reader`, `plain_writer`) are the specification; native code computes the same.
Read `records` first, then `markers`, `plain_reader`, `plain_writer`, `recipe`, `jpeg_file`.

It codes nothing and knows no container: whoever stores a file writes it again and compares first.
"""

from ncml_codec.jpeg.file_info import FileInfo, exif_of, file_info, is_whole, thumbnail
from ncml_codec.jpeg.jpeg_file import Jpeg, Layout, layout, read, write
from ncml_codec.jpeg.markers import BLOCKS_MAX
from ncml_codec.jpeg.recipe import Recipe
from ncml_codec.jpeg.records import Component, Frame, FrameKind
from ncml_codec.jpeg.sequential import sequential
from ncml_codec.jpeg.stripping import stripped

__all__ = [
    "BLOCKS_MAX",
    "Component",
    "FileInfo",
    "Frame",
    "FrameKind",
    "Jpeg",
    "Layout",
    "Recipe",
    "exif_of",
    "file_info",
    "is_whole",
    "layout",
    "read",
    "sequential",
    "stripped",
    "thumbnail",
    "write",
]

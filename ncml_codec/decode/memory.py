"""The memory that coding an image takes, estimated before it begins, and how many threads fit.

Bytes of the whole process, its libraries included, with the native engine.
`python -m bench memory` holds estimates against measured peaks, which the constants below are from
(bench/notebook/memory.md); tests/format/test_memory.py does so for small images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ncml_codec.coefficients.tiles import tiles
from ncml_codec.context_mixing.contexts import slot_bits
from ncml_codec.errors import BeyondLimit
from ncml_codec.format.container import Method
from ncml_codec.format.tiles import TILE_EXPONENTS, TileLayout
from ncml_codec.jpeg import Layout
from ncml_codec.jpeg.markers import BLOCKS_MAX
from ncml_codec.jpeg.recipe import NOTE_MEMORY, NOTES_BYTES_MAX
from ncml_codec.network.integer_network import Network
from ncml_codec.picture import png_chunks
from ncml_codec.zstd_frames import unpacked_bytes

MIB = 1 << 20

PROCESS = 51 * MIB  # Python, numpy, the model
# By sample: of a tile, as it is coded and compared; of a row of tiles, with what a reader or writer
# holds; of an image's payloads, while its other tiles are encoded.
_TILE_DECODED, _TILE_ENCODED = 2, 4
_BAND_DECODED, _BAND_ENCODED, _PAYLOAD = 1, 2, 1
_COLOURS = 60 * MIB  # the tables of a tile whose colours are counted
_RING = 24  # by row of a tile and feature of a layer: the waves that later ones look back to
_LEARNING = 48  # by parameter: its values, averages and rounded copies, for every tile at once
_RECORD = 130  # by record of metadata, beside its bytes

# Other layers than tiles hold the image whole. By byte of its planes: samples, numbers and planes;
# by pixel, what a palette or ranks of values are looked for with; by sample, what they are found
# with.
_PLANES_DECODED, _PLANES_ENCODED, _KEYS, _LOOKED_UP = 4, 4, 10, 16
# Rows of bytes by several filters, and zstd's own memory at level 19 by byte, and at most; level 22
# has no such bound.
_ROWS_DECODED, _ROWS_ENCODED, _PACKER, _PACKED_MOST = 8, 8, 28, 100 * MIB
# Pillow and libwebp themselves; by pixel, of grey, of colours and by the slowest method.
_WEBP, _WEBP_DECODED, _WEBP_GREY, _WEBP_COLOURS, _WEBP_SLOW = 10 * MIB, 24, 36, 60, 110
# Mixing: its module; by pixel and component, by entry of its tables; by row, and by row and plane,
# what is known of the pixels of a wave.
_MIXING, _MIXED, _SLOT = 18 * MIB, 20, 104
_WAVE, _WAVE_PLANE = 1100, 400
# JPEG files. By block of 64 coefficients: of the file, of a tile at work; by byte of the file.
_BLOCK, _TILE_BLOCK, _FILE_BYTE = 170, 350, 7


def of_tiles(
    layout: TileLayout,
    network: Network,
    threads: int,
    encoding: bool,
    colours: bool = False,
    banded: bool = True,
) -> int:
    """What a photograph takes with so many threads.

    colours: whether tiles may count them. banded: whether the image is read or written by rows;
    if not, its samples are the caller's to count.
    """
    shapes = layout.tile_shapes()
    height = max(height for height, _, _ in shapes)
    pixels = max(height * width for height, width, _ in shapes)
    planes = layout.planes
    tile = pixels * planes * (_TILE_ENCODED if encoding else _TILE_DECODED)
    tile += _of_network(network, height, layout.may_adapt)
    tile += _COLOURS if colours and layout.may_adapt and planes == 3 else 0
    row = min(layout.height, 1 << layout.tile_exponent) * layout.width * planes
    held = row * (_BAND_ENCODED if encoding else _BAND_DECODED) if banded else 0
    held += layout.height * layout.width * planes * _PAYLOAD if encoding else 0
    return PROCESS + held + min(threads, layout.tile_count()) * tile


def of_layers(
    height: int,
    width: int,
    byte_planes: int,
    encoding: bool,
    layers: Iterable[int],
    looked_up: int = 0,
) -> int:
    """What an image in other layers takes with one thread.

    layers: what each way takes that is tried or used, by `of_layer`. looked_up: the channels whose
    samples a decoder finds in tables.
    """
    plane = _PLANES_ENCODED if encoding else _PLANES_DECODED
    pixel = byte_planes * plane + (_KEYS if encoding else 0)
    restored = height * width * looked_up * _LOOKED_UP
    return PROCESS + height * width * pixel + max([restored, *layers])


def of_layer(
    method: Method,
    height: int,
    width: int,
    planes: int,
    encoding: bool,
    networks: Iterable[Network] = (),
    level: int = 1,
) -> int:
    """What coding a layer of so many byte planes takes besides the planes.

    planes: of mixing, its components. networks: of which one
    at a time may code it. level: at which it is encoded.
    """
    pixels = height * width
    if method == Method.NETWORK:
        rows = min(max(height, width), 1 << TILE_EXPONENTS[-1])
        walks = [_of_network(each, rows, adapts=True) for each in networks]
        decoded, encoded = _TILE_DECODED + _BAND_DECODED, _TILE_ENCODED + _BAND_ENCODED + _PAYLOAD
        sample = encoded if encoding else decoded
        colours = _COLOURS if planes == 3 else 0
        return max(walks, default=0) + colours + pixels * planes * sample
    if method == Method.WEBP:
        encoded = _WEBP_SLOW if level >= 5 else _WEBP_GREY if planes == 1 else _WEBP_COLOURS
        return _WEBP + pixels * (encoded if encoding else _WEBP_DECODED)
    if method == Method.MIXING:
        tables = _SLOT << slot_bits(pixels, planes)
        wave = height * (_WAVE + planes * _WAVE_PLANE)
        return _MIXING + tables + wave + pixels * planes * _MIXED
    packer = _PACKER * pixels * planes if encoding else 0
    if level < 9:
        packer = min(packer, _PACKED_MOST)
    return packer + pixels * planes * (_ROWS_ENCODED if encoding else _ROWS_DECODED)


def _of_network(network: Network, height: int, adapts: bool) -> int:
    """What the walk through a tile takes besides its samples and tables of colours."""
    walk = (len(network.blocks) + 1) * network.width * (height + 64) * _RING
    return walk + (network.multiply_adds() * _LEARNING if adapts else 0)


def of_jpeg(layout: Layout, length: int, threads: int) -> int:
    """What a JPEG file of so many bytes takes with so many threads: its coefficients, and what a
    network sees of those of the tiles at work."""
    places = tiles(layout)
    tile = sum(rows * columns for rows, columns, _ in places[0].shapes)
    at_work = min(threads, len(places)) * tile * _TILE_BLOCK
    return PROCESS + layout.frame.blocks * _BLOCK + at_work + length * _FILE_BYTE


def blocks_within(most: int | None, length: int) -> int:
    """Blocks of a JPEG file of so many bytes whose coefficients may be read in `most` bytes."""
    if most is None:
        return BLOCKS_MAX
    return min(BLOCKS_MAX, max(0, most - PROCESS - length * _FILE_BYTE) // _BLOCK)


def of_unpacked(length: int, packed: int) -> int:
    """What so many bytes take beside the process, out of a zstd frame of `packed` bytes."""
    return length + 2 * packed


def of_packing(length: int) -> int:
    """What it takes to put a file of so many bytes into a zstd frame, and to check that."""
    return 3 * length + min(_PACKER * length, _PACKED_MOST)


def notes_within(most: int | None, held: int) -> int:
    """Bytes of a recipe's notes that can be unpacked within `most` bytes, beside `held`."""
    if most is None:
        return NOTES_BYTES_MAX
    return max(0, most - PROCESS - held) // NOTE_MEMORY


def of_metadata(section: bytes | memoryview) -> int:
    """What a file's metadata section takes beside the process, before it is unpacked.

    Raises FormatError if it does not state its size.
    """
    if not section:
        return 0
    size = unpacked_bytes(section, "metadata")
    records = min(size // 8, png_chunks.MAX_CHUNKS)  # a record's length and kind are 8 bytes
    return png_chunks.PACKING * size + _RECORD * records


def check(most: int | None, held: int) -> None:
    """Raise BeyondLimit if the process takes more than `most` bytes with `held` in memory."""
    threads_within(most, 1, lambda threads: PROCESS + held)


def threads_within(most: int | None, threads: int, need: Callable[[int], int]) -> int:
    """As many of the threads as fit into `most` bytes; all of them if it is None.

    need: bytes by number of threads. Raises BeyondLimit if one thread takes more than that.
    """
    if most is None:
        return threads
    for count in range(threads, 0, -1):
        if need(count) <= most:
            return count
    raise BeyondLimit(
        f"needs about {-(-need(1) // MIB)} MiB of memory, beyond the limit of {most // MIB} MiB"
        " (--memory)"
    )

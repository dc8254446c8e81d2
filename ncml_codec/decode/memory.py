"""The memory that coding an image takes, estimated before it begins, and how many threads fit.

Bytes of the whole process, its libraries included, with the native engine.
tests/format/test_memory.py holds estimates against measured peaks: above them, and below twice them
and 64 MiB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ncml_codec.context_mixing.contexts import slot_bits
from ncml_codec.errors import BeyondLimit
from ncml_codec.format.container import TILE_EXPONENTS, Header
from ncml_codec.network.integer_network import Network
from ncml_codec.picture import png_chunks
from ncml_codec.zstd_frames import unpacked_bytes

MIB = 1 << 20

_PROCESS = 64 * MIB  # Python, numpy, the model
# By pixel and plane of a tile: its samples, as they are read, coded and compared.
_TILE_DECODED, _TILE_ENCODED = 3, 8
_BAND = (
    4  # by pixel and plane of a row of tiles: the band, its tiles, what a reader or writer holds
)
_COLOURS = 54 * MIB  # the tables of a tile's colours, where a tile has three planes and may adapt
_RING = 24  # by row of a tile and feature of a layer: the waves that later ones look back to
_LEARNING = 48  # by parameter: its values, averages and rounded copies, for every tile at once
# Format version 2 holds the image whole. By pixel, and by pixel and byte plane; and by entry of the
# mixing coder's tables.
_LAYERS_PIXEL, _DECODED_PLANE, _ENCODED_PLANE = 40, 28, 70
_SLOT = 56


def of_tiles(header: Header, network: Network, threads: int, encoding: bool) -> int:
    """What version 1 takes with so many threads, however its tiles adapt."""
    shapes = header.tile_shapes()
    height = max(height for height, _, _ in shapes)
    pixels = max(height * width for height, width, _ in shapes)
    planes = header.planes
    tile = pixels * planes * (_TILE_ENCODED if encoding else _TILE_DECODED)
    tile += _of_network(network, height, planes, header.may_adapt)
    rows = min(header.height, 1 << header.tile_exponent)
    band = rows * header.width * planes * _BAND
    return _PROCESS + band + min(threads, header.tile_count()) * tile


def of_layers(
    height: int, width: int, byte_planes: int, encoding: bool, networks: Iterable[Network] = ()
) -> int:
    """What version 2 takes with one thread. networks: of which one at a time codes a layer."""
    rows = min(max(height, width), 1 << TILE_EXPONENTS[-1])
    walks = [_of_network(each, rows, min(byte_planes, 3), adapts=True) for each in networks]
    plane = _ENCODED_PLANE if encoding else _DECODED_PLANE
    tables = _SLOT << slot_bits(height * width, byte_planes)
    return (
        max(walks, default=0)
        + _PROCESS
        + tables
        + height * width * (_LAYERS_PIXEL + byte_planes * plane)
    )


def _of_network(network: Network, height: int, planes: int, adapts: bool) -> int:
    """What the walk through a tile takes besides its samples."""
    walk = (len(network.blocks) + 1) * network.width * (height + 64) * _RING
    if adapts:
        walk += network.multiply_adds() * _LEARNING + (_COLOURS if planes == 3 else 0)
    return walk


def of_metadata(section: bytes | memoryview) -> int:
    """What a file's metadata section takes beside the process, before it is unpacked.

    Raises FormatError if it does not state its size.
    """
    return png_chunks.PACKING * unpacked_bytes(section, "metadata") if section else 0


def check(most: int | None, held: int) -> None:
    """Raise BeyondLimit if the process takes more than `most` bytes with `held` in memory."""
    threads_within(most, 1, lambda threads: _PROCESS + held)


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

"""Files of photographs and their tiles, coded by the engine that is the specification."""

from __future__ import annotations

from collections.abc import Sequence

from ncml_codec import engines
from ncml_codec.decode import tile_decoder
from ncml_codec.decode.effort import Progress, samples_crc
from ncml_codec.engines import Engine
from ncml_codec.entropy.coder import Encoder
from ncml_codec.format import container, directory
from ncml_codec.format.tiles import Tile, TileLayout, Tiles, adaptation_of
from ncml_codec.network.model_file import Model
from tests.builders.engines import code
from tests.builders.pictures import Samples


def photograph(layout: TileLayout, tiles: Sequence[Tile], metadata: bytes = b"") -> bytes:
    """The file of these tiles."""
    return container.write(container.of_tiles(Tiles(layout, tiles), metadata))


def tiles_of(data: bytes) -> list[Tile]:
    """The tiles of a photograph's file."""
    (layer,) = directory.read(data).layers
    assert isinstance(layer, Tiles)
    return [*layer.tiles]


def layout_of(data: bytes) -> TileLayout:
    """How a photograph is cut into tiles; by the file's header alone."""
    found = directory.read_directory(data).tiled
    assert found is not None
    assert found.layout is not None
    return found.layout


def encoded(array: Samples, model: Model, byte: int, tile_exponent: int = 11) -> bytes:
    """A file whose tiles adapt as the byte states."""
    height, width, planes = array.shape
    layout = TileLayout(width, height, planes, model.identity, tile_exponent)
    tiles = [
        coded_tile(array[top : top + rows, left : left + columns], model, byte)
        for top, left, rows, columns in layout.tiles()
    ]
    return photograph(layout, tiles)


def coded_tile(samples: Samples, model: Model, byte: int) -> Tile:
    """The tile of these samples."""
    engine = engines.load("numpy", model.network)
    return Tile(payload_of(engine, samples, byte), samples_crc(samples), adaptation_of(byte))


def payload_of(engine: Engine, samples: Samples, byte: int = 0) -> bytes:
    """Samples coded by any engine."""
    encoder = Encoder()
    code(engine, samples, encoder, byte)
    return encoder.finish()


def decoded_tile(
    engine: Engine, tile: Tile, shape: tuple[int, ...], progress: Progress = lambda pixels: None
) -> Samples:
    """The samples of an upright tile that is a whole image."""
    height, width, planes = shape
    layout, place = TileLayout(width, height, planes, b"", 11), (0, 0, height, width)
    return tile_decoder.decode_tile(engine, layout, place, 0, tile, progress)

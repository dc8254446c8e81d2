"""What is left of a damaged file: its sound tiles, and a list of what is lost.

Tiles do not know of each other, and the header says where each one's bytes lie, so damage in one
costs that one alone. Without a sound header nothing can be read. The lost pixels are grey (128). A
file that is not a photograph is one piece: it is read whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ncml_codec.decode import costs, image_decoder, jpeg_decoder, memory
from ncml_codec.decode.effort import Effort
from ncml_codec.decode.image_decoder import Opened
from ncml_codec.decode.tile_decoder import Place, bands_of
from ncml_codec.errors import BeyondLimit, FormatError, UnknownModel
from ncml_codec.format import directory
from ncml_codec.format.container import Section
from ncml_codec.format.tiles import Tile, Tiles
from ncml_codec.network import released_models
from ncml_codec.network.model_file import Model
from ncml_codec.picture import png_chunks
from ncml_codec.picture.image_files import MAX_PIXELS

_NAMED = 20  # losses that a message names


@dataclass(frozen=True)
class Loss:
    """A section that could not be read, and why. place: of the tile; None for anything else."""

    error: FormatError
    place: Place | None = None

    def __str__(self) -> str:
        if self.place is None:
            return str(self.error)
        top, left, height, width = self.place
        rows, columns = f"{top} to {top + height - 1}", f"{left} to {left + width - 1}"
        return f"{self.error} (rows {rows}, columns {columns} are lost)"


class Salvaged:
    """A damaged file that is opened: `opened`, whose metadata is what could be read of it, and
    whose bands hold grey where tiles are lost.

    `losses` is whole once all bands were asked for.
    """

    def __init__(
        self,
        opened: Opened,
        places: Sequence[Place] = (),
        damage: dict[int, FormatError] | None = None,
        others: Sequence[Loss] = (),
    ) -> None:
        self.opened = opened
        self._places, self._others = places, others
        self._damage = {} if damage is None else damage

    @property
    def losses(self) -> list[Loss]:
        """What could not be read: tiles in order, then anything else."""
        return _losses(self._places, self._damage, self._others)


def open_file(
    data: bytes,
    models: Iterable[Model] = (),
    effort: Effort | None = None,
    max_pixels: int = MAX_PIXELS,
    max_work: int | None = None,
) -> Salvaged:
    """As `images.open_file`, but only what is wrong with the header, a missing model or what is
    beyond a limit is raised.

    Only the tiles of a photograph stand for themselves: of any other file anything that is wrong is
    raised.
    """
    effort = effort or Effort()
    found = directory.read_directory(data, max_pixels)
    if found.kept is not None:
        lost: jpeg_decoder.Damage = []
        file = jpeg_decoder.restore(found.kept, data, (), effort, max_pixels, max_work, lost)
        opened = image_decoder.of_jpeg(file, max_pixels, effort)
        return Salvaged(opened, others=[Loss(*each) for each in lost])
    header, tiled = found.header, found.tiled
    if tiled is None or tiled.layout is None:
        return Salvaged(image_decoder.open_file(data, models, effort, max_pixels, max_work))
    damage: dict[int, FormatError] = {}
    others: list[Loss] = []
    metadata, chunks = b"", list[png_chunks.Chunk]()
    try:
        metadata = found.section(data, Section.METADATA)
        memory.check(effort.memory, memory.of_metadata(metadata))
        chunks = png_chunks.unpack_chunks(metadata)
    except BeyondLimit:
        raise
    except FormatError as error:
        others.append(Loss(error))
        metadata = b""
    tiles = []
    for index, at in enumerate(tiled.tile_begins()[:-1]):
        try:
            tiles.append(tiled.tile(data, index, at))
        except FormatError as error:
            damage[index] = error
            tiles.append(Tile(b"", 0))
    if found.end < len(data):
        others.append(Loss(FormatError(f"{len(data) - found.end} bytes follow the end")))
    layer, places = Tiles(tiled.layout, tiles), tiled.layout.tiles()
    try:
        _, model = released_models.find(tiled.layout.identity, models)
    except UnknownModel as error:
        if damage or others:
            losses = _losses(places, damage, others)
            raise FormatError(f"{summary(losses)}; {error}") from error
        raise
    costs.of_network(tiled.layout, tiled.adaptation, model.network).check(max_work)
    held = 2 * len(metadata) + memory.of_metadata(metadata)
    bands = bands_of(layer, model, effort, held, damage)
    opened = Opened(header.width, header.height, header.kind, chunks, bands, model)
    return Salvaged(opened, places, damage, others)


def summary(losses: Sequence[Loss]) -> str:
    """All that is lost, in one line; a few of them by name if they are very many."""
    named = "; ".join(map(str, losses[:_NAMED]))
    more = len(losses) - _NAMED
    return named + (f"; and {more} more" if more > 0 else "")


def _losses(
    places: Sequence[Place], damage: dict[int, FormatError], others: Sequence[Loss]
) -> list[Loss]:
    return [Loss(damage[at], places[at]) for at in sorted(damage)] + list(others)

"""What is left of a damaged file: its sound tiles, and a list of what is lost.

Tiles do not know of each other, and the header says where each one's bytes lie, so damage in one
costs that one alone. Without a sound header nothing can be read. The lost pixels are grey (128). A
file of format version 2 is one piece: it is read whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ncml_codec.decode import costs, image_decoder, memory
from ncml_codec.decode.image_decoder import Opened
from ncml_codec.decode.tile_decoder import Place, bands_of
from ncml_codec.decode.tile_walk import Effort
from ncml_codec.errors import BeyondLimit, FormatError, UnknownModel
from ncml_codec.format import layered_container
from ncml_codec.format.container import Container, Tile, read_head, read_tile, section_bytes
from ncml_codec.format.sections import Reader
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

    Of a file of version 2 anything that is wrong is raised.
    """
    effort = effort or Effort()
    if layered_container.is_general(data):
        return Salvaged(image_decoder.open_file(data, models, effort, max_pixels, max_work))
    header, adaptation, metadata_length, lengths, at = read_head(data, max_pixels)
    damage: dict[int, FormatError] = {}
    others: list[Loss] = []
    metadata, chunks = b"", list[png_chunks.Chunk]()
    if metadata_length is not None:
        try:
            metadata = bytes(Reader(data, at).section("metadata", metadata_length))
            memory.check(effort.memory, memory.of_metadata(metadata))
            chunks = png_chunks.unpack_chunks(metadata)
        except BeyondLimit:
            raise
        except FormatError as error:
            others.append(Loss(error))
            metadata = b""
        at += metadata_length + 4
    tiles = []
    for index, length in enumerate(lengths):
        try:
            tiles.append(read_tile(Reader(data, at), index, length, adaptation, header))
        except FormatError as error:
            damage[index] = error
            tiles.append(Tile(b"", 0))
        at += section_bytes(length, adaptation)
    if at < len(data):
        others.append(Loss(FormatError(f"{len(data) - at} bytes follow the end")))
    container = Container(header, metadata, tiles)
    try:
        _, model = released_models.find(header.identity, models)
    except UnknownModel as error:
        if damage or others:
            losses = _losses(header.tiles(), damage, others)
            raise FormatError(f"{summary(losses)}; {error}") from error
        raise
    costs.of_network(header, adaptation, model.network).check(max_work)
    bands = bands_of(container, model, effort, damage)
    opened = Opened(header.width, header.height, header.kind, chunks, bands, model)
    return Salvaged(opened, header.tiles(), damage, others)


def summary(losses: Sequence[Loss]) -> str:
    """All that is lost, in one line; a few of them by name if they are very many."""
    named = "; ".join(map(str, losses[:_NAMED]))
    more = len(losses) - _NAMED
    return named + (f"; and {more} more" if more > 0 else "")


def _losses(
    places: Sequence[Place], damage: dict[int, FormatError], others: Sequence[Loss]
) -> list[Loss]:
    return [Loss(damage[at], places[at]) for at in sorted(damage)] + list(others)

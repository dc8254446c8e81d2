"""What a `.ncmz` file says of itself in its header, without decoding anything.

Sections are neither read nor checked: that is what `ncmlzip info` and `ncmlzip test` are for. Of
JPEG files the recipe is read, which says how many coefficients there are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ncml_codec.atomic_files import check_is_file
from ncml_codec.decode import jpeg_decoder, layers
from ncml_codec.decode.effort import Effort
from ncml_codec.decode.layers import Tools
from ncml_codec.errors import InputError, Truncated, UnknownModel
from ncml_codec.format import directory
from ncml_codec.format.container import DRAFT, Header, Section
from ncml_codec.format.directory import Directory
from ncml_codec.format.kept_file import KeptHead
from ncml_codec.network.model_file import Model
from ncml_codec.picture.image_files import MAX_PIXELS
from ncml_codec.picture.kinds import Kind

_HEAD = 1 << 12  # bytes that hold the header of most files


@dataclass(frozen=True)
class Facts:
    """What the header says.

    kind: colour type and bit depth. format_draft: the number of the format's draft. file_bytes: of
    the whole file. metadata_bytes: of its metadata, packed. model_identity: four bytes in
    hexadecimal, of the first layer that the network codes; None if none is. tile_side: in pixels,
    of the squares that this layer is cut into, `tiles` of them; None and 0 without one. layers: how
    each layer is coded. work: of decoding in multiply-adds, see `costs`; None if a model is not at
    hand. jpeg: how a JPEG file is kept, "whole", "static" or "learning"; None
    for images.
    """

    width: int
    height: int
    kind: Kind
    format_draft: int
    file_bytes: int
    metadata_bytes: int
    model_identity: str | None
    tile_side: int | None
    tiles: int
    layers: tuple[str, ...]
    work: int | None
    jpeg: str | None = None

    @property
    def channels(self) -> int:
        """Samples of a pixel, alpha among them; 1 for a palette's index."""
        return self.kind.channels

    @property
    def bit_depth(self) -> int:
        """Bits of a sample: 1, 2, 4, 8 or 16."""
        return self.kind.bit_depth


def inspect_bytes(
    data: bytes,
    file_bytes: int | None = None,
    models: Sequence[Model] = (),
    max_pixels: int = MAX_PIXELS,
) -> Facts:
    """The facts of a file's bytes, or of its beginning.

    file_bytes: of the whole file, if it is longer than data. models: looked at before the released
    ones. Raises FormatError; BeyondLimit for more than max_pixels; Truncated if more of the file is
    needed.
    """
    size = len(data) if file_bytes is None else file_bytes
    found = directory.read_directory(data, max_pixels)
    if found.kept is not None:
        return _of_jpeg(found.header, found.kept, size, _work_of_jpeg(found.kept, data, max_pixels))
    header = found.header
    head = next((each for each in found.layers if each.layout), None)
    layout = head.layout if head else None
    _, metadata_bytes = found.sections.get(Section.METADATA, (0, 0))
    return Facts(
        width=header.width,
        height=header.height,
        kind=header.kind,
        format_draft=DRAFT,
        file_bytes=size,
        metadata_bytes=metadata_bytes,
        model_identity=layout.identity.hex() if layout else None,
        tile_side=1 << layout.tile_exponent if layout else None,
        tiles=len(head.lengths) if head else 0,
        layers=tuple(each.method.name.lower() for each in found.layers),
        work=_work(found, Tools(models, Effort())),
    )


def inspect_file(path: Path, models: Sequence[Model] = (), max_pixels: int = MAX_PIXELS) -> Facts:
    """The facts of a file, of which only the beginning is read if that is enough.

    As `inspect_bytes`; raises InputError if the file cannot be read.
    """
    check_is_file(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(_HEAD)
            try:
                return inspect_bytes(head, size, models, max_pixels)
            except Truncated:  # very many tiles
                return inspect_bytes(head + file.read(), size, models, max_pixels)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _of_jpeg(header: Header, kept: KeptHead, size: int, work: int | None) -> Facts:
    return Facts(
        width=header.width,
        height=header.height,
        kind=header.kind,
        format_draft=DRAFT,
        file_bytes=size,
        metadata_bytes=kept.recipe_bytes,
        model_identity=kept.identity.hex() or None,
        tile_side=None,
        tiles=0,
        layers=(),
        work=work,
        jpeg=kept.coding.name.lower(),
    )


def _work_of_jpeg(kept: KeptHead, data: bytes, max_pixels: int) -> int | None:
    try:
        return jpeg_decoder.work_of(kept, data, max_pixels=max_pixels).multiply_adds
    except UnknownModel:
        return None


def _work(found: Directory, tools: Tools) -> int | None:
    size = (found.header.height, found.header.width)
    try:
        return layers.work(found.layers, size, tools).multiply_adds
    except UnknownModel:
        return None

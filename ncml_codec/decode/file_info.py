"""What a `.ncmz` file says of itself in its header, without decoding anything.

Sections are neither read nor checked: that is what `ncmlzip info` and `ncmlzip test` are for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ncml_codec.atomic_files import check_is_file
from ncml_codec.decode import image_decoder
from ncml_codec.decode import layers as methods
from ncml_codec.decode.layers import Tools
from ncml_codec.decode.tile_walk import Effort
from ncml_codec.errors import InputError, Truncated, UnknownModel
from ncml_codec.format import container, layered_container
from ncml_codec.network.model_file import Model
from ncml_codec.picture.image_files import MAX_PIXELS
from ncml_codec.picture.kinds import Kind

_HEAD = 1 << 12  # bytes that hold the header of most files


@dataclass(frozen=True)
class Facts:
    """kind: colour type and bit depth; file_bytes: of the whole file; metadata_bytes: of its
    metadata, packed. model_identity: eight bytes in hexadecimal, None if no network was used.
    tile_side: of the squares that version 1 cuts the image into, `tiles` of them; None and 0 in
    version 2. layers: how each layer of version 2 is coded; empty in version 1. work: of decoding
    in multiply-adds, see `costs`; None if the model is not at hand.
    """

    width: int
    height: int
    kind: Kind
    format_version: int
    file_bytes: int
    metadata_bytes: int
    model_identity: str | None
    tile_side: int | None
    tiles: int
    layers: tuple[str, ...]
    work: int | None

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
    tools = Tools(models, Effort())
    if not layered_container.is_general(data):
        header, _, metadata_bytes, lengths, _ = container.read_head(data, max_pixels)
        side, identity = 1 << header.tile_exponent, header.identity.hex()
        size_and_kind = (header.width, header.height, header.kind, container.VERSION, size)
        whole = [(methods.NETWORK, header.planes, data)]
        work = _work(whole, header, tools)
        return Facts(*size_and_kind, metadata_bytes or 0, identity, side, len(lengths), (), work)
    found, metadata_bytes, table_bytes, layers, at = layered_container.read_head(data)
    container.check_pixels(found.width, found.height, max_pixels)
    for length in (metadata_bytes, table_bytes):
        at += 0 if length is None else length + 4
    names, model_identity, parts = [], None, []
    for method, planes, length in layers:
        names.append(methods.by_number(method).name)
        payload = data[at : at + length]
        if method == methods.NETWORK and model_identity is None:
            # A file in the file, with a header of its own.
            model_identity = container.read_header(payload).identity.hex()
        parts.append((method, planes, payload))
        at += length + 4
    size_and_kind = (found.width, found.height, found.kind, layered_container.VERSION, size)
    work = _work(parts, found, tools)
    return Facts(*size_and_kind, metadata_bytes or 0, model_identity, None, 0, tuple(names), work)


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
            except Truncated:  # very many tiles, or a network's layer after long others
                return inspect_bytes(head + file.read(), size, models, max_pixels)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _work(
    layers: Sequence[tuple[int, int, bytes]], header: image_decoder.Header, tools: Tools
) -> int | None:
    try:
        return methods.work(layers, (header.height, header.width), tools).multiply_adds
    except UnknownModel:
        return None

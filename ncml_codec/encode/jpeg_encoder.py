"""JPEG files to `.ncmz` bytes that give the very file back.

The coefficients are coded by a network. What cannot be written again from them, byte for byte, is
kept whole under zstd, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ncml_codec import jpeg, zstd_frames
from ncml_codec.atomic_files import InputFile
from ncml_codec.coefficients import tiles
from ncml_codec.coefficients.model_file import Model
from ncml_codec.coefficients.released_models import load
from ncml_codec.decode import memory
from ncml_codec.decode.effort import Effort
from ncml_codec.decode.jpeg_decoder import (
    MAX_FILE_BYTES,
    MAX_RECIPE_BYTES,
    check_blocks,
    check_bytes,
    restore,
)
from ncml_codec.encode.preview import with_preview_of_jpeg
from ncml_codec.errors import BeyondLimit, FormatError, InputError, RoundTripError, UnreadableJpeg
from ncml_codec.format import kept_file
from ncml_codec.format.directory import read_directory
from ncml_codec.format.kept_file import Coding, KeptFile, digest_of
from ncml_codec.jpeg import Jpeg, Layout
from ncml_codec.jpeg.markers import BLOCKS_MAX
from ncml_codec.picture import foreign_files
from ncml_codec.picture.picture import MAX_PIXELS

SIGNATURE = b"\xff\xd8\xff"
_STATIC = 1  # the level at which the network does not learn


@dataclass(frozen=True)
class Encoded:
    """data: the `.ncmz` file. original: the JPEG file that comes back. kept_whole: why it is not
    coded by coefficients; empty if it is. left_out: bytes of metadata that it had, by kind."""

    data: bytes
    original: bytes
    kept_whole: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)


def is_jpeg(file: InputFile) -> bool:
    """Whether a file begins as a JPEG file. Raises InputError if it cannot be read."""
    try:
        file.file.seek(0)
        return file.file.read(len(SIGNATURE)) == SIGNATURE
    except OSError as error:
        raise InputError(f"{file.path}: {error.strerror or error}") from error


def encode(
    data: bytes,
    model: Model | None = None,
    effort: Effort | None = None,
    level: int = 5,
    max_pixels: int | None = None,
    strip: bool = False,
    preview_side: int | None = None,
) -> Encoded:
    """The `.ncmz` bytes of a JPEG file.

    model: None for the released one. level: 1 to 9; at 1 the network does not learn. strip: leave
    its metadata out, see `jpeg.stripped`: another file will come back. preview_side: see
    `preview.with_preview_of_jpeg`. Raises BeyondLimit for more than max_pixels, more memory than
    `effort` has, or MAX_FILE_BYTES; InputError for metadata that cannot be left out.
    """
    made = _encoded(data, model, effort, level, max_pixels, strip)
    return replace(made, data=with_preview_of_jpeg(made.data, made.original, preview_side))


def _encoded(
    data: bytes,
    model: Model | None,
    effort: Effort | None,
    level: int,
    max_pixels: int | None,
    strip: bool,
) -> Encoded:
    effort = effort or Effort()
    if len(data) > MAX_FILE_BYTES:
        raise BeyondLimit(f"a JPEG file of {len(data)} bytes, more than {MAX_FILE_BYTES}")
    check_bytes(len(data), max_pixels)
    memory.check(effort.memory, memory.of_packing(len(data)))
    read = _read(data, max_pixels, effort)
    left_out: Mapping[str, int] = {}
    if strip:
        try:
            if isinstance(read, str):
                raise UnreadableJpeg(read)
            data, left_out = jpeg.stripped(data, read[0].recipe)
        except UnreadableJpeg as error:
            raise InputError(f"{error}: metadata cannot be left out") from error
        read = _read(data, max_pixels, effort)
    whole = _whole(data)
    if isinstance(read, str):
        return Encoded(whole, data, read, left_out)
    found, recipe = read
    model = model or load()
    coding = Coding.STATIC if level == _STATIC else Coding.LEARNING
    payloads = tiles.encode(
        found.coefficients,
        found.layout,
        model.network,
        static=coding == Coding.STATIC,
        threads=_threads(found.layout, len(data), effort),
    )
    frame = found.layout.frame
    coded = kept_file.write(
        KeptFile(
            width=frame.width,
            height=frame.height,
            is_grey=len(frame.components) == 1,
            coding=coding,
            digest=digest_of(data),
            identity=model.identity,
            recipe=zstd_frames.pack(recipe),
            payloads=payloads,
        )
    )
    if len(coded) >= len(whole):
        return Encoded(whole, data, "its coefficients take more bytes than the file", left_out)
    return Encoded(coded, data, "", left_out)


def verify(made: Encoded, model: Model | None = None, effort: Effort | None = None) -> None:
    """Raise RoundTripError unless decoding gives the original file's bytes."""
    head = read_directory(made.data).kept
    assert head is not None
    models = [] if model is None else [model]
    if restore(head, made.data, models, effort) != made.original:
        raise RoundTripError("decoding gave another JPEG file; nothing was written")


def _read(data: bytes, max_pixels: int | None, effort: Effort) -> tuple[Jpeg, bytes] | str:
    """The file's coefficients and its recipe, packed; or why the file is to be kept whole."""
    blocks_max = memory.blocks_within(effort.memory, len(data))
    try:
        found = jpeg.read(data, blocks_max=blocks_max)
    except UnreadableJpeg as error:
        if isinstance(error.__cause__, BeyondLimit) and blocks_max < BLOCKS_MAX:
            raise BeyondLimit(f"{error} (--memory)") from error
        return str(error)
    check_blocks(found.layout, max_pixels)
    _threads(found.layout, len(data), effort)
    effort.check()
    try:
        if jpeg.write(found) != data:
            return "its coefficients do not give the same bytes again"
        recipe = found.recipe.pack()
    except FormatError as error:
        return f"its coefficients cannot be written again: {error}"
    if len(recipe) > MAX_RECIPE_BYTES:
        return f"{len(recipe)} bytes beside its coefficients, more than {MAX_RECIPE_BYTES}"
    return found, recipe


def _threads(layout: Layout, length: int, effort: Effort) -> int:
    """As many as the memory allows. Raises BeyondLimit if that is none."""
    return memory.threads_within(
        effort.memory, effort.threads, lambda threads: memory.of_jpeg(layout, length, threads)
    )


def _whole(data: bytes) -> bytes:
    """The `.ncmz` bytes of the file under zstd."""
    try:
        width, height = foreign_files.survey(data, "it").size or (0, 0)
    except InputError:
        width, height = 0, 0
    if width * height > MAX_PIXELS:  # decoders would refuse the claim, which may be a damaged one
        width, height = 0, 0
    return kept_file.write(
        KeptFile(
            width=width,
            height=height,
            is_grey=False,
            coding=Coding.WHOLE,
            digest=digest_of(data),
            identity=b"",
            recipe=b"",
            payloads=[zstd_frames.pack(data)],
        )
    )

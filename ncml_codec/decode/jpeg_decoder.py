"""JPEG files out of `.ncmz` bytes, byte for byte, and the pixels that they decode to."""

from __future__ import annotations

from collections.abc import Iterable

from ncml_codec import jpeg, zstd_frames
from ncml_codec.coefficients import tiles
from ncml_codec.coefficients.model_file import Model
from ncml_codec.coefficients.released_models import find
from ncml_codec.decode import costs, memory
from ncml_codec.decode.effort import Effort
from ncml_codec.errors import BeyondLimit, ChecksumMismatch, FormatError
from ncml_codec.format.directory import check_pixels
from ncml_codec.format.kept_file import Coding, KeptFile, KeptHead, digest_of
from ncml_codec.jpeg import Jpeg, Layout, Recipe

MAX_FILE_BYTES = 1 << 30  # of a JPEG file, and of a recipe


def restore(
    head: KeptHead,
    data: bytes,
    models: Iterable[Model] = (),
    effort: Effort | None = None,
    max_pixels: int | None = None,
    max_work: int | None = None,
) -> bytes:
    """The very bytes of the file that was compressed.

    models: looked at before the released ones. Raises FormatError: ChecksumMismatch if they are
    others than the digest says, BeyondLimit for what is beyond a limit.
    """
    effort = effort or Effort()
    file = head.read(data)
    if file.coding == Coding.WHOLE:
        (payload,) = file.payloads
        memory.check(effort.memory, 2 * zstd_frames.unpacked_bytes(payload, "payload"))
        found = zstd_frames.unpack(bytes(payload), "payload", at_most=MAX_FILE_BYTES)
    else:
        found = _written(file, models, effort, max_pixels, max_work)
    if digest_of(found) != file.digest:
        raise ChecksumMismatch(
            "the restored file does not match its digest: the file is damaged, or the encoder or"
            " this decoder was at fault"
        )
    return found


def _written(
    file: KeptFile,
    models: Iterable[Model],
    effort: Effort,
    max_pixels: int | None,
    max_work: int | None,
) -> bytes:
    model = find(file.identity, models)
    recipe = recipe_of(file)
    layout = jpeg.layout(recipe)
    frame = layout.frame
    if (frame.width, frame.height) != (file.width, file.height):
        raise FormatError(f"the recipe is of an image of {frame.width} x {frame.height} pixels")
    check_pixels(frame.width, frame.height, max_pixels)
    check_blocks(layout, max_pixels)
    costs.of_coefficients(layout, model.network).check(max_work)
    memory.check(effort.memory, memory.of_jpeg(layout, recipe.size))
    static = file.coding == Coding.STATIC
    payloads = [bytes(payload) for payload in file.payloads]
    found = tiles.decode(payloads, layout, model.network, static=static, threads=effort.threads)
    return jpeg.write(Jpeg(layout, found, recipe))


def recipe_of(file: KeptFile) -> Recipe:
    """What is kept beside the coefficients. Raises FormatError."""
    packed = bytes(file.recipe)
    return Recipe.unpack(zstd_frames.unpack(packed, "recipe", at_most=MAX_FILE_BYTES))


def check_blocks(layout: Layout, max_pixels: int | None) -> None:
    """Raise BeyondLimit for more blocks than an image of max_pixels in four components has.

    Blocks beyond the edge, up to 16 in each direction, are those of any small image.
    """
    if max_pixels is None:
        return
    blocks = sum(rows * columns for rows, columns, _ in layout.shapes)
    if 64 * blocks > 4 * (max_pixels + (1 << 20)):
        raise BeyondLimit(
            f"{blocks} blocks of coefficients, beyond the limit of {max_pixels} pixels"
        )

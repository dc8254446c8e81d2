"""JPEG files out of `.ncmz` bytes, byte for byte, and the pixels that they decode to."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from ncml_codec import jpeg, zstd_frames
from ncml_codec.coefficients import tiles
from ncml_codec.coefficients.model_file import Model
from ncml_codec.coefficients.released_models import find
from ncml_codec.decode import costs, memory
from ncml_codec.decode.costs import Work
from ncml_codec.decode.effort import Effort
from ncml_codec.errors import BeyondLimit, ChecksumMismatch, FormatError
from ncml_codec.format.directory import check_pixels
from ncml_codec.format.kept_file import Coding, KeptFile, KeptHead, digest_of
from ncml_codec.format.sections import Reader
from ncml_codec.jpeg import Jpeg, Layout, Recipe
from ncml_codec.jpeg.recipe import NOTES_BYTES_MAX

MAX_FILE_BYTES = 1 << 30  # of a JPEG file
MAX_RECIPE_BYTES = 1 << 28  # as of an image's metadata
_FRAME_HEADER = 18  # bytes of a zstd frame that say how much it holds


Place = tuple[int, int, int, int]  # top, left, height and width, in pixels
# What is wrong with a file, and where its pixels are lost.
Damage = list[tuple[FormatError, Place | None]]


def restore(
    head: KeptHead,
    data: bytes,
    models: Iterable[Model] = (),
    effort: Effort | None = None,
    max_pixels: int | None = None,
    max_work: int | None = None,
    damage: Damage | None = None,
) -> bytes:
    """The very bytes of the file that was compressed.

    models: looked at before the released ones. max_pixels: see `check_bytes`, too. damage: a list
    that takes what is wrong with the file. If something is, the result is another JPEG file, which
    shows what is left of the image and is grey elsewhere.

    Raises FormatError: ChecksumMismatch if the bytes do not match their digest, BeyondLimit for
    what is beyond a limit. With `damage` it raises one only if nothing is left, or for a limit.
    """
    effort = effort or Effort()
    lost: dict[int, FormatError] = {}
    file = head.read(data, None if damage is None else lost)
    if file.coding == Coding.WHOLE:
        if lost:
            raise lost[0]
        head.sound_preview(data)
        return _matching(_unpacked(file, effort, max_pixels, max_work), file.digest)
    decoded = _decoded(file, models, effort, max_pixels, max_work, lost)
    try:
        if lost:
            raise lost[min(lost)]
        head.sound_preview(data)
        return _matching(jpeg.write(decoded), file.digest)
    except BeyondLimit:
        raise
    except FormatError as error:
        if damage is None:
            raise
        frame, places = decoded.layout.frame, tiles.tiles(decoded.layout)
        damage += [(lost[at], places[at].pixels(frame)) for at in sorted(lost)] or [(error, None)]
    return jpeg.sequential(decoded)


def part(
    head: KeptHead,
    data: bytes,
    place: Place,
    models: Iterable[Model] = (),
    effort: Effort | None = None,
    max_pixels: int | None = None,
    max_work: int | None = None,
) -> tuple[bytes, Place] | None:
    """A JPEG file of the blocks around a rectangle, and what it shows: places in the image.

    None for a file of which all must be known for its pixels: kept whole, progressive (libjpeg
    smooths what scans leave open) or damaged. Only tiles that the blocks lie in are decoded; the
    digest is not checked. Raises FormatError as `restore` does.
    """
    if head.coding == Coding.WHOLE:
        return None
    effort = effort or Effort()
    file = head.read(data)
    recipe = unpack_recipe(file.recipe, max_pixels, max_work, effort.memory)
    layout = jpeg.layout(recipe)
    if layout.frame.progressive or not jpeg.is_whole(recipe):
        return None
    top, left, height, width = shown = _units_around(place, layout)
    untouched = [
        at
        for at, tile in enumerate(tiles.tiles(layout))
        if not _touch(shown, tile.pixels(layout.frame))
    ]
    decoded = _decoded(file, models, effort, max_pixels, max_work, untouched)
    frame = replace(layout.frame, height=height, width=width)
    cut = Layout(frame, layout.quantisation)
    blocks = []
    for coefficients, (rows, columns, _), (down, across) in zip(
        decoded.coefficients, cut.shapes, layout.block_sides, strict=True
    ):
        row, column = top // down, left // across
        blocks.append(coefficients[row : row + rows, column : column + columns])
    return jpeg.sequential(Jpeg(cut, tuple(blocks), recipe)), shown


def _units_around(place: Place, layout: Layout) -> Place:
    """The whole units that a rectangle lies in, and those next to them, which colours that are
    sampled more coarsely are interpolated from."""
    top, left, height, width = place
    down, across = layout.unit
    first, left_first = max(top // down - 1, 0) * down, max(left // across - 1, 0) * across
    bottom = min(((top + height - 1) // down + 2) * down, layout.frame.height)
    right = min(((left + width - 1) // across + 2) * across, layout.frame.width)
    return first, left_first, bottom - first, right - left_first


def _touch(one: Place, other: Place) -> bool:
    """Whether two rectangles share a pixel."""
    return all(
        one[side] < other[side] + other[side + 2] and other[side] < one[side] + one[side + 2]
        for side in (0, 1)
    )


def _matching(found: bytes, digest: bytes) -> bytes:
    """The bytes. Raises ChecksumMismatch if they do not match their digest."""
    if digest_of(found) != digest:
        raise ChecksumMismatch(
            "the restored file does not match its digest: the file is damaged, or the encoder or"
            " this decoder was at fault"
        )
    return found


def _unpacked(
    file: KeptFile, effort: Effort, max_pixels: int | None, max_work: int | None
) -> bytes:
    """The bytes of a file that is kept in one zstd frame."""
    (payload,) = file.payloads
    size = _unpacked_bytes(payload, "payload", MAX_FILE_BYTES, max_pixels)
    costs.of_whole_file(size).check(max_work)
    memory.check(effort.memory, memory.of_unpacked(size, len(payload)))
    return zstd_frames.unpack(bytes(payload), "payload", at_most=MAX_FILE_BYTES)


def _decoded(
    file: KeptFile,
    models: Iterable[Model],
    effort: Effort,
    max_pixels: int | None,
    max_work: int | None,
    lost: Collection[int] = (),
) -> Jpeg:
    model = find(file.identity, models)
    recipe = unpack_recipe(file.recipe, max_pixels, max_work, effort.memory)
    layout = jpeg.layout(recipe)
    frame = layout.frame
    if (frame.width, frame.height) != (file.width, file.height):
        raise FormatError(f"the recipe is of an image of {frame.width} x {frame.height} pixels")
    check_pixels(frame.width, frame.height, max_pixels)
    check_blocks(layout, max_pixels)
    costs.of_coefficients(layout, model.network).check(max_work)
    threads = memory.threads_within(
        effort.memory, effort.threads, lambda threads: memory.of_jpeg(layout, recipe.size, threads)
    )
    static = file.coding == Coding.STATIC
    payloads = [bytes(payload) for payload in file.payloads]
    found = tiles.decode(payloads, layout, model.network, static=static, threads=threads, lost=lost)
    return Jpeg(layout, found, recipe)


def unpack_recipe(
    packed: bytes | memoryview,
    max_pixels: int | None = None,
    max_work: int | None = None,
    most_memory: int | None = None,
) -> Recipe:
    """What is kept beside the coefficients, within limits. Raises FormatError."""
    size = _unpacked_bytes(packed, "recipe", MAX_RECIPE_BYTES, max_pixels)
    costs.of_whole_file(size).check(max_work)
    held = memory.of_unpacked(size, len(packed))
    memory.check(most_memory, held)
    notes = NOTES_BYTES_MAX
    if max_work is not None:
        notes = min(notes, max_work // costs.NOTE)
    notes = min(notes, memory.notes_within(most_memory, held))
    content = zstd_frames.unpack(bytes(packed), "recipe", at_most=MAX_RECIPE_BYTES)
    recipe = Recipe.unpack(content, notes)
    if recipe.size > MAX_FILE_BYTES:
        raise FormatError(f"the recipe is of a file of {recipe.size} bytes")
    check_bytes(recipe.size, max_pixels)
    return recipe


def work_of(
    head: KeptHead, data: bytes, models: Iterable[Model] = (), max_pixels: int | None = None
) -> Work:
    """The work of a kept file, for which its recipe is read.

    data: the file's beginning. Raises FormatError: Truncated if more of the file is needed,
    UnknownModel.
    """
    if head.coding == Coding.WHOLE:
        length = min(head.payload_bytes, _FRAME_HEADER)
        start = bytes(Reader(data, head.payload_at).take("payload", length))
        return costs.of_whole_file(_unpacked_bytes(start, "payload", MAX_FILE_BYTES, max_pixels))
    network = find(head.identity, models).network
    packed = Reader(data, head.recipe_at).section("recipe", head.recipe_bytes)
    return costs.of_coefficients(jpeg.layout(unpack_recipe(packed, max_pixels)), network)


def check_bytes(size: int, max_pixels: int | None) -> None:
    """Raise BeyondLimit for a file or recipe of more bytes than max_pixels in four components have,
    and 4 MiB more."""
    if max_pixels is not None and size > 4 * (max_pixels + (1 << 20)):
        raise BeyondLimit(f"{size} bytes of a file, beyond the limit of {max_pixels} pixels")


def _unpacked_bytes(
    packed: bytes | memoryview, what: str, at_most: int, max_pixels: int | None
) -> int:
    size = zstd_frames.unpacked_bytes(packed, what)
    if size > at_most:  # or not stated
        raise FormatError(f"{what}: unpacks to {size} bytes, not at most {at_most}")
    check_bytes(size, max_pixels)
    return size


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

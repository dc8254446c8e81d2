"""A Pillow plugin: once it is imported, `Image.open("x.ncmz")` and `image.save("x.ncmz")` work.

    >>> import io
    >>> import ncml_codec.integrations.pillow
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (8, 4), (1, 2, 3)).save(file, "NCMZ", level=1)
    >>> Image.open(file).getpixel((7, 3))
    (1, 2, 3)

Opening reads the header and the metadata (`info`: profile, EXIF, resolution, text); pixels are
decoded when they are first needed, and the whole file is checked then. `thumbnail` and `draft` take
the file's preview where it is large enough, as those of JPEG files take fewer coefficients.
Pillow's limits against decompression bombs hold. What a picture is in Pillow's terms (mode,
palette, info) is what Pillow makes of the PNG that `ncmlzip decompress` would write, so 16-bit
colour comes back with 8 bits, as it does from PNG: use `ncml_codec.decompress` for those. Programs
that read through Pillow, such as imageio, then read `.ncmz`, too.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import IO, Any

from PIL import Image, ImageFile

from ncml_codec.decode import image_decoder, jpeg_decoder, preview
from ncml_codec.encode import image_encoder, levels
from ncml_codec.errors import FormatError, NcmlError, Truncated
from ncml_codec.format import directory
from ncml_codec.format.container import MAGIC, Header, Section
from ncml_codec.format.directory import Directory
from ncml_codec.format.kept_file import Coding, KeptHead
from ncml_codec.format.sections import Reader
from ncml_codec.network import released_models
from ncml_codec.picture import exif, kinds, png_chunks
from ncml_codec.picture.image_files import decode_file, encode_file
from ncml_codec.picture.kinds import Kind

FORMAT, SUFFIX, MIME = "NCMZ", ".ncmz", "image/x-ncmz"
_HEAD = 1 << 12  # bytes that hold the header of most files


class NcmzImageFile(ImageFile.ImageFile):
    """An image of a `.ncmz` file, decoded by `load`. Raises OSError as Pillow's own do."""

    format = FORMAT
    format_description = "lossless, by ncml-codec"

    def _open(self) -> None:
        assert self.fp is not None
        try:
            found = _directory(self.fp)
        except FormatError as error:
            raise SyntaxError(str(error)) from error
        header = found.header
        self._size = (header.width, header.height)
        self._mode = _mode(header.kind)
        self.tile = []
        self.info = _info(found, self.fp)

    def draft(
        self, mode: str | None, size: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int, float, float]] | None:
        """Become the file's preview, if it is at least so large and lies as the image does."""
        upright = exif.orientation(self.info.get("exif", b"").removeprefix(exif.SIGNATURE))
        if self.fp is None or self.is_loaded() or size is None or upright != exif.UPRIGHT:
            return None
        self.fp.seek(0)
        try:
            small = preview.of_bytes(self.fp.read())
        except FormatError:  # `load` will say so
            return None
        if small is None or small.width < size[0] or small.height < size[1]:
            return None
        self.im, self._size, self._mode = small.im, small.size, small.mode
        self._leave()
        return self.mode, (0, 0, *small.size)

    def load(self) -> Any:
        """Decode, if that is not done. Raises OSError if the file is damaged."""
        if self.fp is not None and not self.is_loaded():
            self.fp.seek(0)
            data = self.fp.read()
            try:
                picture = image_decoder.decode(data, max_pixels=self.width * self.height)
            except NcmlError as error:
                raise OSError(str(error)) from error
            image = Image.open(io.BytesIO(encode_file(picture, "x.png")), formats=("PNG",))
            image.load()
            self.im, self._mode = image.im, image.mode
            self.palette, self.info = image.palette, image.info
            self._leave()
        return Image.Image.load(self)

    def is_loaded(self) -> bool:
        """Whether the pixels are decoded."""
        return self._im is not None

    def _leave(self) -> None:
        """Need the file no more."""
        if self.fp is not None and self._exclusive_fp and self._close_exclusive_fp_after_loading:
            self.fp.close()
        self.fp = None


def _directory(file: IO[bytes]) -> Directory:
    head = file.read(_HEAD)
    try:
        return directory.read_directory(head)
    except Truncated:  # very many tiles
        return directory.read_directory(head + file.read())


def _info(found: Directory, file: IO[bytes]) -> dict[Any, Any]:
    """What Pillow makes of the metadata; nothing if they are damaged, as `load` will say."""
    file.seek(0)
    try:
        if found.kept is not None:
            return _opened_info(_jpeg_head(found.kept, file.read()), "JPEG")
        if Section.METADATA not in found.sections:
            return {}
        begin, length = found.sections[Section.METADATA]
        chunks = png_chunks.unpack_chunks(
            found.section(file.read(begin + length + 4), Section.METADATA)
        )
    except FormatError:
        return {}
    return _opened_info(_png_head(found.header, chunks), "PNG")


def _png_head(header: Header, chunks: Sequence[png_chunks.Chunk]) -> bytes:
    """A PNG with these chunks, up to its pixels."""
    kind = header.kind
    size = (header.width, header.height, kind.bit_depth, kind.colour_type, 0, 0, 0)
    before = [one for one in chunks if one[0] not in (png_chunks.PIXELS, png_chunks.TRAILER)]
    parts = [(b"IHDR", struct.pack(">IIBBBBB", *size)), *before, (png_chunks.PIXELS, b"")]
    return png_chunks.SIGNATURE + b"".join(png_chunks.chunk(*one) for one in parts)


def _jpeg_head(kept: KeptHead, data: bytes) -> bytes:
    """The JPEG file without what is coded in its scans; empty if it is kept whole."""
    if kept.coding == Coding.WHOLE:
        return b""
    packed = Reader(data, kept.recipe_at).section("recipe", kept.recipe_bytes)
    return jpeg_decoder.unpack_recipe(packed, Image.MAX_IMAGE_PIXELS).markers


def _opened_info(head: bytes, kind: str) -> dict[Any, Any]:
    try:
        with Image.open(io.BytesIO(head), formats=(kind,)) as image:
            return dict(image.info)
    except (OSError, SyntaxError, ValueError):
        return {}


def _mode(kind: Kind) -> str:
    """The mode in which Pillow opens a PNG of this kind."""
    if kind.colour_type == kinds.GREY:
        return {1: "1", 16: "I;16"}.get(kind.bit_depth, "L")
    if kind.colour_type == kinds.GREY_ALPHA:
        return "LA" if kind.bit_depth == 8 else "RGBA"
    return {kinds.RGB: "RGB", kinds.PALETTE: "P", kinds.RGB_ALPHA: "RGBA"}[kind.colour_type]


def _save(image: Image.Image, file: IO[bytes], name: str | bytes) -> None:
    """Options of `save`: level (1 to 9), model; and those of PNG that say what metadata to keep."""
    options = dict(getattr(image, "encoderinfo", {}))
    level = options.pop("level", levels.DEFAULT)
    chosen = options.pop("model", None)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **(options | {"compress_level": 0}))
    picture = decode_file(buffer.getvalue(), str(name))
    model = released_models.load(chosen) if chosen else None
    file.write(image_encoder.encode(picture, model, level=level))


def _save_all(image: Image.Image, file: IO[bytes], name: str | bytes) -> None:
    """As `_save`. Raises ValueError for several images."""
    more = len(list(getattr(image, "encoderinfo", {}).pop("append_images", ())))
    count = getattr(image, "n_frames", 1) + more
    if count > 1:
        raise ValueError(f"a .ncmz file holds one image, not {count}: save each frame by itself")
    _save(image, file, name)


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


Image.register_open(FORMAT, NcmzImageFile, _accept)
Image.register_save(FORMAT, _save)
Image.register_save_all(FORMAT, _save_all)
Image.register_extension(FORMAT, SUFFIX)
Image.register_mime(FORMAT, MIME)

"""A Pillow plugin: once it is imported, `Image.open("x.ncmz")` and `image.save("x.ncmz")` work.

    >>> import io
    >>> import ncml_codec.integrations.pillow
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (8, 4), (1, 2, 3)).save(file, "NCMZ", level=1)
    >>> Image.open(file).getpixel((7, 3))
    (1, 2, 3)

Opening reads the header; pixels are decoded when they are first needed, and the whole file is
checked then. Pillow's limits against decompression bombs hold. What a picture is in Pillow's terms
(mode, palette, info) is what Pillow makes of the PNG that `ncmlzip decompress` would write, so
16-bit colour comes back with 8 bits, as it does from PNG: use `ncml_codec.decompress` for those.
Programs that read through Pillow, such as imageio, then read `.ncmz`, too.
"""

from __future__ import annotations

import io
from typing import IO, Any

from PIL import Image, ImageFile

from ncml_codec.decode import image_decoder
from ncml_codec.encode import image_encoder, levels
from ncml_codec.errors import FormatError, NcmlError, Truncated
from ncml_codec.format.container import MAGIC, Header
from ncml_codec.network import released_models
from ncml_codec.picture import kinds
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
            header = _header(self.fp)
        except FormatError as error:
            raise SyntaxError(str(error)) from error
        self._size = (header.width, header.height)
        self._mode = _mode(header.kind)
        self.tile = []

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
            if self._exclusive_fp and self._close_exclusive_fp_after_loading:
                self.fp.close()
            self.fp = None
        return Image.Image.load(self)

    def is_loaded(self) -> bool:
        """Whether the pixels are decoded."""
        return self._im is not None


def _header(file: IO[bytes]) -> Header:
    head = file.read(_HEAD)
    try:
        return image_decoder.read_header(head)
    except Truncated:  # very many tiles
        return image_decoder.read_header(head + file.read())


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


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


Image.register_open(FORMAT, NcmzImageFile, _accept)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, SUFFIX)
Image.register_mime(FORMAT, MIME)

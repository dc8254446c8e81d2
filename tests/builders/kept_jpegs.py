"""JPEG files in `.ncmz` files by a given network, however many bytes its payload takes."""

from __future__ import annotations

from ncml_codec import jpeg, zstd_frames
from ncml_codec.coefficients import tiles
from ncml_codec.coefficients.model_file import Model
from ncml_codec.format import kept_file
from ncml_codec.format.kept_file import Coding, KeptFile, digest_of


def kept_jpeg(data: bytes, model: Model, coding: Coding = Coding.LEARNING) -> bytes:
    """The `.ncmz` bytes. `jpeg_encoder.encode` would keep most small files whole."""
    if coding == Coding.WHOLE:
        whole = KeptFile(0, 0, False, coding, digest_of(data), b"", b"", [zstd_frames.pack(data)])
        return kept_file.write(whole)
    found = jpeg.read(data)
    static = coding == Coding.STATIC
    payloads = tiles.encode(found.coefficients, found.layout, model.network, static=static)
    frame = found.layout.frame
    return kept_file.write(
        KeptFile(
            width=frame.width,
            height=frame.height,
            is_grey=len(frame.components) == 1,
            coding=coding,
            digest=digest_of(data),
            identity=model.identity,
            recipe=zstd_frames.pack(found.recipe.pack()),
            payloads=payloads,
        )
    )

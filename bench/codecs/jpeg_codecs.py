"""Codecs of whole JPEG files, ours and rivals alike, and the JPEG files to measure them on.

Lepton (the `bench` extra's lepton-jpeg-python) and JPEG XL give the very file back, as ours does.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata, util
from pathlib import Path

import imagecodecs
import zstandard
from PIL import Image

from bench.codecs.subjects import image_files, read_subject
from ncml_codec.coefficients import released_models
from ncml_codec.decode.effort import Effort
from ncml_codec.decode.jpeg_decoder import restore
from ncml_codec.encode import jpeg_encoder
from ncml_codec.errors import InputError
from ncml_codec.format.directory import read_directory

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif"}
LEVELS = {"ncmlzip -1": 1, "ncmlzip": 5}


@dataclass(frozen=True)
class JpegFile:
    """group: what it is summed with; its folder, or the settings that made it."""

    name: str
    group: str
    data: bytes


@dataclass(frozen=True)
class JpegCodec:
    """encode: a JPEG file's bytes and a number of threads to bytes; decode: the way back.

    threaded: whether that number matters.
    """

    name: str
    settings: str
    version: str
    encode: Callable[[bytes, int], bytes]
    decode: Callable[[bytes, int], bytes]
    threaded: bool = False


def jpeg_files(folders: Sequence[Path]) -> list[JpegFile]:
    """The JPEG files of the folders, by name. Raises InputError if a folder holds none."""
    found: list[JpegFile] = []
    for folder in folders:
        paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in SUFFIXES)
        if not paths:
            raise InputError(f"{folder}: no JPEG files ({' '.join(sorted(SUFFIXES))})")
        group = folder.resolve().name
        found += [JpegFile(path.name, group, path.read_bytes()) for path in paths]
    return found


def made_by_pillow(
    folders: Sequence[Path], qualities: Sequence[int], samplings: Sequence[str]
) -> list[JpegFile]:
    """The images of the folders as JPEG files: baseline, standard Huffman tables, no metadata.

    samplings: of 4:4:4, 4:2:2 and 4:2:0. Alpha is left out. Raises InputError for a missing
    folder, for one without images, and for images that do not have 8 bits.
    """
    found: list[JpegFile] = []
    for sampling in samplings:
        for quality in qualities:
            for path in image_files(folders):
                subject = read_subject(path)
                if subject.samples.dtype.itemsize != 1:
                    raise InputError(f"{path}: JPEG files have 8 bits a sample, this image has 16")
                group = f"{subject.folder}, quality {quality}, {sampling}"
                image = Image.open(io.BytesIO(subject.data))
                plain = image.convert("L" if subject.samples.shape[2] < 3 else "RGB")
                plain.info.clear()
                file = io.BytesIO()
                plain.save(file, "JPEG", quality=quality, subsampling=sampling)
                found.append(JpegFile(path.stem, group, file.getvalue()))
    return found


def every_of_group(files: Sequence[JpegFile], step: int) -> list[JpegFile]:
    """Each step-th file of every group, beginning with its first."""
    groups: dict[str, list[JpegFile]] = {}
    for file in files:
        groups.setdefault(file.group, []).append(file)
    return [file for group in groups.values() for file in group[::step]]


def jpeg_codecs() -> list[JpegCodec]:
    """Ours and every rival that is installed."""
    found = [
        JpegCodec(
            "zstd",
            "level 19 of the file's bytes",
            "libzstd " + ".".join(map(str, zstandard.ZSTD_VERSION)),
            lambda data, threads: zstandard.ZstdCompressor(level=19).compress(data),
            lambda data, threads: zstandard.ZstdDecompressor().decompress(data),
        )
    ]
    if imagecodecs.JPEGXL.available and hasattr(imagecodecs, "jpegxl_encode_jpeg"):
        found.append(
            JpegCodec(
                "JPEG XL",
                "libjxl's lossless transcoding of JPEG files, its default effort",
                imagecodecs.jpegxl_version(),
                lambda data, threads: bytes(
                    imagecodecs.jpegxl_encode_jpeg(data, numthreads=threads)
                ),
                lambda data, threads: bytes(
                    imagecodecs.jpegxl_decode_jpeg(data, numthreads=threads)
                ),
                threaded=True,
            )
        )
    if util.find_spec("lepton_jpeg_python"):
        found.append(_lepton())
    model = released_models.load()
    version = f"ncml-codec {metadata.version('ncml-codec')}, model {model.identity.hex()}"
    for name, level in LEVELS.items():
        words = f"level {level}; without the command's own check, which decodes once more"
        encode = partial(_encode, level)
        found.append(JpegCodec(name, words, version, encode, _decode, threaded=True))
    return found


def _encode(level: int, data: bytes, threads: int) -> bytes:
    return jpeg_encoder.encode(data, effort=Effort(threads=threads), level=level).data


def _decode(data: bytes, threads: int) -> bytes:
    head = read_directory(data).kept
    if head is None:
        raise InputError("a file of the codec that keeps no JPEG file")
    return restore(head, data, effort=Effort(threads=threads))


def _lepton() -> JpegCodec:
    import lepton_jpeg_python as lepton

    return JpegCodec(
        "Lepton",
        "as many partitions as threads; one partition is smallest",
        f"lepton-jpeg-python {metadata.version('lepton-jpeg-python')}",
        lambda data, threads: bytes(lepton.compress_bytes(data, {"max_partitions": threads})),
        lambda data, threads: bytes(lepton.decompress_bytes(data)),
        threaded=True,
    )

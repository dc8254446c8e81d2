"""Fuzzing for as long as you like: `python -m tests.programs.fuzz --minutes 60 --keep found`.

Sound files are damaged, their checksums put right again so that the damage gets past them, and
handed to everything that reads a stranger's bytes. The law: what comes out is a sound thing or an
error of `ncml_codec.errors`, within 2 GiB of address space and a few seconds. A case that breaks
it is shrunk by hypothesis and kept as a file; `tests/format/test_found.py` runs those that were
found. The bytes at work stand in the file `now`, in case the process itself dies.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import resource
import struct
import sys
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import zstandard
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from ncml_codec import zstd_frames
from ncml_codec.decode import image_decoder, jpeg_decoder
from ncml_codec.encode import jpeg_encoder
from ncml_codec.errors import FormatError, InputError, NcmlError
from ncml_codec.format import directory, kept_file
from ncml_codec.format.container import write
from ncml_codec.format.kept_file import Coding
from ncml_codec.network.model_file import MAGIC as MODEL_MAGIC
from ncml_codec.network.model_file import Model, read_model, write_model
from ncml_codec.picture import image_files, png_chunks, row_readers
from tests.builders.coefficient_networks import jpeg_bytes
from tests.builders.pictures import GOLDEN, real_images, valley
from tests.builders.sealing import with_checksums, with_png_checksums
from tests.programs.make_golden import photographs

MEMORY = 2 << 30  # bytes of address space
LARGEST = 1 << 20  # pixels of an image: so that what is allocated for more than that is noticed
SLOW = 10.0  # seconds for one file
_ROUND = 400  # files of a kind before the next kind's turn
_INTERESTING = (0, 1, 2, 3, 127, 128, 255, 256, 32767, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)

Bytes = st.SearchStrategy[bytes]
Law = Callable[[bytes], bool]


class TooSlow(Exception):
    """A file that took longer than SLOW."""


def decoded(data: bytes, model: Model) -> bool:
    """A `.ncmz` file is a picture or a FormatError; what is read is written the same.

    This and the other laws: whether it was a sound file.
    """
    try:
        found = directory.read_directory(data)
        if found.kept is not None:
            again = kept_file.write(found.kept.read(data))
        else:
            again = write(found.read(data))
    except FormatError:
        pass
    else:
        # Tiles that each say the same may be written so.
        assert again == data or any(
            head.layout and head.adaptation is None for head in found.layers
        )
    try:
        picture = image_decoder.decode(data, [model], max_pixels=LARGEST)
    except FormatError:
        return False
    assert picture.samples.size
    return True


def read_image(data: bytes, folder: Path) -> bool:
    """An image file is a picture or an InputError, and the same if it is read by rows."""
    path = folder / "fuzzed"
    path.write_bytes(data)
    found: list[np.ndarray | None] = []
    usual = row_readers.WHOLE
    for row_readers.WHOLE in (usual, 0):
        try:
            source = row_readers.open_image(path)
            middle = source.height // 2
            parts = [source.rows(0, middle), source.rows(middle, source.height)]
            found.append(np.concatenate(parts))
        except InputError as error:
            if isinstance(error.__cause__, MemoryError):
                raise
            found.append(None)
        finally:
            row_readers.WHOLE = usual
    if found[0] is not None and found[1] is not None:
        assert np.array_equal(found[0], found[1])
    return found[0] is not None


def jpeg_kept(data: bytes) -> bool:
    """A JPEG file, or what is nearly one, comes back byte for byte."""
    try:
        made = jpeg_encoder.encode(data, level=1, max_pixels=LARGEST)
    except FormatError:  # beyond a limit
        return False
    assert made.original == data
    jpeg_encoder.verify(made)
    return not made.kept_whole


def restored(data: bytes) -> bool:
    """A `.ncmz` file of a JPEG file is that file, whose digest is right, or a FormatError."""
    try:
        found = directory.read_directory(data, LARGEST)
        if found.kept is None:
            return False
        file = jpeg_decoder.restore(found.kept, data, max_pixels=LARGEST)
    except FormatError:
        return False
    assert kept_file.digest_of(file) == found.kept.digest
    return True


def model_read(data: bytes) -> bool:
    """A model file is a model, written the same again, or a FormatError."""
    try:
        model = read_model(data)
    except FormatError:
        return False
    assert read_model(write_model(model.network)).sha256 == model.sha256
    return True


def metadata_read(data: bytes) -> bool:
    """A metadata section is a list of chunks or a FormatError."""
    try:
        chunks = png_chunks.unpack_chunks(data)
    except FormatError:
        return False
    png_chunks.icc_profile(chunks)
    png_chunks.exif(chunks)
    if any(kind != png_chunks.PIXELS for kind, _ in chunks):
        assert png_chunks.unpack_chunks(png_chunks.pack_chunks(chunks)) == chunks
    return True


def as_model(description: bytes, tensors: bytes) -> bytes:
    """A model file of any two parts, its checksum right."""
    packed = zstandard.ZstdCompressor(level=1).compress(tensors)
    body = MODEL_MAGIC + struct.pack("<I", len(description)) + description + packed
    return body + struct.pack("<I", zlib.crc32(body))


def model_parts(data: bytes) -> tuple[bytes, bytes]:
    """The description and the tensors of a sound model file."""
    start = len(MODEL_MAGIC) + 4
    (length,) = struct.unpack_from("<I", data, len(MODEL_MAGIC))
    packed = data[start + length : -4]
    return data[start : start + length], zstandard.ZstdDecompressor().decompress(packed)


def edits(seeds: list[bytes]) -> Bytes:
    """One of the seeds with a piece changed, put in or taken out, sometimes up to six."""
    place = st.integers(0, 2**20)
    piece = st.one_of(
        st.binary(max_size=8),
        st.sampled_from(_INTERESTING).map(lambda v: struct.pack("<I", v)),
        st.sampled_from(_INTERESTING).map(lambda v: struct.pack(">I", v)),
        st.sampled_from(_INTERESTING).map(lambda v: bytes([v & 255])),
    )
    edit = st.tuples(st.sampled_from((0, 0, 0, 1, 1, 2, 3, 4)), place, st.integers(0, 64), piece)
    made = st.one_of(st.tuples(edit), st.lists(edit, min_size=1, max_size=6))

    def changed(seed: bytes, made: Sequence[tuple[int, int, int, bytes]]) -> bytes:
        out = bytearray(seed)
        for kind, where, length, new in made:
            # Half of all places are near the front, where the headers are.
            at = (where >> 1) % (len(out) + 1) if where & 1 else (where >> 1) % 64
            if kind == 0 and out:
                out[at % len(out)] ^= 1 << length % 8
            elif kind == 1:
                out[at : at + len(new)] = new
            elif kind == 2:
                out[at:at] = new
            elif kind == 3:
                del out[at : at + length]
            else:
                out[at:at] = out[at : at + length]
        return bytes(out)

    return st.builds(changed, st.sampled_from(seeds), made)


def drawn_png() -> Bytes:
    """A PNG of any header, its image data a sound stream of anything."""

    def built(fields: tuple[int, ...], rows: bytes, extra: list[tuple[bytes, bytes]]) -> bytes:
        header = png_chunks.chunk(b"IHDR", struct.pack(">IIBBBBB", *fields))
        middle = b"".join(png_chunks.chunk(*one) for one in extra)
        pixels = png_chunks.chunk(b"IDAT", zlib.compress(rows))
        return png_chunks.SIGNATURE + header + middle + pixels + png_chunks.chunk(b"IEND", b"")

    side = st.one_of(st.integers(1, 9), st.sampled_from((0, 2**16, 2**31 - 1, 2**32 - 1)))
    small = st.integers(0, 3)
    wild = st.tuples(
        side, side, st.sampled_from((1, 2, 4, 8, 16, 3)), st.integers(0, 6), small, small, small
    )
    zero = st.just(0)
    colours = st.sampled_from((0, 2, 3, 4, 6))
    depths = st.sampled_from((8, 8, 8, 1, 16))
    sound = st.tuples(st.integers(1, 9), st.integers(1, 9), depths, colours, zero, zero, small)
    kinds = st.sampled_from((b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"zTXt", b"acTL", b"XXXX"))
    extra = st.lists(st.tuples(kinds, st.binary(max_size=24)), max_size=3)

    def filled(fields: tuple[int, ...], seed: bytes) -> bytes:
        """Rows as many and as long as the header says, or nearly."""
        width, height, depth, colour = fields[:4]
        bits = width * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
        long = min(height, 9) * (1 + -(-min(bits, 800) // 8))
        return (seed * (long // max(len(seed), 1) + 1))[: long + (len(seed) % 7 == 6)]

    filters = st.lists(st.integers(0, 5), min_size=1, max_size=40).map(bytes)
    rows = st.one_of(filters, st.binary(min_size=1, max_size=60))
    plain = st.builds(lambda f, r, e: built(f, filled(f, r), e), sound, rows, st.just([]))
    return st.one_of(plain, st.builds(built, wild, st.binary(max_size=99), extra))


def image_seeds() -> tuple[list[bytes], list[bytes]]:
    """Small image files: PNG, and others."""
    pngs = [image_files.encode_file(picture, "x.png") for picture in photographs().values()]
    pngs += [path.read_bytes() for path in real_images("pngsuite") if path.suffix == ".png"]
    others = []
    colour = Image.fromarray(valley(40, 60, 9, 11))
    for image in (colour, colour.convert("L")):
        for format, options in (
            ("WEBP", {"lossless": True}),
            ("BMP", {}),
            ("TIFF", {}),
            ("TIFF", {"compression": "tiff_deflate"}),
            ("TIFF", {"compression": "tiff_lzw"}),
            ("PPM", {}),
            ("PNG", {"icc_profile": b"profile", "exif": b"Exif\0\0II*\0"}),
        ):
            out = io.BytesIO()
            image.save(out, format, **options)
            (pngs if format == "PNG" else others).append(out.getvalue())
    return [data for data in pngs if len(data) < 20_000], others


def kept_seeds() -> tuple[list[bytes], list[bytes]]:
    """Small JPEG files, and `.ncmz` files that hold them: by coefficients, and whole."""
    files = [jpeg_bytes(seed, sampling=seed % 3) for seed in range(3)]
    files += [jpeg_bytes(3, mode="L"), jpeg_bytes(4, (17, 9), mode="CMYK"), b"\xff\xd8\xff no more"]
    with_tail = files[0] + b"what follows"
    out = io.BytesIO()
    Image.fromarray(valley(40, 60, 17, 26)).save(out, "JPEG", progressive=True)
    files += [with_tail, out.getvalue(), files[1][:-60] + bytes(9) + files[1][-30:]]
    levels = itertools.cycle((1, 5))
    return files, [jpeg_encoder.encode(data, level=next(levels)).data for data in files]


def with_recipe(data: bytes, recipe: bytes) -> bytes:
    """A kept file with another recipe, unpacked here."""
    head = directory.read_directory(data).kept
    assert head is not None
    return kept_file.write(replace(head.read(data), recipe=zstd_frames.pack(recipe, 1)))


def recipe_in(data: bytes) -> bytes | None:
    head = directory.read_directory(data).kept
    if head is None or head.coding == Coding.WHOLE:
        return None
    return zstd_frames.unpack(bytes(head.read(data).recipe), "recipe", at_most=LARGEST)


def targets(folder: Path) -> dict[str, tuple[Bytes, Law]]:
    """Every kind of file: how it is drawn, and the law it obeys."""
    jpegs, kept = kept_seeds()
    golden = [path.read_bytes() for path in sorted(GOLDEN.rglob("*.ncmz"))] + kept
    small = [data for data in golden if len(data) < 3000]
    tiny = (GOLDEN / "tiny.ncpn").read_bytes()
    model = read_model(tiny)
    pngs, others = image_seeds()
    description, tensors = model_parts(tiny)
    recipes = st.sampled_from([each for each in kept if recipe_in(each)]).flatmap(
        lambda each: edits([recipe_in(each) or b""]).map(partial(with_recipe, each))
    )
    sections = [directory.read(data).metadata for data in small if is_sound(data)]
    records = [zstandard.ZstdDecompressor().decompress(one) for one in sections if one]
    packed = edits(records).map(lambda data: zstandard.ZstdCompressor(level=1).compress(data))
    return {
        "ncmz": (edits(golden), lambda data: decoded(data, model)),
        "ncmz-sealed": (edits(small).map(with_checksums), lambda data: decoded(data, model)),
        "png": (edits(pngs).map(with_png_checksums), lambda data: read_image(data, folder)),
        "png-drawn": (drawn_png(), lambda data: read_image(data, folder)),
        "images": (edits(others), lambda data: read_image(data, folder)),
        "jpeg": (edits(jpegs), jpeg_kept),
        "kept": (edits(kept).map(with_checksums), restored),
        "recipe": (recipes, restored),
        "model": (
            st.one_of(
                edits([description]).map(lambda text: as_model(text, tensors)),
                edits([tensors]).map(lambda found: as_model(description, found)),
                edits([tiny]),
            ),
            model_read,
        ),
        "metadata": (
            st.one_of(packed, edits([one for one in sections if one])),
            metadata_read,
        ),
    }


def is_sound(data: bytes) -> bool:
    try:
        directory.read(data)
    except NcmlError:
        return False
    return True


def run_round(
    name: str, drawn: Bytes, law: Law, keep: Path, count: int = _ROUND, same: bool = False
) -> tuple[int, int, str | None]:
    """Files tried, those that were sound, and the traceback of the smallest that breaks the law,
    which is kept. same: the same files each time."""
    tried, sound, last = 0, 0, b""
    now = keep / "now"

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=same,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(drawn)
    def law_holds(data: bytes) -> None:
        nonlocal tried, sound, last
        tried, last = tried + 1, data
        now.write_bytes(data)
        started = time.monotonic()
        sound += law(data)
        if time.monotonic() - started > SLOW:
            raise TooSlow(f"{len(data)} bytes took {time.monotonic() - started:.1f} s")

    try:
        law_holds()
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        (keep / f"{name}-{zlib.crc32(last):08x}").write_bytes(last)
        return tried, sound, traceback.format_exc()
    return tried, sound, None


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz the readers.")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--only", help="one kind of file")
    parser.add_argument("--keep", type=Path, required=True, help="folder for the cases found")
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    image_files.MAX_PIXELS = LARGEST
    made = targets(options.keep)
    if options.only:
        made = {options.only: made[options.only]}
    tried, sound, found = (Counter(dict.fromkeys(made, 0)) for _ in range(3))
    end = time.monotonic() + 60 * options.minutes
    while time.monotonic() < end:
        for name, (drawn, law) in made.items():
            count, passed, problem = run_round(name, drawn, law, options.keep)
            tried[name] += count
            sound[name] += passed
            if problem:
                found[name] += 1
                print(f"{name}: {problem}", flush=True)
        counts = ", ".join(f"{name} {tried[name]} ({sound[name]} sound)" for name in made)
        said = f"{sum(tried.values())} files: {counts}; {sum(found.values())} broke a law"
        print(f"{time.strftime('%H:%M:%S')} {said}", flush=True)
    sys.exit(1 if any(found.values()) else 0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()

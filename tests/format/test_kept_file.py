"""JPEG files in the container: what is written is read, and nothing else is believed."""

from __future__ import annotations

import struct
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ncml_codec import jpeg, zstd_frames
from ncml_codec.coefficients.released_models import load
from ncml_codec.decode import file_info, jpeg_decoder, memory
from ncml_codec.decode.effort import Effort
from ncml_codec.encode import jpeg_encoder
from ncml_codec.errors import BeyondLimit, ChecksumMismatch, FormatError
from ncml_codec.format import directory, kept_file
from ncml_codec.format.kept_file import Coding, KeptFile, digest_of
from ncml_codec.jpeg import recipe as recipe_module
from tests.builders.coefficient_networks import jpeg_bytes
from tests.builders.limited import run_limited
from tests.builders.sealing import with_checksums

EXAMPLE = KeptFile(
    width=40,
    height=33,
    is_grey=False,
    coding=Coding.LEARNING,
    digest=digest_of(b"a file"),
    identity=b"name",
    recipe=b"recipe",
    payloads=[b"first", b"", b"third"],
)


@st.composite
def files(draw: st.DrawFn) -> KeptFile:
    coding = draw(st.sampled_from(list(Coding)))
    is_whole = coding == Coding.WHOLE
    return KeptFile(
        width=draw(st.integers(0, 2**24 - 1)),
        height=draw(st.integers(0, 300)),
        is_grey=draw(st.booleans()),
        coding=coding,
        digest=draw(st.binary(min_size=16, max_size=16)),
        identity=b"" if is_whole else draw(st.binary(min_size=4, max_size=4)),
        recipe=b"" if is_whole else draw(st.binary(max_size=20)),
        payloads=draw(st.lists(st.binary(max_size=9), min_size=1, max_size=1 if is_whole else 5)),
    )


def read(data: bytes) -> KeptFile:
    head = directory.read_directory(data).kept
    if head is None:
        raise FormatError("not a kept file")
    return head.read(data)


@given(files())
def test_a_file_comes_back(file: KeptFile) -> None:
    data = kept_file.write(file)
    assert kept_file.is_kept(data[:6])
    assert read(data) == file


def test_every_truncation_is_refused() -> None:
    data = kept_file.write(EXAMPLE)
    for length in range(len(data)):
        with pytest.raises(FormatError):
            read(data[:length])


def test_every_flipped_bit_is_refused() -> None:
    data = kept_file.write(EXAMPLE)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            read(bytes(damaged))


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(FormatError, match="follow the end"):
        read(kept_file.write(EXAMPLE) + b"x")


def test_pixels_and_payloads_are_bounded_before_they_are_read() -> None:
    with pytest.raises(BeyondLimit, match="40 x 33 pixels"):
        directory.read_directory(kept_file.write(EXAMPLE), max_pixels=1000)
    data = kept_file.write(replace(EXAMPLE, payloads=[]))
    with pytest.raises(FormatError, match="0 tiles of coefficients"):
        directory.read_directory(data)


def test_a_jpeg_file_has_no_layers_to_read() -> None:
    with pytest.raises(FormatError, match="no image in layers"):
        directory.read(kept_file.write(EXAMPLE))


@given(files())
def test_a_sealed_file_is_as_sound_as_before_and_damage_gets_past_the_checksums(
    file: KeptFile,
) -> None:
    data = kept_file.write(file)
    assert with_checksums(data) == data
    damaged = data[:6] + bytes([data[6] ^ 1]) + data[7:-1] + bytes([data[-1] ^ 1])
    assert read(with_checksums(damaged)).width != file.width


def test_a_damaged_section_is_named() -> None:
    data = bytearray(kept_file.write(EXAMPLE))
    data[-5] ^= 1  # the last payload's last byte
    with pytest.raises(ChecksumMismatch, match="payload 2"):
        read(bytes(data))


@pytest.mark.parametrize("coding", [Coding.WHOLE, Coding.STATIC])
def test_what_is_unpacked_is_bounded_before_it_is_unpacked(
    coding: Coding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame of eight million zeros, as the file or as its recipe."""
    bomb = zstd_frames.pack(bytes(1 << 23))
    identity = b"" if coding == Coding.WHOLE else load().identity
    file = replace(EXAMPLE, coding=coding, identity=identity, recipe=bomb, payloads=[bomb])
    data = kept_file.write(file)
    head = directory.read_directory(data).kept
    assert head is not None

    def fail(*arguments: object, **named: object) -> bytes:
        pytest.fail("unpacked")

    monkeypatch.setattr(zstd_frames, "unpack", fail)
    for effort, limits in (
        (Effort(), {"max_pixels": 2000}),
        (Effort(), {"max_work": 1000}),
        (Effort(memory=55 << 20), {}),
    ):
        with pytest.raises(BeyondLimit):
            jpeg_decoder.restore(head, data, (), effort, **limits)


def test_the_work_of_a_jpeg_file_is_known_from_its_recipe() -> None:
    small, large = (
        file_info.inspect_bytes(jpeg_encoder.encode(jpeg_bytes(1, size), level=1).data).work
        for size in ((64, 48), (640, 480))
    )
    assert small is not None
    assert large is not None
    assert 20 * small < large


def bomb(length: int) -> bytes:
    """A zstd frame of so many zeros, made piece by piece."""
    packer = zstandard.ZstdCompressor(1).compressobj(size=length)
    piece = bytes(1 << 20)
    return b"".join(packer.compress(piece) for _ in range(length >> 20)) + packer.flush()


def claiming(width: int, height: int) -> bytes:
    """A packed recipe of a file of 2^30 bytes and so many pixels, all in one scan."""
    sound = jpeg_bytes(1, mode="L")
    recipe = jpeg.read(sound).recipe
    at = recipe.markers.index(b"\xff\xc0") + 5
    size = struct.pack(">HH", height, width)
    markers = recipe.markers[:at] + size + recipe.markers[at + 4 :]
    return zstd_frames.pack(replace(recipe, size=1 << 30, markers=markers).pack())


def hostile(name: str) -> KeptFile:
    """A kept file of a few kB that claims much."""
    static = replace(EXAMPLE, coding=Coding.STATIC, identity=load().identity, payloads=[b""])
    if name == "a whole file of 2^30 bytes":
        whole = replace(EXAMPLE, coding=Coding.WHOLE, identity=b"", recipe=b"")
        return replace(whole, payloads=[bomb(1 << 30)])
    if name == "a recipe of 2^28 bytes":
        return replace(static, recipe=bomb(1 << 28))
    if name == "65535 x 65535 pixels":
        return replace(static, width=65535, height=65535, recipe=claiming(65535, 65535))
    if name == "65535 x 65535 pixels in the recipe alone":
        return replace(static, recipe=claiming(65535, 65535))
    if name == "8192 x 8192 pixels":
        return replace(static, width=8192, height=8192, recipe=claiming(8192, 8192))
    recipe = claiming(40, 32)
    return replace(static, width=40, height=32, recipe=recipe, payloads=[b""] * (1 << 16))


# What each option refuses, under 400 MiB of address space.
@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit of address space")
@pytest.mark.parametrize(
    ("name", "option", "code", "said"),
    [
        ("a whole file of 2^30 bytes", "--max-pixels=1000000", 1, "beyond the limit"),
        ("a whole file of 2^30 bytes", "--max-work=100000000000", 1, "max_work"),
        ("a whole file of 2^30 bytes", "--memory=300MiB", 1, "--memory"),
        ("a recipe of 2^28 bytes", "--max-pixels=1000000", 1, "beyond the limit"),
        ("a recipe of 2^28 bytes", "--max-work=10000000000", 1, "max_work"),
        ("a recipe of 2^28 bytes", "--memory=300MiB", 1, "--memory"),
        ("65535 x 65535 pixels", "-q", 1, "beyond the limit of 536870912"),
        ("65535 x 65535 pixels in the recipe alone", "-q", 1, "blocks"),
        ("8192 x 8192 pixels", "--max-pixels=1000000", 1, "beyond the limit of 1000000"),
        ("8192 x 8192 pixels", "--max-work=10000000000", 1, "max_work"),
        ("8192 x 8192 pixels", "--memory=150MiB", 1, "--memory"),
        ("65536 tiles", "-q", 4, "65536 tiles, not 1"),
    ],
)
def test_what_claims_much_is_refused_in_little_memory(
    name: str, option: str, code: int, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.jpg.ncmz"
    path.write_bytes(kept_file.write(hostile(name)))
    assert path.stat().st_size < 1 << 19
    program = [sys.executable, "-m", "ncml_cli.zip.ncmlzip", "test", "-T", "1", option, path]
    done = run_limited(program, 400)
    assert done.returncode == code, done.stderr
    assert said in done.stderr


def test_notes_are_bounded_by_work_and_memory_before_they_are_unpacked() -> None:
    recipe = jpeg.read(jpeg_bytes(1)).recipe
    notes = replace(recipe.scans[0], breaks=tuple(range(3000)))
    packed = zstd_frames.pack(replace(recipe, scans=(notes,)).pack())
    assert jpeg_decoder.unpack_recipe(packed).scans == (notes,)
    for limits in ({"max_work": 10**8}, {"most_memory": memory.PROCESS + (100 << 10)}):
        with pytest.raises(BeyondLimit, match="notes"):
            jpeg_decoder.unpack_recipe(packed, **limits)


def test_more_notes_than_can_be_unpacked_are_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = jpeg_bytes(1)
    monkeypatch.setattr(recipe_module, "NOTES_BYTES_MAX", 3)
    made = jpeg_encoder.encode(data, level=1)
    assert "notes of its scans" in made.kept_whole
    jpeg_encoder.verify(made)


def test_larger_files_than_can_be_restored_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = jpeg_bytes(1)
    with pytest.raises(BeyondLimit, match="pixels"):
        jpeg_encoder.encode(data + bytes(5 << 20), max_pixels=2000)
    monkeypatch.setattr(jpeg_encoder, "MAX_RECIPE_BYTES", 99)
    assert "beside its coefficients" in jpeg_encoder.encode(data).kept_whole
    monkeypatch.setattr(jpeg_encoder, "MAX_FILE_BYTES", len(data) - 1)
    with pytest.raises(BeyondLimit, match="bytes, more than"):
        jpeg_encoder.encode(data)


@pytest.mark.parametrize("size", [(64, 48), (2000, 1100)])
def test_memory_that_lacks_for_coefficients_is_named_before_they_are_read(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = jpeg_bytes(1, size)
    need = memory.of_jpeg(jpeg.read(data).layout, len(data), 1)
    most = max(need, memory.PROCESS + memory.of_packing(len(data)))
    assert not jpeg_encoder.encode(data, level=1, effort=Effort(threads=4, memory=most)).kept_whole
    with pytest.raises(BeyondLimit, match="--memory"):
        jpeg_encoder.encode(data, level=1, effort=Effort(memory=most - 1))
    coded = jpeg_encoder.encode(data, level=1).data
    head = directory.read_directory(coded).kept
    assert head is not None
    assert jpeg_decoder.restore(head, coded, effort=Effort(threads=4, memory=need)) == data
    with pytest.raises(BeyondLimit, match="--memory"):
        jpeg_decoder.restore(head, coded, effort=Effort(memory=need - 1))

"""Damaged files: what is sound comes back exactly, what is lost is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec import engines
from ncml_codec.decode import salvage
from ncml_codec.decode.effort import Effort
from ncml_codec.decode.tile_decoder import LOST
from ncml_codec.encode import tile_encoder
from ncml_codec.errors import ChecksumMismatch, FormatError, UnknownModel
from ncml_codec.format import directory
from ncml_codec.format.container import Section
from ncml_codec.network.model_file import Model, read_model
from ncml_codec.picture.image_files import Picture
from tests.builders.commands import decompress, ncmlzip, pixels
from tests.builders.photographs import layout_of, photograph, tiles_of
from tests.builders.pictures import GOLDEN, Samples, valley

TINY = read_model((GOLDEN / "tiny.ncpn").read_bytes())
SAMPLES = valley(150, 60, 70, 90)
CHUNKS = [(b"tEXt", b"a\0b"), (b"IDAT", b"")]
FILE = tile_encoder.encode(
    Picture(SAMPLES, CHUNKS), TINY, Effort("numpy"), 5, 1
)  # 3 x 3 tiles of 32
SECTIONS, _ = directory.read_directory(FILE).sections[Section.METADATA]  # where they begin
TILES = layout_of(FILE).tiles()


def salvaged(data: bytes, model: Model = TINY) -> tuple[Samples, list[salvage.Loss], list[object]]:
    found = salvage.open_file(data, [model], Effort("auto"))
    samples = np.concatenate([band.copy() for band in found.opened.bands])
    return samples, found.losses, list(found.opened.chunks)


def check(data: bytes) -> list[salvage.Loss]:
    """Every pixel is the original's or lost and grey; the losses."""
    samples, losses, chunks = salvaged(data)
    expected = SAMPLES.copy()
    for loss in losses:
        if loss.place:
            top, left, height, width = loss.place
            expected[top : top + height, left : left + width] = LOST
    assert np.array_equal(samples, expected)
    assert chunks == CHUNKS or any("metadata" in str(loss) for loss in losses)
    return losses


def test_a_sound_file_loses_nothing() -> None:
    assert check(FILE) == []


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_damage_after_the_header_costs_what_it_hits(data: st.DataObject) -> None:
    damaged = bytearray(FILE)
    for _ in range(data.draw(st.integers(1, 3))):
        bit = data.draw(st.integers(8 * SECTIONS, 8 * len(FILE) - 1))
        damaged[bit // 8] ^= 1 << bit % 8
    if damaged == FILE:
        return
    assert 1 <= len(check(bytes(damaged))) <= 3


def test_a_file_that_was_cut_short_keeps_its_first_tiles() -> None:
    losses = check(FILE[: len(FILE) // 2])
    numbers = [TILES.index(loss.place) for loss in losses if loss.place]
    assert 1 < len(numbers) < 9
    assert numbers == list(range(numbers[0], 9))
    assert "cut short" in str(losses[0])


def test_all_may_be_lost_but_the_header() -> None:
    losses = check(FILE[:SECTIONS])
    assert len(losses) == 10
    assert losses[0].place == TILES[0]
    assert losses[-1].place is None  # the metadata


def test_what_follows_the_end_is_named() -> None:
    (loss,) = check(FILE + b"more")
    assert "4 bytes follow" in str(loss)


def test_wrong_samples_are_lost_although_their_payload_is_sound() -> None:
    tiles = tiles_of(FILE)
    tiles[4] = replace(tiles[4], samples_crc=tiles[4].samples_crc ^ 1)
    (loss,) = check(photograph(layout_of(FILE), tiles, directory.read(FILE).metadata))
    assert isinstance(loss.error, ChecksumMismatch)
    assert str(loss).startswith("tile 4: ")
    assert str(loss).endswith("(rows 32 to 63, columns 32 to 63 are lost)")


def test_a_damaged_header_is_refused() -> None:
    with pytest.raises(FormatError, match="header"):
        salvaged(FILE[:20] + bytes([FILE[20] ^ 1]) + FILE[21:])


def test_a_missing_model_is_no_damage(wild: Model) -> None:
    with pytest.raises(UnknownModel):
        salvaged(FILE, wild)


def test_a_summary_of_many_losses_is_short() -> None:
    losses = [salvage.Loss(FormatError(f"tile {n}: x"), (0, 0, 1, 1)) for n in range(1000)]
    assert len(salvage.summary(losses)) < 2000
    assert salvage.summary(losses).endswith("; and 980 more")


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png.ncmz"
    data = bytearray(FILE)
    data[-40] ^= 1
    data[SECTIONS + 40] ^= 1
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("engine", ["auto", "numpy"])
def test_decompress_keeps_going_only_if_asked(damaged: Path, engine: str) -> None:
    if engine == "auto" and engines.why_not_native():
        pytest.skip("the same as numpy")
    target = damaged.with_suffix("")
    refused = decompress("--rm", "--engine", engine, damaged)
    assert refused.exit_code == 4
    assert not target.exists()
    result = decompress("--rm", "--keep-going", "--engine", engine, damaged)
    assert result.exit_code == 4
    assert "rows 64 to 69, columns 64 to 89 are lost" in result.stderr
    assert damaged.exists()
    found = pixels(target)
    assert (found[64:, 64:] == LOST).all()
    assert np.array_equal(found[:64, 32:], SAMPLES[:64, 32:])


def test_test_names_every_damaged_tile(damaged: Path) -> None:
    result = ncmlzip("test", "-m", GOLDEN / "tiny.ncpn", damaged)
    assert result.exit_code == 4
    assert "tile 8" in result.stderr
    assert result.stderr.count("are lost") >= 1


def test_keep_going_on_a_sound_file_changes_nothing(tmp_path: Path) -> None:
    sound = tmp_path / "photo.png.ncmz"
    sound.write_bytes(FILE)
    result = decompress("--keep-going", "--rm", sound)
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(pixels(tmp_path / "photo.png"), SAMPLES)
    assert not sound.exists()

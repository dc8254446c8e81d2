"""The plain decoder gives JPEG files back, as FORMAT.md says and the program keeps them."""

from __future__ import annotations

import io
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ncml_codec import jpeg
from ncml_codec.coefficients.model_file import Model, read_model, write_model
from ncml_codec.errors import FormatError, UnreadableJpeg
from ncml_codec.format.kept_file import Coding
from tests.builders.coefficient_networks import jpeg_bytes, random_network
from tests.builders.jpeg_files import drawn_jpeg
from tests.builders.kept_jpegs import kept_jpeg
from tests.builders.pictures import GOLDEN
from tests.plain_decoder import decoder as plain_decoder
from tests.plain_decoder.jpeg_model import read_model as read_plain_model
from tests.plain_decoder.jpeg_writer import read_markers, read_recipe, write_file
from tests.plain_decoder.reading import Refused

GOLDEN_MODEL = (GOLDEN / "coefficients.ncjp").read_bytes()


def random_model(seed: int) -> tuple[bytes, Model]:
    data = write_model(random_network(seed, 5, 2))
    return data, read_model(data)


@pytest.mark.parametrize("coding", list(Coding))
@pytest.mark.parametrize(
    ("size", "sampling", "mode"),
    [
        ((8, 8), 0, "L"),
        ((40, 24), 2, "RGB"),
        ((40, 24), 0, "RGB"),
        ((19, 11), 1, "RGB"),
        ((16, 24), 0, "CMYK"),
    ],
)
def test_the_plain_decoder_restores_files_of_random_networks(
    size: tuple[int, int], sampling: int, mode: str, coding: Coding
) -> None:
    file, model = random_model(size[0])
    data = jpeg_bytes(3, size, 85, sampling, mode)
    assert plain_decoder.restore(kept_jpeg(data, model, coding), [file]) == data


@pytest.mark.parametrize("kind", ["progressive", "restarts", "trailing", "cut"])
def test_the_plain_decoder_restores_other_files(kind: str) -> None:
    file, model = random_model(8)
    data = jpeg_bytes(4, (40, 24))
    if kind == "trailing":
        data += b"what follows\xff\xd9"
    elif kind == "cut":
        data = data[:-60]
    else:
        stream = io.BytesIO()
        options = {"progressive": True} if kind == "progressive" else {"restart_marker_rows": 1}
        Image.open(io.BytesIO(data)).save(stream, "JPEG", **options)
        data = stream.getvalue()
    assert plain_decoder.restore(kept_jpeg(data, model), [file]) == data


@given(st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_the_plain_writer_writes_any_file_again(chance: random.Random) -> None:
    data = drawn_jpeg(chance).data
    try:
        found = jpeg.read(data)
    except UnreadableJpeg:
        return
    recipe = read_recipe(found.recipe.pack())
    layout = read_markers(recipe)
    sizes = [(len(blocks), len(blocks[0])) for blocks in found.coefficients]
    rows, columns = layout.all_units
    assert sizes == [(rows * v, columns * h) for v, h in layout.all_factors]
    steps = [layout.steps.get(index, [1] * 64) for index in range(len(sizes))]
    assert np.array_equal(steps, found.layout.quantisation)
    assert write_file(recipe, layout, [blocks.tolist() for blocks in found.coefficients]) == data


def test_a_second_scan_of_the_same_coefficients_is_refused() -> None:
    recipe = jpeg.read(jpeg_bytes(6, (8, 8), mode="L")).recipe
    at = recipe.markers.index(b"\xff\xda")
    twice = recipe.markers[:-2] + recipe.markers[at:]
    forged = replace(recipe, markers=twice, scans=2 * recipe.scans)
    assert len(read_markers(read_recipe(recipe.pack())).scans) == 1
    with pytest.raises(FormatError):
        jpeg.layout(forged)
    with pytest.raises(Refused, match="coefficient 0"):
        read_markers(read_recipe(forged.pack()))


def test_the_plain_decoder_refuses_every_flipped_byte() -> None:
    data = (GOLDEN / "jpeg" / "one_block.ncmz").read_bytes()
    for at in range(len(data)):
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(Refused):
            plain_decoder.restore(damaged, [GOLDEN_MODEL])


def test_the_plain_decoder_refuses_every_truncation_and_what_follows() -> None:
    data = (GOLDEN / "jpeg" / "one_block.ncmz").read_bytes()
    for damaged in [*(data[:length] for length in range(len(data))), data + b"\0"]:
        with pytest.raises(Refused):
            plain_decoder.restore(damaged, [GOLDEN_MODEL])


def test_the_plain_decoder_refuses_another_model() -> None:
    file, _ = random_model(1)
    with pytest.raises(Refused, match="model"):
        plain_decoder.restore((GOLDEN / "jpeg" / "one_block.ncmz").read_bytes(), [file])
    with pytest.raises(Refused):
        read_plain_model(file[:-1])

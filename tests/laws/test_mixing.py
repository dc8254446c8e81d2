"""The mixing coder: any image comes back, engines agree to the bit, and damage does no harm.

tests/golden/mixing.json holds payloads that must decode and the sizes of others. After a change
that is meant: python -m tests.laws.test_mixing
"""

from __future__ import annotations

import contextlib
import json
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imagecodecs import png_decode

from ncml_codec import context_mixing, engines
from ncml_codec.context_mixing.contexts import TAPS, places
from ncml_codec.context_mixing.logits import (
    distribution_table,
    distribution_values,
    squash_table,
    squash_values,
    stretch_table,
    stretch_values,
)
from ncml_codec.context_mixing.passes import code
from ncml_codec.context_mixing.walk import Plan
from ncml_codec.entropy.coder import Encoder
from ncml_codec.errors import FormatError, UsageError
from ncml_codec.network.wave_order import lag
from tests.builders.pictures import GOLDEN, Samples, real_images, valley
from tests.plain_decoder import mixing as plain_mixing

KEPT = GOLDEN / "mixing.json"


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Samples, bool]:
    """Byte planes of any small shape and content, and whether they are halves of 16-bit samples."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    wide = draw(st.booleans())
    count = draw(st.sampled_from([2, 4, 6, 8] if wide else [1, 2, 3, 4, 5, 8]))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = draw(st.sampled_from([1, 2, 5, 256]))
    palette = random.integers(0, 256, (levels, count), np.uint8)
    if draw(st.booleans()):
        return palette[random.integers(0, levels, (height, width))], wide
    return random.integers(0, levels, (height, width, count)).astype(np.uint8), wide


def plan_of(planes: Samples, wide: bool, candidates: bool, fitted: bool) -> Plan:
    """A plan whatever the encoder would choose."""
    chosen = context_mixing.chosen(context_mixing.components(planes, wide), *planes.shape[:2])
    return replace(chosen, candidates=candidates, fitted=fitted)


def payload_of(planes: Samples, wide: bool, plan: Plan, engine: str) -> bytes:
    encoder = Encoder()
    code(plan, context_mixing.components(planes, wide), encoder, engine)
    return context_mixing.header(plan, wide) + encoder.finish()


def made() -> dict[str, tuple[Samples, bool]]:
    """What is unlike photographs, and parts of one: byte planes, and whether they are halves."""
    rows, columns = np.mgrid[0:40, 0:56]
    text = np.full((40, 56, 4), 250, np.uint8)
    text[6:34:7, 3:52:3] = text[8:36:7, 3:52:5] = (20, 30, 60, 255)
    ramp = (rows * 700 + columns * 311 + rows * columns % 7).astype(np.uint16)
    glyphs = ((rows % 9 * 5 + columns % 8 * 3) % 11 < 4).astype(np.uint8)
    noise = np.random.default_rng(3).integers(0, 256, (20, 20, 2), np.uint8)
    return {
        "text": (text, False),
        "ramp": (np.stack([ramp >> 8, ramp & 255], axis=2).astype(np.uint8), True),
        "bilevel": (glyphs[:, :, None], False),
        "indices": (valley(60, 120, 40, 56)[:, :, :1] // 16, False),
        "valley": (valley(60, 120, 40, 56), False),
        "noise": (noise, False),
        "flat": (np.full((300, 400, 3), 77, np.uint8), False),
    }


@given(pictures())
@settings(deadline=None, max_examples=60)
def test_any_picture_comes_back(picture: tuple[Samples, bool]) -> None:
    planes, wide = picture
    data = context_mixing.encode(planes, wide)
    assert np.array_equal(context_mixing.decode(data, planes.shape), planes)


def agree(planes: Samples, wide: bool, plan: Plan) -> bytes:
    """The payload, after both engines and the plain decoder gave and read the same."""
    data = payload_of(planes, wide, plan, "numpy")
    assert np.array_equal(context_mixing.decode(data, planes.shape, "numpy"), planes)
    if not engines.why_not_native():
        assert payload_of(planes, wide, plan, "native") == data
        assert np.array_equal(context_mixing.decode(data, planes.shape, "native"), planes)
    return data


@given(pictures(), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=25)
def test_native_numpy_and_the_plain_decoder_agree(
    picture: tuple[Samples, bool], candidates: bool, fitted: bool
) -> None:
    planes, wide = picture
    data = agree(planes, wide, plan_of(planes, wide, candidates, fitted))
    assert np.array_equal(plain_mixing.decode(data, *planes.shape), planes)


@pytest.mark.parametrize(
    ("fitted", "candidates"),
    [
        (False, False),
        (True, True),
        pytest.param(False, True, marks=pytest.mark.slow),
        pytest.param(True, False, marks=pytest.mark.slow),
    ],
)
def test_native_and_numpy_agree_where_they_have_learnt(candidates: bool, fitted: bool) -> None:
    """Enough pixels for running means, saturated histories and halved sums of errors."""
    for planes, wide in (made()["text"], made()["ramp"], made()["valley"]):
        agree(planes[:24, :32], wide, plan_of(planes[:24, :32], wide, candidates, fitted))


def test_the_plain_decoder_reads_what_has_learnt() -> None:
    for name in ("text", "ramp", "valley"):
        planes, wide = made()[name]
        planes = planes[:16, :20]
        data = context_mixing.encode(planes, wide)
        assert np.array_equal(plain_mixing.decode(data, *planes.shape), planes), name


def test_native_and_numpy_agree_on_real_images() -> None:
    """Crops of a screenshot, pixel art and a 16-bit photograph, where the data is."""
    crops = {"screenshot-source_images_github": 40, "pixelart-core_src": 48, "libjxl-Nikon-D3": 16}
    for start, side in crops.items():
        for path in [path for path in real_images("odd") if path.name.startswith(start)][:1]:
            image = png_decode(path.read_bytes())[100 : 100 + side, :side]
            if not image.size:
                image = png_decode(path.read_bytes())[:side, :side]
            wide = image.dtype == np.uint16
            if wide:
                image = np.concatenate([image >> 8, image & 255], axis=2)
            planes = image.astype(np.uint8)
            agree(
                planes,
                wide,
                context_mixing.chosen(context_mixing.components(planes, wide), *planes.shape[:2]),
            )


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 30), (30, 2)])
def test_narrow_pictures_come_back(shape: tuple[int, int]) -> None:
    planes = valley(200, 100, *shape)
    assert np.array_equal(
        context_mixing.decode(context_mixing.encode(planes), planes.shape), planes
    )


@given(pictures(), st.data())
@settings(deadline=None, max_examples=60)
def test_damage_is_refused_or_gives_some_picture(
    picture: tuple[Samples, bool], data: st.DataObject
) -> None:
    planes, wide = picture
    damaged = bytearray(context_mixing.encode(planes, wide))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    for payload in (bytes(damaged), bytes(damaged[:cut])):
        try:
            found = context_mixing.decode(payload, planes.shape)
        except FormatError:
            continue
        assert found.shape == planes.shape


@given(st.binary(max_size=60), st.integers(1, 6), st.integers(1, 6), st.integers(1, 8))
@settings(deadline=None, max_examples=100)
def test_any_bytes_are_refused_or_give_some_picture(
    payload: bytes, height: int, width: int, count: int
) -> None:
    with contextlib.suppress(FormatError):
        assert context_mixing.decode(payload, (height, width, count)).shape == (
            height,
            width,
            count,
        )


def test_sizes_that_cannot_be_are_refused_before_anything_is_allocated() -> None:
    for shape in [(0, 5, 1), (2**20, 2**20, 1), (4, 4, 9)]:
        with pytest.raises(FormatError, match="mixing payload"):
            context_mixing.decode(b"\0\1\1\1\1\1\1\1\1\1", shape)
    with pytest.raises(FormatError, match="high bytes"):
        context_mixing.decode(b"\1\1\1\1", (4, 4, 3))
    with pytest.raises(UsageError, match="9 planes"):
        context_mixing.encode(np.zeros((4, 4, 9), np.uint8))


def test_neighbours_are_of_earlier_waves() -> None:
    for tap in TAPS.values():
        assert lag(tap) > 0
    for height, width in ((1, 1), (1, 6), (6, 1), (5, 2), (7, 9)):
        for row in range(height):
            for column in range(width):
                found = places(np.array([row]), np.array([column]), height, width)[:, 0]
                for place in found:
                    if place == height * width:
                        assert row == 0
                        continue
                    i, j = divmod(int(place), width)
                    assert j + 2 * i < column + 2 * row


def test_tables_do_not_depend_on_the_mathematical_library() -> None:
    """No value is so near to a tie that an error of a few units in its last place could matter."""
    for values in (stretch_values(), squash_values(), distribution_values()):
        ties = np.abs(values - np.floor(values) - 0.5)
        assert ties.min() > 1000 * np.abs(values).max() * 2.0**-52


def test_pictures_are_coded_as_what_they_are() -> None:
    """Whole pixels are guessed where they repeat, and never of one component."""
    guessed = {}
    for name, (planes, wide) in made().items():
        plan = context_mixing.chosen(context_mixing.components(planes, wide), *planes.shape[:2])
        guessed[name] = plan.candidates
    assert guessed == {
        "text": True,
        "ramp": False,
        "bilevel": False,
        "indices": False,
        "valley": False,
        "noise": False,
        "flat": True,
    }


def test_tables_are_those_of_the_page() -> None:
    """The CRC-32 in FORMAT.md, section 12."""
    tables = (stretch_table(), squash_table(), distribution_table())
    found = [zlib.crc32(table.astype("<i4").tobytes()) for table in tables]
    assert found == [0x18A81D31, 0x9B572ACC, 0x85740D92]


def test_kept_payloads_decode_and_sizes_are_those_that_are_kept() -> None:
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    for name, payload in kept["payloads"].items():
        planes, wide = made()[name]
        assert context_mixing.encode(planes, wide).hex() == payload, name
        assert np.array_equal(
            context_mixing.decode(bytes.fromhex(payload), planes.shape), planes
        ), name
    assert sizes() == kept["sizes"], "if that is meant: python -m tests.laws.test_mixing"


def sizes() -> dict[str, int]:
    return {
        name: len(context_mixing.encode(planes, wide)) for name, (planes, wide) in made().items()
    }


def keep() -> None:
    small = {
        name: context_mixing.encode(*made()[name]).hex() for name in ("text", "ramp", "bilevel")
    }
    text = json.dumps({"sizes": sizes(), "payloads": small}, indent=1)
    KEPT.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    keep()

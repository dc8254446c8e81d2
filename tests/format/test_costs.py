"""The work of a file by its header: bounded for every file, no limit for what encoders write."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ncml_codec
from ncml_codec.decode import costs, file_info, image_decoder, layers, salvage
from ncml_codec.decode.effort import TILE_EXPONENT
from ncml_codec.encode import levels, tile_encoder
from ncml_codec.errors import BeyondLimit, FormatError
from ncml_codec.format.container import Method
from ncml_codec.format.tiles import Tile, TileLayout
from ncml_codec.network import released_models
from ncml_codec.network.adaptation import STATIC, Adaptation, heads_learn, network_learns
from ncml_codec.network.integer_network import Network
from ncml_codec.network.model_file import read_model, write_model
from ncml_codec.picture.picture import from_array
from tests.builders.commands import ncmlzip
from tests.builders.limited import run_limited
from tests.builders.photographs import photograph, tiles_of
from tests.builders.pictures import GOLDEN
from tests.plain_decoder.decoder import decode as plain_decode
from tests.plain_decoder.reading import Refused

TINY = read_model((GOLDEN / "tiny.ncpn").read_bytes())
HEADS, WHOLE = heads_learn(3), network_learns(3)
SIDES = st.one_of(st.integers(1, 70), st.integers(1, 5000), st.integers(1, (1 << 24) - 1))
LAYOUTS = st.builds(
    TileLayout,
    width=SIDES,
    height=SIDES,
    planes=st.sampled_from([1, 3]),
    identity=st.just(TINY.identity),
    tile_exponent=st.integers(5, 14),
    turn=st.integers(0, 7),
)
EACH_ITS_OWN = None
ADAPTATIONS = st.sampled_from(
    [STATIC, HEADS, WHOLE, HEADS.with_colours(2), WHOLE.with_colours(2), EACH_ITS_OWN]
)
NETWORKS = [
    TINY.network,
    *(released_models.load(name).network for name in ("fast", "photo", "max")),
]


def blank(
    width: int, height: int, adaptation: Adaptation, exponent: int = 11, planes: int = 3
) -> bytes:
    """A file whose payloads are empty, as large as its header alone."""
    layout = TileLayout(width, height, planes, TINY.identity, exponent)
    return photograph(layout, [Tile(b"", 0, adaptation)] * layout.tile_count())


@given(LAYOUTS)
def test_the_shapes_of_tiles_are_those_of_the_tiles(layout: TileLayout) -> None:
    layout = dataclasses.replace(
        layout, width=layout.width % 999 + 1, height=layout.height % 99 + 1
    )
    turned = layout.turn >= 4
    counted = {(a, b): count for a, b, count in layout.tile_shapes()}
    listed = [(w, h) if turned else (h, w) for _, _, h, w in layout.tiles()]
    assert counted == {shape: listed.count(shape) for shape in listed}


@settings(max_examples=300)
@given(LAYOUTS, ADAPTATIONS, st.sampled_from(NETWORKS))
def test_what_may_adapt_takes_at_most_ten_times_the_work_of_a_square_image(
    layout: TileLayout, adaptation: Adaptation | None, network: Network
) -> None:
    if adaptation and adaptation.learns and not layout.may_adapt:
        return  # refused: see below
    # Colour tables are counted by tile: many small tiles with them are refused by `check` alone.
    if adaptation is not None:
        costs.of_network(layout, adaptation.learning, network).check(None)


@given(
    width=st.integers(1, 1 << 20),
    height=st.integers(1, 1 << 20),
    adaptation=ADAPTATIONS,
    network=st.sampled_from(NETWORKS),
    planes=st.sampled_from([1, 3]),
)
def test_what_an_encoder_may_write_passes_the_default_limit(
    width: int, height: int, adaptation: Adaptation | None, network: Network, planes: int
) -> None:
    layout = TileLayout(width, height, planes, TINY.identity, TILE_EXPONENT)
    if adaptation is not None and (not layout.may_adapt or planes == 1):
        adaptation = adaptation.learning if layout.may_adapt else STATIC
    costs.of_network(layout, adaptation, network).check(None)


@settings(max_examples=30)
@given(
    short=st.integers(1, 6),
    length=st.integers(1, 3000),
    is_wide=st.booleans(),
    level=st.integers(1, 9),
)
def test_what_an_encoder_writes_takes_at_most_half_the_default_limit(
    short: int, length: int, is_wide: bool, level: int
) -> None:
    """Thin images, which cost most a pixel; the encoder's choice alone, nothing is encoded."""
    shape = (short, length) if is_wide else (length, short)
    for planes in (1, 3):
        if layers.CODERS[Method.MIXING].takes((*shape, planes)):
            work = costs.of_mixing(*shape, planes)
            assert 2 * work.multiply_adds <= costs.TIMES_HONEST * work.honest
        for models, way in levels.of_level(level):
            for model in models:
                layout = TileLayout(shape[1], shape[0], planes, model.identity, TILE_EXPONENT)
                mode = 3 if planes == 3 else 0
                adaptations = [STATIC]
                if tile_encoder.may_adapt(layout, model, way.adaptations):
                    adaptations += [each.with_colours(mode) for each in way.adaptations]
                for adaptation in adaptations:
                    work = costs.of_network(layout, adaptation, model.network)
                    assert 2 * work.multiply_adds <= costs.TIMES_HONEST * work.honest


def test_context_mixing_does_not_code_long_strips_a_pixel_wide() -> None:
    mixing = layers.CODERS[Method.MIXING]
    for shape in ((1, 256, 8), (256, 256, 8)):
        assert mixing.takes(shape)
    # Encoders stay below half of what decoders allow by default.
    assert not mixing.takes((1, 4096, 8))
    costs.of_mixing(1, 4096, 8).check(None)
    for shape in ((1, 65536, 8), (65536, 1, 8), (1 << 20, 1, 1)):
        assert not mixing.takes(shape)
        with pytest.raises(BeyondLimit):
            costs.of_mixing(*shape).check(None)


@pytest.mark.parametrize("shape", [(4096, 1), (1, 4096), (2048, 2), (1 << 20, 1)])
@pytest.mark.parametrize("adaptation", [HEADS, WHOLE])
def test_learning_in_short_waves_is_refused(shape: tuple[int, int], adaptation: Adaptation) -> None:
    data = blank(*shape, adaptation)
    with pytest.raises(FormatError, match="its waves hold too few pixels"):
        image_decoder.open_file(data, [TINY])
    with pytest.raises(FormatError, match="its waves hold too few pixels"):
        salvage.open_file(data, [TINY])


def test_learning_in_short_waves_of_a_tile_is_refused() -> None:
    layout = TileLayout(4096, 1, 1, TINY.identity, 11)
    tiles = [Tile(b"", 0, STATIC), Tile(b"", 0, HEADS)]
    with pytest.raises(FormatError, match=r"tile 1: adaptation 3 .* too few pixels"):
        tiles_of(photograph(layout, tiles))


def test_the_plain_decoder_refuses_learning_in_short_waves() -> None:
    known = [write_model(TINY.network)]
    for data in (blank(4096, 1, WHOLE), blank(1, 1000, HEADS, planes=1)):
        with pytest.raises(Refused, match="short waves"):
            plain_decode(data, known)


@pytest.mark.parametrize("shape", [(1, 900), (900, 1), (3, 5000)])
@pytest.mark.parametrize("level", [5, 8])
def test_encoders_do_not_learn_in_short_waves(shape: tuple[int, int], level: int) -> None:
    samples = (np.arange(3 * shape[0] * shape[1]) % 251).astype(np.uint8).reshape(*shape, 3)
    data = tile_encoder.encode(from_array(samples), TINY, level=level)
    assert {tile.adaptation for tile in tiles_of(data)} == {STATIC}
    assert (image_decoder.decode(data, [TINY]).samples == samples).all()


def test_usual_photographs_may_learn() -> None:
    for width, height in [(768, 512), (512, 768), (2048, 2048), (6000, 4000), (2049, 2048), (8, 8)]:
        assert TileLayout(width, height, 3, b"", TILE_EXPONENT).may_adapt


def test_many_tables_of_colours_are_beyond_the_default_limit() -> None:
    data = blank(729, 1, STATIC.with_colours(3), exponent=5)
    with pytest.raises(BeyondLimit, match="max_work"):
        image_decoder.open_file(data, [TINY])


def test_the_limit_of_work_scales_with_the_model_that_is_given() -> None:
    layout = TileLayout(100, 80, 3, b"", 11)
    works = [costs.of_network(layout, WHOLE, network) for network in NETWORKS]
    assert sorted(works, key=lambda work: work.multiply_adds) == works
    assert sorted(works, key=lambda work: work.honest) == works


@pytest.mark.parametrize("depth", [8, 16])
def test_max_work_refuses_before_anything_is_decoded(depth: int) -> None:
    dtype = np.uint8 if depth == 8 else np.uint16
    samples = (np.arange(7 * 9 * 3) * 37 % 256).reshape(7, 9, 3).astype(dtype)
    data = ncml_codec.compress(samples, level=1)
    work = ncml_codec.inspect(data).work
    assert work is not None
    assert work > samples.size
    for region in (None, (0, 0, 2, 2)):
        assert ncml_codec.decompress(data, region=region, max_work=work).dtype == dtype
        with pytest.raises(BeyondLimit, match=rf"limit of {work - 1} \(max_work\)"):
            ncml_codec.decompress(data, region=region, max_work=work - 1)
    for limits in ({"max_work": work - 1}, {"max_pixels": 62}):
        with pytest.raises(BeyondLimit):
            list(ncml_codec.decompress_many([data], processes=1, **limits))
    with pytest.raises(BeyondLimit, match="max_pixels"):
        ncml_codec.inspect(data, max_pixels=62)


def test_work_is_unknown_without_the_model() -> None:
    data = tile_encoder.encode(from_array(np.zeros((3, 4), np.uint8)), TINY)
    assert file_info.inspect_bytes(data).work is None
    known = file_info.inspect_bytes(data, models=[TINY]).work
    assert known is not None
    assert known > 0


def test_more_tiles_than_65536_are_refused_before_they_are_listed() -> None:
    layout = TileLayout(1 << 21, 33, 1, TINY.identity, 5)
    head = photograph(layout, [])[:-4] + bytes(1 << 18)
    with pytest.raises(FormatError, match="131072 tiles"):
        tiles_of(head)


def test_info_says_the_work_and_the_tools_limit_it(tmp_path: Path) -> None:
    path = tmp_path / "a.png.ncmz"
    path.write_bytes(ncml_codec.compress(np.zeros((20, 30), np.uint8), level=1))
    told = json.loads(ncmlzip("info", "--json", path).stdout)[0]
    assert told["work"] == ncml_codec.inspect(path).work
    for command in ("info", "test", "decompress"):
        for limit in (f"--max-work={told['work'] - 1}", "--max-pixels=599"):
            refused = ncmlzip(command, limit, path)
            assert refused.exit_code == 1
            assert "beyond the limit" in refused.stderr
    assert ncmlzip("test", f"--max-work={told['work']}", path).exit_code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit of address space")
def test_info_on_as_many_tiles_as_there_may_be_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "tiles.ncmz"
    path.write_bytes(blank(1 << 21, 32, STATIC, exponent=5, planes=1))
    told = run_limited([sys.executable, "-m", "ncml_cli.zip.ncmlzip", "info", path], 400)
    assert "and 65526 more tiles" in told.stdout, told.stderr
    refused = run_limited(
        [sys.executable, "-m", "ncml_cli.zip.ncmlzip", "info", "--max-pixels=1000000", path], 300
    )
    assert refused.returncode == 1
    assert "beyond the limit of 1000000" in refused.stderr

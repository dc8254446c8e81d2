"""Many at once: the bytes of one by one, on every device, and where they learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ncml_codec import batches, codec, levels, library
from ncml_codec.batch_walks import Alike, encode_tiles
from ncml_codec.codec import walk_tile
from ncml_codec.coder import Meter
from ncml_codec.container import read_container, read_header
from ncml_codec.engines import torch_adaptation
from ncml_codec.engines.numpy_engine import NumpyEngine
from ncml_codec.engines.torch_colours import Stage
from ncml_codec.engines.torch_device import Replay
from ncml_codec.engines.torch_engine import TorchEngine, on_device
from ncml_codec.engines.torch_walk import BatchWalk
from ncml_codec.errors import FormatError, UsageError
from ncml_codec.model import Model, identified
from ncml_codec.network import Integers
from ncml_codec.pixels import Picture, decode_file, from_array
from ncml_codec.strength import BODY, STATIC, STRONGEST, colour_mode, is_known
from ncml_codec.tables import Weights
from ncml_codec.wave import wave_count, wave_pixels
from tests import replay
from tests.networks import random_network
from tests.pictures import GOLDEN, extremes, through_ycbcr, valley
from tests.test_strictness import Drawing

LEARNING = sorted(GOLDEN.glob("level5_*.ncmz"))


def check_all(
    pictures: list[Picture],
    model: Model,
    engine: TorchEngine,
    level: int = 1,
    exponent: int = 5,
    alone: str = "numpy",
) -> None:
    """That these pictures are coded together as each one `alone`, and decoded."""
    effort = codec.Effort(alone)
    single = [codec.encode(one, model, effort, exponent, level) for one in pictures]
    assert batches.encode(pictures, model, engine, exponent, level) == single
    found = batches.decode([read_container(data) for data in single], engine)
    for picture, samples in zip(pictures, found, strict=True):
        assert np.array_equal(samples, picture.samples)


def of_all_sizes() -> list[Picture]:
    """Some larger than a tile of 32, some as large as another, grey, thin, with metadata."""
    pictures = [from_array(valley(top, 40, 9, 36)) for top in (0, 90)]
    pictures += [from_array(valley(0, 0, 9, 32)), from_array(valley(0, 0, 33, 9)[:, :, :1])]
    pictures += [from_array(valley(0, 0, 7, 1)), from_array(valley(0, 0, 1, 7))]
    pictures.append(Picture(valley(9, 9, 1, 1), [(b"IDAT", b""), (b"tEXt", b"Title\0x")]))
    return pictures


@given(
    seed=st.integers(0, 2**31),
    width=st.integers(1, 9),
    blocks=st.integers(0, 3),
    hidden=st.integers(1, 7),
    k=st.integers(1, 6),
    size=st.tuples(st.integers(1, 10), st.integers(1, 10)),
    planes=st.sampled_from([1, 3]),
    count=st.integers(1, 4),
    level=st.sampled_from([1, 5, 5, 8]),
)
@settings(deadline=None, max_examples=25)
def test_a_batch_is_coded_as_its_images_alone(
    seed: int,
    width: int,
    blocks: int,
    hidden: int,
    k: int,
    size: tuple[int, int],
    planes: int,
    count: int,
    level: int,
) -> None:
    random = np.random.default_rng(seed)
    pictures = [
        from_array(random.integers(0, 256, (*size, planes), np.uint8)) for _ in range(count)
    ]
    model = identified(random_network(seed, width, blocks, hidden, k, room=2))
    check_all(pictures, model, on_device(model.network, "cpu"), level)


@pytest.mark.parametrize("level", [1, 5, 7])
def test_sizes_tiles_and_kinds_may_be_mixed(tiny: Model, level: int) -> None:
    """Tiles of one size are walked together, whichever pictures they are of."""
    check_all(of_all_sizes(), tiny, on_device(tiny.network, "cpu"), level, alone="auto")


def test_pictures_may_have_colours_or_none(tiny: Model) -> None:
    """Of one size: those on a lattice are tried in all modes, and apart from the others."""
    arrays = [valley(40, left, 48, 64) for left in (40, 104)]
    pictures = [from_array(array) for array in (arrays[0], *map(through_ycbcr, arrays))]
    files = batches.encode(pictures, tiny, on_device(tiny.network, "cpu"))
    assert files == [codec.encode(picture, tiny) for picture in pictures]
    modes = [colour_mode(read_container(data).tiles[0].adaptation) for data in files]
    assert [mode > 0 for mode in modes] == [False, True, True]


@pytest.mark.parametrize("strength", [STRONGEST, BODY + STRONGEST, 32 + STRONGEST])
def test_what_images_of_a_batch_learn_is_what_each_learns_alone(strength: int) -> None:
    """In double precision, after every wave, of pictures that have nothing in common. Counts alone
    do not show that a last bit differs."""
    height, width, network = 8, 11, random_network(3, 5, 1, 4, 2, room=2)
    pictures = [*extremes(height, width).values(), valley(40, 70, height, width)]
    alone = [NumpyEngine(network).walk(height, width, strength) for _ in pictures]
    walk = on_device(network, "cpu").walk_together(len(pictures), height, width, strength)
    samples = np.stack(pictures).reshape(len(pictures), height * width, 3)
    for wave in range(wave_count(height, width)):
        here = samples[:, wave_pixels(wave, height, width)].astype(np.int32)
        walk.known(wave, here)
        for image, one in enumerate(alone):
            one.begin(wave)
            for plane in range(3):
                one.high(plane)
                one.put(plane, here[image, :, plane])
                weights = one.adaptive[plane].out_weight.values
                learned = walk.learning[plane].out.values[image, :, :-1]
                assert np.array_equal(learned.numpy(), weights)
            if one.body is not None and walk.body is not None:
                stem = walk.body.stem.values[image, :, :-1]
                assert np.array_equal(stem.numpy(), one.body._first.weight.values)
            if one.colours is not None:
                for stage, own in zip(all_stages(walk), chain(*one.colours.stages), strict=True):
                    assert np.array_equal(stage.seen[image].numpy(), own.seen)
                    assert np.array_equal(stage.expected[image].numpy(), own.expected)
    assert (walk.learning[0].out.values[0] != walk.learning[0].out.values[1]).any()


@pytest.mark.parametrize(
    ("shape", "strength"),
    [
        (shape, strength)
        for shape in ((7, 11, 3), (7, 11, 1), (9, 1, 3))
        for strength in (STATIC, STRONGEST, BODY + STRONGEST, 16, 32 + BODY + STRONGEST, 48 + 3)
        if is_known(strength, shape[2])
    ],
)
def test_steps_that_are_recorded_give_the_same(
    shape: tuple[int, int, int], strength: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on CUDA: every wave in a frame as long as the longest, and from the third on a replay."""
    monkeypatch.setattr(torch_adaptation, "_square_root", replay.square_root)
    height, width, planes = shape
    network = random_network(3, 5, 1, 4, 2, room=2)
    recorded = []

    def record(work: Callable[[], Tensor | None]) -> tuple[Replay, Tensor | None]:
        recorded.append(work)
        return replay.record(work)

    pictures = [*extremes(height, width).values(), valley(40, 70, height, width)]
    if colour_mode(strength) == 3:
        pictures = pictures[::7]  # The cells of each take 55 MB, and so does a copy of them.
    samples = np.stack(pictures)[..., :planes].reshape(len(pictures), height * width, planes)
    plain, shown, decoding = (on_device(network, "cpu") for _ in range(3))
    shown.place.record = decoding.place.record = record
    walks = [
        engine.walk_together(len(pictures), height, width, strength)
        for engine in (plain, shown, decoding)
    ]
    for wave in range(wave_count(height, width)):
        if width == 1 and wave % 2:
            assert walks[2].begin(wave) == 0
            continue
        here = samples[:, wave_pixels(wave, height, width)].astype(np.int32)
        expected = walks[0].compared(wave, here)
        assert np.array_equal(walks[1].compared(wave, here), expected)
        assert np.array_equal(step_by_step(walks[2], wave, here), expected)
    assert np.array_equal(walks[1].static_bits, walks[0].static_bits)
    for heads in zip(*(walk.learning for walk in walks), strict=True):
        for name in ("trunk", "earlier", "out"):
            first, *others = (getattr(head, name) for head in heads)
            assert all(first is None or torch.equal(first.values, o.values) for o in others)
    if walks[0].colours is not None:
        for stages in zip(*(all_stages(walk) for walk in walks), strict=True):
            assert stages[0].seen.any()
            for other in stages[1:]:
                assert torch.equal(stages[0].seen, other.seen)
                assert torch.equal(stages[0].expected, other.expected)
    assert recorded


def all_stages(walk: BatchWalk) -> list[Stage]:
    assert walk.colours is not None
    return [*chain(*walk.colours.stages)]


def step_by_step(walk: BatchWalk, wave: int, values: Integers) -> Weights:
    """What `known` gives, as a decoder asks for it."""
    walk.begin(wave)
    parts = []
    for plane in range(values.shape[2]):
        here = np.ascontiguousarray(values[:, :, plane])
        parts += [walk.high(plane), walk.low(plane, here >> 4)]
        walk.put(plane, here)
    for plane in range(values.shape[2], 3):
        walk.put(plane, here)
    return np.concatenate(parts, axis=1)


def test_what_cannot_be_recorded_is_refused() -> None:
    """So that the law above means something."""
    ones = torch.ones(3)
    for work in (
        lambda: ones * float(ones[0]),
        lambda: ones + torch.tensor([1.0, 2.0, 3.0]),
        lambda: ones[ones > 0],
    ):
        with torch.inference_mode(), pytest.raises(AssertionError, match="cannot be recorded"):
            replay.record(work)


@pytest.mark.parametrize("name", ["tiny", "photo"])
def test_golden_files_whose_heads_learn_are_coded_together(
    name: str, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue("tiny") if name == "tiny" else library.load("photo")
    engine = on_device(model.network, "cpu")
    files = {path: path.read_bytes() for path in LEARNING}
    mine = [path for path in LEARNING if read_header(files[path]).identity == model.identity]
    decoded = batches.decode([read_container(files[path]) for path in mine], engine)
    for path, samples in zip(mine, decoded, strict=True):
        picture = decode_file(path.with_suffix(".png").read_bytes(), path.name)
        assert np.array_equal(samples, picture.samples)
        header = read_header(files[path])
        again = batches.encode(
            [picture], model, engine, header.tile_exponent, 5, turns=[header.turn]
        )
        assert again == [files[path]]


def test_a_tile_that_learns_is_never_larger_than_static(tiny: Model) -> None:
    """What the network drew itself has nothing to teach; the tile beside it still learns."""
    own = walk_tile(NumpyEngine(tiny.network), (24, 30, 3), None, Drawing(2))
    samples = np.stack([valley(60, 100, 24, 30), own])
    engine = on_device(tiny.network, "cpu")
    static = encode_tiles(engine, samples, (STATIC,), lambda pixels: None)
    for strengths in ((3,), (2, 3, 4), (BODY + 3,)):
        tried = levels.candidates(strengths, (0,))
        found = encode_tiles(engine, samples, tried, lambda pixels: None)
        assert found[0][0] != STATIC
        assert found[1] == static[1]
        assert len(found[0][1]) < len(static[0][1])


def test_progress_is_told_of_every_pixel_once(tiny: Model) -> None:
    samples = np.stack([valley(top, 90, 5, 6) for top in (0, 99)])
    for strengths in ((STATIC,), (3,), (2, 3, 4)):
        told: list[int] = []
        encode_tiles(on_device(tiny.network, "cpu"), samples, strengths, told.append)
        assert sum(told) == 2 * 5 * 6


@pytest.mark.parametrize("planes", [1, 3])
def test_what_static_takes_is_counted_along(planes: int) -> None:
    height, width = 9, 12
    network = random_network(8, 6, 1, 5, 3, room=2)
    pictures = [valley(top, 50, height, width)[:, :, :planes] for top in (0, 120)]
    pictures += [one[:, :, :planes] for one in extremes(height, width).values()]
    walk = on_device(network, "cpu").walk_together(len(pictures), height, width, 6)
    samples = np.stack(pictures).reshape(len(pictures), height * width, planes)
    for wave in range(wave_count(height, width)):
        here = samples[:, wave_pixels(wave, height, width)].astype(np.int32)
        walk.compared(wave, here)
    for picture, bits in zip(pictures, walk.static_bits, strict=True):
        meter = Meter()
        walk_tile(NumpyEngine(network), picture.shape, picture, meter)
        assert bits == pytest.approx(meter.bits, rel=1e-12)


@pytest.mark.parametrize("level", [1, 5, 8])
def test_damage_of_one_file_leaves_the_others(tiny: Model, level: int) -> None:
    pictures = [from_array(valley(top, 40, 12, 14)) for top in (0, 50, 90)]
    files = [read_container(codec.encode(picture, tiny, level=level)) for picture in pictures]
    tile = files[1].tiles[0]
    payload = bytearray(tile.payload)
    payload[5] ^= 255
    files[1] = replace(files[1], tiles=[replace(tile, payload=bytes(payload))])
    found = batches.decode(files, on_device(tiny.network, "cpu"))
    assert isinstance(found[1], FormatError)
    for index in (0, 2):
        assert np.array_equal(found[index], pictures[index].samples)


def test_groups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By pixels, and by the parameters of which every image has its own."""
    network = random_network(1)
    heads = sum(layer.weight.size for head in network.heads for layer in (head.trunk, head.out))
    heads += sum(head.earlier.weight.size for head in network.heads if head.earlier is not None)
    monkeypatch.setattr(batches, "TOGETHER", 2 * (12 + heads))
    tile = Alike(3, 4, 3, STATIC)
    alike = [tile, replace(tile, planes=1), *[tile] * 40, replace(tile, height=999)]
    assert sorted(map(len, batches._groups(alike, network))) == [1, 1, 41]
    learning = [replace(one, strength=3) for one in alike[:5]]
    assert list(batches._groups(learning, network)) == [[0, 2], [3, 4], [1]]
    whole = [replace(one, strength=BODY + 3) for one in alike[:4]]
    assert list(batches._groups(whole, network)) == [[0], [2], [3], [1]]
    pairs = [replace(one, strength=32) for one in alike[2:7]]
    cells = 256 * 256 + 511 * 511
    monkeypatch.setattr(batches, "TOGETHER", 3 * (12 + cells // batches.CELLS))
    assert list(batches._groups(pairs, network)) == [[0, 1, 2], [3, 4]]
    monkeypatch.setattr(batches, "TOGETHER", 3 * (12 + cells // batches.CELLS + heads))
    learning = [replace(one, strength=32 + 3) for one in pairs]
    assert list(batches._groups(learning, network)) == [[0, 1, 2], [3, 4]]


def test_unknown_devices_are_refused(tiny: Model) -> None:
    with pytest.raises(UsageError, match="abacus"):
        on_device(tiny.network, "abacus")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
@pytest.mark.parametrize("level", [1, 5, 8])
def test_cuda_writes_the_same_bytes(tiny: Model, wild: Model, level: int) -> None:
    for model in (tiny, wild, library.load("photo")):
        engine = on_device(model.network, "cuda")
        pictures = [from_array(valley(top, 40, 90, 70)) for top in (0, 50, 90)]
        pictures += of_all_sizes()
        check_all(pictures, model, engine, level)
        check_all(pictures, model, engine, level, exponent=11)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
@pytest.mark.parametrize("strength", [16, 48, 32 + STRONGEST, 48 + BODY + 3])
def test_cuda_writes_the_same_bytes_with_colours(tiny: Model, strength: int) -> None:
    samples = np.stack([valley(top, 40, 50, 70) for top in (0, 60, 120)])
    here, there = (
        encode_tiles(on_device(tiny.network, device), samples, (STATIC, strength), lambda _: None)
        for device in ("cpu", "cuda")
    )
    assert here == there

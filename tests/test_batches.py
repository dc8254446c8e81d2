"""Many at once: the bytes of one by one, on every device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncml_codec import batches, codec
from ncml_codec.container import Tile, read_container
from ncml_codec.engines import batch
from ncml_codec.errors import FormatError, UsageError
from ncml_codec.model import Model, identified
from ncml_codec.pixels import Picture, from_array
from tests.networks import random_network
from tests.pictures import valley


def check_all(pictures: list[Picture], model: Model, device: str, exponent: int = 5) -> None:
    engine = batch.engine(model.network, device)
    single = [codec.encode(one, model, codec.Effort("numpy"), exponent, 1) for one in pictures]
    assert batches.encode(pictures, model, engine, exponent) == single
    found = batches.decode([read_container(data) for data in single], engine)
    for picture, samples in zip(pictures, found, strict=True):
        assert np.array_equal(samples, picture.samples)


@given(
    seed=st.integers(0, 2**31),
    width=st.integers(1, 9),
    blocks=st.integers(0, 3),
    hidden=st.integers(1, 7),
    k=st.integers(1, 6),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    planes=st.sampled_from([1, 3]),
    count=st.integers(1, 4),
)
@settings(deadline=None, max_examples=40)
def test_a_batch_is_coded_as_its_images_alone(
    seed: int,
    width: int,
    blocks: int,
    hidden: int,
    k: int,
    size: tuple[int, int],
    planes: int,
    count: int,
) -> None:
    random = np.random.default_rng(seed)
    pictures = [
        from_array(random.integers(0, 256, (*size, planes), np.uint8)) for _ in range(count)
    ]
    check_all(pictures, identified(random_network(seed, width, blocks, hidden, k)), "cpu")


def test_sizes_tiles_and_kinds_may_be_mixed(tiny: Model) -> None:
    """Tiles of one size are walked together, whichever pictures they are of."""
    pictures = [from_array(valley(top, 40, 33, 70)) for top in (0, 50, 90)]
    pictures += [from_array(valley(0, 0, 64, 32)), from_array(valley(0, 0, 40, 9)[:, :, :1])]
    pictures.append(Picture(valley(9, 9, 1, 1), [(b"IDAT", b""), (b"tEXt", b"Title\0x")]))
    check_all(pictures, tiny, "cpu")


def test_a_frame_of_fixed_length_gives_the_same(
    tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on CUDA: every wave in a frame as long as the longest."""
    begin = batch.BatchWalk.__init__

    def fixed(walk: batch.BatchWalk, *arguments: object) -> None:
        begin(walk, *arguments)  # type: ignore[arg-type]
        walk._fixed = True

    monkeypatch.setattr(batch.BatchWalk, "__init__", fixed)
    pictures = [from_array(valley(top, 40, 30, 21)) for top in (0, 50)]
    pictures += [from_array(valley(0, 0, 5, 32)), from_array(valley(0, 0, 32, 1))]
    check_all(pictures, tiny, "cpu")


def test_damage_of_one_file_leaves_the_others(tiny: Model) -> None:
    pictures = [from_array(valley(top, 40, 12, 14)) for top in (0, 50, 90)]
    files = [read_container(codec.encode(picture, tiny, level=1)) for picture in pictures]
    payload = bytearray(files[1].tiles[0].payload)
    payload[5] ^= 255
    files[1] = replace(files[1], tiles=[Tile(bytes(payload), files[1].tiles[0].samples_crc)])
    found = batches.decode(files, batch.engine(tiny.network, "cpu"))
    assert isinstance(found[1], FormatError)
    for index in (0, 2):
        assert np.array_equal(found[index], pictures[index].samples)


def test_a_file_that_adapts_is_refused_and_the_others_decoded(tiny: Model) -> None:
    picture = from_array(valley(0, 40, 12, 14))
    file = read_container(codec.encode(picture, tiny, level=1))
    adaptive = replace(file, tiles=[replace(file.tiles[0], adaptation=1)])
    found = batches.decode([adaptive, file], batch.engine(tiny.network, "cpu"))
    assert isinstance(found[0], UsageError)
    assert np.array_equal(found[1], picture.samples)


def test_groups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "TOGETHER", 30)
    shapes = [(3, 4, 3), (3, 4, 1), (3, 4, 3), (3, 4, 3), (9, 9, 3)]
    assert list(batches._groups(shapes)) == [[0, 2], [3], [1], [4]]


def test_unknown_devices_are_refused(tiny: Model) -> None:
    with pytest.raises(UsageError, match="abacus"):
        batch.engine(tiny.network, "abacus")


@pytest.mark.gpu
@pytest.mark.skipif(not batch.torch.cuda.is_available(), reason="no CUDA device is here")
def test_cuda_writes_the_same_bytes(tiny: Model, wild: Model) -> None:
    for model in (tiny, wild):
        pictures = [from_array(valley(top, 40, 90, 70)) for top in (0, 50, 90)]
        pictures += [from_array(valley(0, 0, 64, 32)), from_array(valley(0, 0, 5, 1))]
        check_all(pictures, model, "cuda")
        check_all(pictures, model, "cuda", exponent=11)

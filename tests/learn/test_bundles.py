"""Bundles: pixels come back, bytes are the likelihood, and other conditions are refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from ncml_cli.zip.ncmlzip import main
from ncml_codec.errors import FormatError, RoundTripError, UnknownModel, UnsupportedImage
from ncml_codec.learn.likelihood.objective import image_bits
from ncpn import presets
from ncpn.bundles import bundle_file
from ncpn.bundles.bundle_file import Bundle
from ncpn.network import NCPN
from ncpn.runs import from_pretrained
from tests.builders.bundles import changed
from tests.builders.codec_law import Codec, check_codec
from tests.builders.runs import saved, thumbnails, trained


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    steps = {"wave-tiny": 40, "tiny": 6}
    return {name: trained(folder / name, name, "none", count) for name, count in steps.items()}


def some(count: int, side: int) -> Bundle:
    images = [
        np.ascontiguousarray(i[:, :side, :side].transpose(1, 2, 0)) for i in thumbnails(count)
    ]
    return Bundle([f"{index}.png" for index in range(count)], images)


@pytest.mark.parametrize("name", ["wave-tiny", "tiny"])
def test_pixels_come_back_and_bytes_are_the_likelihood(runs: dict[str, Path], name: str) -> None:
    """Within 0.5 % of the float likelihood of these images, and 8 bytes of the coder's flush."""
    model, held = from_pretrained(runs[name]), some(5, 12)
    data = bundle_file.encode(held, model, batch=2)
    again = bundle_file.decode(data, model)
    assert list(again.names) == list(held.names)
    assert all(map(np.array_equal, again.images, held.images))
    x = torch.from_numpy(np.stack(held.images)).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        ideal = float(image_bits(model, x, torch.zeros(5)).sum()) * 12 * 12 * 3 / 8
    payload, rest = bundle_file.sizes(data)
    assert payload + rest == len(data)
    assert abs(payload - ideal) < 0.005 * ideal + 8


def test_extreme_pixels_come_back(runs: dict[str, Path]) -> None:
    model = from_pretrained(runs["wave-tiny"])
    random = np.random.default_rng(0)
    images = [np.zeros((4, 6, 3), np.uint8), np.full((4, 6, 3), 255, np.uint8)]
    images.append(random.integers(0, 256, (4, 6, 3), np.uint8))
    held = Bundle(["black.png", "white.png", "noise.png"], images)
    again = bundle_file.decode(bundle_file.encode(held, model), model)
    assert all(map(np.array_equal, again.images, images))


def test_bundles_keep_the_law_of_every_codec(runs: dict[str, Path]) -> None:
    model = from_pretrained(runs["wave-tiny"])

    def encode(held: Bundle) -> bytes:
        return bundle_file.encode(held, model)

    def decode(data: bytes) -> Bundle:
        return bundle_file.decode(data, model)

    def same(one: Bundle, other: Bundle) -> bool:
        return all(map(np.array_equal, one.images, other.images))

    check_codec(Codec(encode, decode, same, finds=True), some(2, 6))


@pytest.fixture(scope="module")
def made(runs: dict[str, Path]) -> tuple[bytes, NCPN]:
    model = from_pretrained(runs["wave-tiny"])
    return bundle_file.encode(some(2, 8), model), model


def test_another_network_is_refused(made: tuple[bytes, NCPN]) -> None:
    data, model = made
    other = presets.build(model.config)
    with pytest.raises(UnknownModel, match="not by this one"):
        bundle_file.decode(data, other)


@pytest.mark.parametrize("key", ["torch", "device", "machine", "instructions", "threads"])
def test_other_conditions_are_refused_with_the_reason(made: tuple[bytes, NCPN], key: str) -> None:
    data, model = made

    def change(header: dict[str, dict[str, str]]) -> None:
        header["computed_with"][key] = "another"

    with pytest.raises(UnknownModel, match=f"{key} another, here .* only"):
        bundle_file.decode(changed(data, change), model)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("names", ["../a.png", "b.png"]),
        ("names", ["a.png", "a.png"]),
        ("names", ["a.png"]),
        ("width", -8),
        ("height", 10**9),
        ("batch", "2"),
        ("crc", [1.5, 2]),
        ("model", None),
    ],
)
def test_headers_that_cannot_be_meant_are_refused(
    made: tuple[bytes, NCPN], key: str, value: object
) -> None:
    data, model = made
    with pytest.raises(FormatError, match="cannot be meant"):
        bundle_file.decode(changed(data, lambda header: header.update({key: value})), model)


def test_damage_is_found(made: tuple[bytes, NCPN]) -> None:
    data, model = made
    for cut in (0, 3, 8, 40, len(data) - 1):
        with pytest.raises(FormatError):
            bundle_file.decode(data[:cut], model)
    random = np.random.default_rng(1)
    for place in random.integers(0, len(data), 30):
        damaged = bytearray(data)
        damaged[place] ^= 1 << random.integers(8)
        with pytest.raises(FormatError):
            bundle_file.decode(bytes(damaged), model)


def test_a_machine_that_computes_something_else_is_noticed(
    made: tuple[bytes, NCPN], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model = made
    masses, calls = bundle_file._masses, []

    def drifting(logistics: object) -> np.ndarray:
        calls.append(0)
        found = masses(logistics)  # type: ignore[arg-type]
        return found if len(calls) < 80 else np.roll(found, 1, -1)

    monkeypatch.setattr(bundle_file, "_masses", drifting)
    with pytest.raises(RoundTripError):
        bundle_file.encode(some(2, 8), model)


def test_images_of_several_sizes_or_grey_are_refused(made: tuple[bytes, NCPN]) -> None:
    _, model = made
    mixed = Bundle(["a", "b"], [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 8, 3), np.uint8)])
    grey = Bundle(["a"], [np.zeros((4, 4, 1), np.uint8)])
    for held in (mixed, grey):
        with pytest.raises(UnsupportedImage, match="one size"):
            bundle_file.encode(held, model)


def ncmlzip(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_tool_bundles_and_restores(runs: dict[str, Path], tmp_path: Path) -> None:
    run, output, restored = runs["wave-tiny"], tmp_path / "images.ncpb", tmp_path / "restored"
    files = sorted(saved(tmp_path / "images", thumbnails(3)[:, :, :8, :8]).iterdir())
    restored.mkdir()
    result = ncmlzip("bundle", *files, "--checkpoint", run, "-o", output)
    assert result.exit_code == 0, result.output
    assert "3 images, payload" in result.output
    assert ncmlzip("unbundle", output, "--checkpoint", run, "-O", restored).exit_code == 0
    for file in files:
        with Image.open(file) as one, Image.open(restored / file.name) as other:
            assert np.array_equal(np.asarray(one), np.asarray(other))
    refused = ncmlzip("unbundle", output, "--checkpoint", runs["tiny"], "-O", restored, "-f")
    assert refused.exit_code == 1
    assert ncmlzip("bundle", *files, "--checkpoint", run, "-o", output).exit_code == 1
    # Nothing is written where one of the outputs exists, or is the bundle itself.
    for file in files[:2]:
        (restored / file.name).unlink()
    assert ncmlzip("unbundle", output, "--checkpoint", run, "-O", restored).exit_code == 1
    assert os.listdir(restored) == [files[2].name]
    bundle = output.rename(output.parent / files[2].name)
    call = ("unbundle", "-f", bundle, "--checkpoint", run, "-O", bundle.parent)
    assert ncmlzip(*call).exit_code == 2
    assert bundle.read_bytes()[:8] != files[2].read_bytes()[:8]
    assert not (bundle.parent / files[0].name).exists()

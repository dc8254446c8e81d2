"""The network for JPEG coefficients: what a code length depends on, and runs that resume."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from jpeg_coefficients.blocks import Batch, Blocks
from jpeg_coefficients.network import PlaneConfig, PlaneNetwork, bits_of, ends
from jpeg_coefficients.training import Options, from_run, train_network
from ncml_cli.train.export import main as export
from ncml_cli.train.train import main
from ncml_codec.coefficients.model_file import read_model
from ncml_codec.jpeg import read


def jpeg(seed: int, quality: int = 80, sampling: int = 2) -> bytes:
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (8, 9, 3), np.uint8))
    data = io.BytesIO()
    image = small.resize((72, 64), Image.Resampling.BICUBIC)
    image.save(data, "JPEG", quality=quality, subsampling=sampling)
    return data.getvalue()


def network(chroma: bool) -> PlaneNetwork:
    torch.manual_seed(0)
    config = PlaneConfig(first=16, second=12, hidden=4, dc_hidden=8, chroma=chroma)
    made = PlaneNetwork(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return made


def batch(chroma: bool, sampling: int = 2) -> Batch:
    blocks = Blocks([read(jpeg(1, sampling=sampling))], luma=not chroma)
    return blocks.batch(torch.arange(len(blocks)))


@pytest.mark.parametrize("chroma", [False, True])
@torch.no_grad()
def test_the_end_does_not_depend_on_the_blocks_own_values(chroma: bool) -> None:
    model, before = network(chroma), batch(chroma)
    after = replace(before, own=torch.where(before.own != 0, before.own + 200, 0))
    assert torch.equal(ends(before.own), ends(after.own))
    assert torch.equal(model(before).end, model(after).end)
    assert not torch.equal(model(before).ac, model(after).ac)


@torch.no_grad()
def test_ac_does_not_depend_on_dc_and_dc_does_on_ac() -> None:
    model, before = network(False), batch(False)
    own = before.own.clone()
    own[:, 0] += 7
    assert torch.equal(model(before).ac, model(replace(before, own=own)).ac)
    own = before.own.clone()
    own[:, 1] += 7
    assert not torch.equal(model(before).dc, model(replace(before, own=own)).dc)


@pytest.mark.parametrize("at_end", [False, True])
def test_probabilities_sum_to_one(at_end: bool) -> None:
    """Over all values, or over all but 0 where a coefficient is the block's last."""
    values = torch.arange(-600, 601)
    values = values[values != 0] if at_end else values
    o = torch.tensor([0.3, -0.2, 0.1, 0.4, -3.0, 9.0, 0.0, -1.0, 2.0]).expand(len(values), -1)
    mean = torch.full((len(values),), 0.7)
    flags = torch.ones(len(values)) if at_end else None
    bits = bits_of(values.float(), o, mean, flags).double()
    # float32: six digits.
    assert float(torch.exp2(-bits).sum()) == pytest.approx(1, abs=1e-5)


def test_neighbours_are_those_of_the_plane() -> None:
    file = read(jpeg(2))
    blocks = Blocks([file], luma=True)
    plane = file.coefficients[0].astype(np.float32)
    columns = plane.shape[1]
    found = blocks.batch(torch.tensor([2 * columns + 3, 0]))
    around = [plane[2, 2], plane[1, 3], plane[1, 2], plane[1, 4], plane[2, 1], plane[0, 3]]
    assert np.array_equal(found.neighbours[0].numpy(), np.stack(around))
    assert found.known.tolist() == [[1] * 6, [0] * 6]


def test_chroma_sees_the_mean_of_the_lumas_blocks_at_its_place() -> None:
    file = read(jpeg(3))
    blocks = Blocks([file], luma=False)
    luma = file.coefficients[0].astype(int) * file.layout.quantisation[0]
    columns = file.coefficients[1].shape[1]
    found = blocks.batch(torch.tensor([columns + 2]))
    place = luma[2:4, 4:6].reshape(4, 64)
    assert np.array_equal(found.cross[0, 0].numpy(), place.sum(0) // 4)
    assert np.array_equal(found.cross[0, 1].numpy(), np.abs(place).sum(0) // 4)


def test_the_third_plane_sees_the_second() -> None:
    file = read(jpeg(3))
    blocks = Blocks([file], luma=False)
    half = len(blocks) // 2
    found = blocks.batch(torch.tensor([1, half + 1]))
    assert np.array_equal(found.other.numpy()[1], file.coefficients[1][0, 1])
    assert not found.other[0].any()
    assert found.third.tolist() == [0, 1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.jpg").write_bytes(jpeg(5))
    Image.open(io.BytesIO(jpeg(6))).save(data / "b.png")
    return data


def test_a_run_in_two_parts_is_the_run_in_one(folder: Path, tmp_path: Path) -> None:
    def options(out: str, steps: int) -> Options:
        name = (f"jpeg:{folder}",)
        return Options(name, tmp_path / out, steps=steps, batch=32, precision="float32")

    say = list[str]().append
    train_network(options("one", 8), say=say)
    # The schedule follows the steps, so the first part is the beginning of the longer run.
    with pytest.raises(KeyboardInterrupt):
        train_network(replace(options("two", 8), log_every=3, save_minutes=0), say=_stopping)
    train_network(options("two", 8), resume=True, say=say)
    one, two = from_run(tmp_path / "one"), from_run(tmp_path / "two")
    for (name, mine), other in zip(one.named_parameters(), two.parameters(), strict=True):
        assert torch.equal(mine, other), name


def _stopping(line: str) -> None:
    if line.startswith("step 6"):
        raise KeyboardInterrupt


def test_the_commands_train_and_export(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["--data", f"jpeg:{folder}", "--model", "jpeg", "--out", str(run)]
    arguments += ["--steps", "2", "--batch", "16"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert from_run(run).luma.config == PlaneConfig()
    model = tmp_path / "model.ncjp"
    result = CliRunner().invoke(export, [str(run), "--data", str(folder), "-o", str(model)])
    assert result.exit_code == 0, result.output
    assert read_model(model.read_bytes()).network.luma.first.outputs == PlaneConfig().first


def test_files_that_cannot_be_read_are_named_counted_and_left_out(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (folder / "cut.png").write_bytes((folder / "b.png").read_bytes()[:200])
    (folder / "empty.jpeg").touch()
    (folder / "folder.png").mkdir()
    arguments = ["--data", f"jpeg:{folder}", "--test-data", f"jpeg:{folder}", "--model", "jpeg"]
    arguments += ["--out", str(tmp_path / "run"), "--steps", "1", "--batch", "16"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    said = [line for line in result.output.splitlines() if "left out" in line]
    assert len(said) == 2
    assert all("2 files; 4 left out, cannot be read:" in line for line in said)
    for name in ("bad.jpg", "cut.png", "empty.jpeg", "folder.png"):
        assert str(folder / name) in said[0]


def test_a_folder_of_files_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    arguments = ["--data", f"jpeg:{tmp_path}", "--model", "jpeg", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "1 left out, cannot be read" in result.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data", "jpeg:{}", "--model", "wave-photo"],
        ["--data", "{}", "--model", "jpeg"],
        ["--data", "jpeg:{}", "--model", "jpeg", "--sde", "vp"],
    ],
)
def test_options_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, arguments: list[str]
) -> None:
    given = [argument.format(folder) for argument in arguments]
    result = CliRunner().invoke(main, [*given, "--out", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert not (tmp_path / "run").exists()

"""The tool: what users see, and that nothing of theirs is lost."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ncml_codec import engines
from ncml_codec.encode import image_encoder, levels, tile_encoder
from ncml_codec.errors import RoundTripError
from ncml_codec.network import released_models
from ncml_codec.picture.image_files import decode_file
from ncml_codec.picture.kinds import Kind
from tests.builders import kinds_of_images
from tests.builders.commands import TINY, compress, decompress, ncmlzip, pixels
from tests.builders.pictures import GOLDEN, valley


def of_the_network(photo: Path) -> Path:
    """The file of its tiles, which may not be the smallest: the model is not trained."""
    data = tile_encoder.encode(decode_file(photo.read_bytes(), "photo"), released_models.load(TINY))
    packed = Path(f"{photo}.ncmz")
    packed.write_bytes(data)
    return packed


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(valley(90, 90, 24, 31)).save(path, dpi=(300, 300))
    return path


def test_a_photograph_is_compressed_and_restored(photo: Path) -> None:
    before = pixels(photo)
    result = compress(photo)
    assert result.exit_code == 0, result.output
    assert "bits per sub-pixel" in result.stderr
    assert photo.exists()
    photo.unlink()
    assert decompress(f"{photo}.ncmz").exit_code == 0
    assert np.array_equal(pixels(photo), before)
    with Image.open(photo) as image:
        assert round(image.info["dpi"][0]) == 300


def test_the_released_models_are_the_default(photo: Path) -> None:
    assert ncmlzip("compress", photo).exit_code == 0
    assert ncmlzip("test", f"{photo}.ncmz").exit_code == 0
    facts = json.loads(ncmlzip("info", "--json", f"{photo}.ncmz").stdout)
    assert facts[0]["model"] in levels.at(levels.DEFAULT).models
    assert "photo (default)" in ncmlzip("models").stdout


def test_an_existing_output_is_kept_without_force(photo: Path) -> None:
    target = Path(f"{photo}.ncmz")
    target.write_bytes(b"precious")
    result = compress(photo)
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert target.read_bytes() == b"precious"
    assert compress("-f", photo).exit_code == 0
    assert target.read_bytes() != b"precious"


def test_outputs_go_where_they_are_told(photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert compress("-O", folder, photo).exit_code == 0
    assert compress("-o", tmp_path / "named", photo).exit_code == 0
    assert (folder / "photo.png.ncmz").read_bytes() == (tmp_path / "named").read_bytes()
    result = decompress(tmp_path / "named")
    assert result.exit_code == 2
    assert "does not end in .ncmz" in result.stderr
    assert decompress(tmp_path / "named", "-o", tmp_path / "again.ppm").exit_code == 0
    assert np.array_equal(pixels(tmp_path / "again.ppm"), pixels(photo))


def test_a_bad_file_does_not_stop_the_others(photo: Path, tmp_path: Path) -> None:
    bad, missing = tmp_path / "bad.png", tmp_path / "missing.png"
    bad.write_bytes(b"no image")
    result = compress(bad, photo, missing)
    assert result.exit_code == 1
    assert "bad.png" in result.stderr
    assert "missing.png" in result.stderr
    assert Path(f"{photo}.ncmz").exists()
    assert not Path(f"{bad}.ncmz").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["compress"],
        ["compress", "--no-such-option", "x.png"],
        ["compress", "a.png", "b.png", "-o", "c"],
        ["compress", "a.png", "-o", "c", "-O", "."],
        ["compress", "a.png", "--rm", "--no-check"],
        ["compress", "a.png", "-O", "no such/folder"],
        ["compress", "a.png", "-m", "foto"],
        ["compress", "x/a.png", "y/a.png", "-O", "."],
    ],
)
def test_bad_usage_exits_2(arguments: list[str]) -> None:
    assert ncmlzip(*arguments).exit_code == 2


def test_inputs_go_only_on_request_and_after_a_verified_write(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pixels(photo)
    assert compress("--rm", photo).exit_code == 0
    assert not photo.exists()
    assert decompress("--rm", f"{photo}.ncmz").exit_code == 0
    assert np.array_equal(pixels(photo), before)
    assert not Path(f"{photo}.ncmz").exists()

    def wrong(*_: object) -> None:
        raise RoundTripError("other pixels")

    monkeypatch.setattr(image_encoder, "verify", wrong)
    result = compress("--rm", photo)
    assert result.exit_code == 3
    assert "other pixels" in result.stderr
    assert os.listdir(photo.parent) == ["photo.png"]


def test_the_input_is_never_its_own_output(photo: Path) -> None:
    before = photo.read_bytes()
    result = compress("-f", photo, "-o", photo)
    assert result.exit_code == 1
    assert "input itself" in result.stderr
    assert photo.read_bytes() == before


def test_an_input_that_goes_meanwhile_is_kept_in_its_output(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = photo.read_bytes()
    for arguments, code in (([], 0), (["--rm", "-f"], 1)):
        photo.write_bytes(before)
        monkeypatch.setattr(image_encoder, "verify", lambda *_: photo.unlink())
        result = compress(*arguments, photo)
        assert (result.exit_code, "No such file" in result.stderr) == (code, code == 1)
        assert os.listdir(photo.parent) == ["photo.png.ncmz"]
    assert ncmlzip("test", "-m", TINY, f"{photo}.ncmz").exit_code == 0


def test_damaged_files_are_reported_and_nothing_is_written(photo: Path) -> None:
    packed = of_the_network(photo)
    data = bytearray(packed.read_bytes())
    data[-30] ^= 4
    packed.write_bytes(data)
    photo.unlink()
    for command in ("test", "decompress", "info"):
        result = ncmlzip(command, packed)
        assert result.exit_code == 4
        assert "photo.png.ncmz: tile 0" in result.stderr
    assert os.listdir(photo.parent) == ["photo.png.ncmz"]


@pytest.mark.parametrize("command", ["test", "decompress", "info"])
def test_only_a_damaged_file_exits_4(photo: Path, tmp_path: Path, command: str) -> None:
    packed = of_the_network(photo)
    data = packed.read_bytes()
    foreign, newer, damaged = (tmp_path / f"{name}.ncmz" for name in ("foreign", "newer", "cut"))
    foreign.write_bytes(photo.read_bytes())
    newer.write_bytes(data[:4] + b"\x63" + data[5:])
    damaged.write_bytes(data[:-1])
    model = ["-m", TINY]
    limited = [] if command == "info" else ["--max-pixels", 1]
    for path, more, code in (
        (foreign, model, 1),
        (newer, model, 1),
        (packed, [*model, *limited], 1 if limited else 0),
        (packed, [], 0 if command == "info" else 1),  # its model is not at hand
        (damaged, model, 4),
    ):
        result = ncmlzip(command, *more, *(["-f"] if command == "decompress" else []), path)
        assert (path.name, result.exit_code) == (path.name, code), result.output
    missing = ncmlzip(command, "-m", tmp_path / "none.ncpn", packed)
    assert missing.exit_code == 1
    assert ncmlzip(command, "-m", photo, packed).exit_code == 1  # no model file


def test_a_missing_model_is_named(photo: Path) -> None:
    of_the_network(photo)
    result = ncmlzip("test", f"{photo}.ncmz")
    assert result.exit_code == 1
    assert "not at hand" in result.stderr
    (facts,) = json.loads(ncmlzip("info", "--json", f"{photo}.ncmz").stdout)
    assert (facts["model"], facts["engine_here"]) == ("not at hand", "none")


def test_info_says_what_a_file_holds(photo: Path) -> None:
    of_the_network(photo)
    (facts,) = json.loads(ncmlzip("info", "--json", "-m", TINY, f"{photo}.ncmz").stdout)
    assert (facts["width"], facts["height"], facts["kind"]) == (31, 24, "8-bit RGB")
    assert facts["bytes"] == Path(f"{photo}.ncmz").stat().st_size
    assert facts["metadata"] == ["pHYs"]
    assert facts["model"] == "given with -m"
    expected = "numpy" if engines.why_not_native() else "native ("
    assert facts["engine_here"].startswith(expected)
    text = ncmlzip("info", "-m", TINY, f"{photo}.ncmz").stdout
    assert "8-bit RGB" in text


def test_a_drawing_of_any_kind_is_compressed_described_and_restored(tmp_path: Path) -> None:
    made = kinds_of_images.picture(Kind(3, 4), 40, 50)
    drawing = tmp_path / "drawing.png"
    drawing.write_bytes(kinds_of_images.png_file(made))
    assert compress(drawing).exit_code == 0
    (facts,) = json.loads(ncmlzip("info", "--json", f"{drawing}.ncmz").stdout)
    assert (facts["format_draft"], facts["kind"]) == (3, "4-bit palette of 16 colours")
    assert (
        sum(one["bytes"] for one in facts["sections"] if "method" in one) == facts["payload_bytes"]
    )
    assert facts["metadata"] == ["gAMA", "PLTE", "tRNS", "tEXt"]
    drawing.unlink()
    assert ncmlzip("test", f"{drawing}.ncmz").exit_code == 0
    assert decompress(f"{drawing}.ncmz").exit_code == 0
    again = decode_file(drawing.read_bytes(), "drawing.png")
    assert (again.kind, again.chunks) == (made.kind, made.chunks)
    assert np.array_equal(again.samples, made.samples)
    refused = decompress(f"{drawing}.ncmz", "-o", tmp_path / "drawing.ppm")
    assert refused.exit_code == 2
    assert "name the output .png" in refused.stderr


def test_the_pixels_of_a_jpeg_are_compressed_on_request(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    Image.fromarray(valley(90, 90, 24, 31)).save(photo)
    assert compress("--decoded", photo).exit_code == 0
    assert decompress(f"{photo}.ncmz").exit_code == 0
    assert np.array_equal(pixels(Path(f"{photo}.png")), pixels(photo))
    assert decompress(f"{photo}.ncmz", "-o", tmp_path / "new.jpg").exit_code == 2


def test_quiet_says_nothing_and_verbose_names_the_engine(photo: Path) -> None:
    assert compress("-q", photo).output == ""
    result = compress("-f", "-v", "--engine", "numpy", photo)
    assert "engine numpy" in result.stderr
    assert result.stdout == ""


def test_verbose_says_how_the_native_engine_computes(photo: Path) -> None:
    if engines.why_not_native():
        pytest.skip(f"no native engine: {engines.why_not_native()}")
    result = compress("-v", "--threads", "2", photo)
    assert re.search(r"engine native \(\w+, 2 threads\)", result.stderr)


def test_verbose_says_why_numpy_runs(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ncml_codec.engines._native", None)
    result = compress("-v", photo)
    assert "engine numpy (not native: the package was installed without" in result.stderr
    refused = compress("-f", "--engine", "native", photo)
    assert refused.exit_code == 2
    assert "engine native" in refused.stderr


def test_engines_write_the_same_file(photo: Path, tmp_path: Path) -> None:
    assert compress("--engine", "numpy", photo, "-o", tmp_path / "a").exit_code == 0
    assert compress(photo, "-o", tmp_path / "b").exit_code == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_help_and_import_need_no_torch() -> None:
    script = (
        "import sys\nimport ncml_codec\nfrom ncml_cli.zip.ncmlzip import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'PIL', 'constriction'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_compressing_needs_no_torch(photo: Path) -> None:
    script = (
        "import sys\nsys.modules['torch'] = None\nfrom ncml_cli.zip.ncmlzip import main\n"
        f"main(['compress', {str(photo)!r}], standalone_mode=False)\n"
        f"main(['decompress', '-f', {str(photo) + '.ncmz'!r}], standalone_mode=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["noext", "png-named.jpg", "photo.tar.gz"])
def test_whatever_the_name_of_an_image_it_comes_back(photo: Path, name: str) -> None:
    before = pixels(photo)
    source = photo.rename(photo.parent / name)
    assert compress("--rm", source).exit_code == 0
    assert os.listdir(photo.parent) == [f"{name}.ncmz"]
    result = decompress("--rm", f"{source}.ncmz")
    assert result.exit_code == 0, result.stderr
    assert f"{name}.png" in result.stderr
    assert "as PNG, since the name has no suffix of a lossless format" in result.stderr
    assert os.listdir(photo.parent) == [f"{name}.png"]
    assert np.array_equal(pixels(Path(f"{source}.png")), before)


def test_an_output_over_another_input_is_refused_before_anything_is_written(photo: Path) -> None:
    other = Path(f"{photo}.ncmz")
    Image.fromarray(valley(0, 0, 12, 13)).save(other, "PNG")
    before = photo.read_bytes(), other.read_bytes()
    for sources in ((photo, other), (other, photo)):
        result = compress("-f", "--rm", *sources)
        assert result.exit_code == 2
        assert "is an input of this call, too" in result.stderr
        assert (photo.read_bytes(), other.read_bytes()) == before
        assert sorted(os.listdir(photo.parent)) == ["photo.png", "photo.png.ncmz"]


def test_the_model_and_the_list_of_a_call_are_not_written_over(photo: Path) -> None:
    model, names = photo.parent / "own.ncpn", photo.parent / "names"
    model.write_bytes((GOLDEN / "tiny.ncpn").read_bytes())
    names.write_text(f"{photo}\n")
    for target in (model, names):
        before = target.read_bytes()
        call = ["compress", "-f", "-m", model, "--files-from", names, "-o", target]
        result = ncmlzip(*call)
        assert result.exit_code == 2
        assert "is an input of this call, too" in result.stderr
        assert target.read_bytes() == before

"""Which file each input becomes: decided before anything is written."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ncml_cli.evaluate import evaluate, sample
from ncml_cli.train import export, train
from ncml_cli.zip import ncmlzip
from ncml_cli.zip import targets as targets_module
from ncml_cli.zip.targets import (
    Skipped,
    Target,
    Where,
    check_outputs,
    compressed_name,
    make_folders,
    plan,
    restored_name,
)
from ncml_codec.errors import OutputError, UsageError
from tests.builders.commands import compress, decompress, pixels
from tests.builders.pictures import valley

keep_name = partial(compressed_name, force=False)


def planned(where: Where, *sources: Path) -> dict[Path, Target]:
    return plan(dict.fromkeys(sources), where, keep_name)


def test_two_inputs_with_one_output_are_refused_by_whatever_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    one, other = tmp_path / "real" / "a.png", tmp_path / "link" / "a.png"
    with pytest.raises(UsageError, match="would both become"):
        planned(Where(), one, other)
    with pytest.raises(UsageError, match="would both become"):
        planned(Where(folder=tmp_path), one, tmp_path / "a.png")
    assert len(planned(Where(folder=tmp_path, mirror=True), one, tmp_path / "a.png")) == 2


def test_a_mirror_keeps_paths(tmp_path: Path) -> None:
    where = Where(folder=tmp_path, mirror=True)
    targets = planned(where, Path("p/q/a.png"), Path("a.png"), Path("/x/a.png"), Path("../a.png"))
    expected = ["p/q/a.png.ncmz", "a.png.ncmz", "x/a.png.ncmz"]
    assert list(targets.values())[:3] == [tmp_path / name for name in expected]
    assert isinstance(targets[Path("../a.png")], UsageError)


def test_a_mirrors_folders_are_as_open_as_the_originals(tmp_path: Path) -> None:
    source = tmp_path / "private" / "p" / "a.png"
    source.parent.mkdir(parents=True)
    source.parent.parent.chmod(0o700)
    source.parent.chmod(0o500)
    out = tmp_path / "out"
    targets = planned(Where(folder=out, mirror=True), source)
    assert not out.exists()
    assert make_folders(targets, out) == targets
    made = targets[source]
    assert isinstance(made, Path)
    modes = [stat.S_IMODE(folder.stat().st_mode) for folder in (made.parent, made.parent.parent)]
    assert modes == [0o700, 0o700]


def test_a_mirrors_folder_that_cannot_be_made_fails_its_files_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "p").write_bytes(b"in the way")
    targets = planned(Where(folder=tmp_path / "out", mirror=True), Path("p/a.png"), Path("a.png"))
    made = make_folders(targets, tmp_path / "out")
    assert isinstance(made[Path("p/a.png")], OutputError)
    assert made[Path("a.png")] == tmp_path / "out" / "a.png.ncmz"


def test_compressed_files_are_skipped_unless_forced() -> None:
    with pytest.raises(Skipped, match="already"):
        compressed_name(Path("p/a.png.ncmz"), False)
    assert compressed_name(Path("p/a.png.ncmz"), True) == "a.png.ncmz.ncmz"


def test_existing_outputs_can_be_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.png.ncmz").symlink_to("nowhere")
    sources = [tmp_path / "a.png", tmp_path / "b.png"]
    targets = planned(Where(skip_existing=True), *sources)
    assert isinstance(targets[sources[0]], Skipped)
    assert targets[sources[1]] == tmp_path / "b.png.ncmz"


@pytest.mark.parametrize(
    ("name", "suffix", "restored"),
    [
        ("a.png.ncmz", None, "a.png"),
        ("a.png.ncmz", ".ppm", "a.ppm"),
        ("a.b.ncmz", ".ppm", "a.b.ppm"),
        ("a.ncmz", ".ppm", "a.ppm"),
        ("a.jpg.ncmz", None, "a.jpg.png"),
        ("noext.ncmz", None, "noext.png"),
        ("x.PNG.ncmz", None, "x.PNG"),
    ],
)
def test_a_restored_name_has_the_formats_suffix(
    name: str, suffix: str | None, restored: str
) -> None:
    assert restored_name(Path("p", name), suffix) == restored


def test_a_mirror_needs_its_folder() -> None:
    with pytest.raises(UsageError, match="-O"):
        planned(Where(mirror=True), Path("a.png"))


def test_a_folder_is_not_made_from_a_misspelt_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in ("none/out", "file", "file/out"):
        for mirror in (False, True):
            with pytest.raises(UsageError, match="no such folder"):
                planned(Where(folder=tmp_path / place, mirror=mirror))


def test_outputs_folder_is_made_with_the_first_output(tmp_path: Path) -> None:
    source, out = tmp_path / "a.png", tmp_path / "out"
    targets = planned(Where(folder=out), source)
    assert not out.exists()
    assert make_folders(targets, out) == {source: out / "a.png.ncmz"}
    assert out.is_dir()


def forced(where: Where, *sources: Path, also_read: tuple[Path, ...] = ()) -> dict[Path, Target]:
    return plan(
        dict.fromkeys(sources), where, partial(compressed_name, force=True), also_read=also_read
    )


def linked(kind: str, path: Path, name: Path) -> Path:
    """Another name of the file at `path`."""
    if kind == "symlink":
        name.symlink_to(path)
    elif kind == "hard link":
        os.link(path, name)
    elif kind == "other path":
        return path.parent / ".." / path.parent.name / path.name
    else:
        return path
    return name


NAMES = ("same", "other path", "symlink", "hard link")


@pytest.mark.parametrize("kind", NAMES)
def test_an_output_that_is_another_input_is_refused(tmp_path: Path, kind: str) -> None:
    one, other = tmp_path / "a.png", tmp_path / "a.png.ncmz"
    one.write_bytes(b"one")
    other.write_bytes(b"other")
    named = linked(kind, other, tmp_path / "b")
    for sources in ((one, named), (named, one)):
        with pytest.raises(UsageError, match="is an input of this call, too"):
            forced(Where(), *sources)
    with pytest.raises(UsageError, match="is an input of this call, too"):
        forced(Where(), one, also_read=(named,))
    skipping = planned(Where(skip_existing=True), one, other)
    assert all(isinstance(target, Skipped) for target in skipping.values())


def test_an_output_is_not_written_over_an_input_that_cannot_be_worked_on(tmp_path: Path) -> None:
    for name in ("a.png", "a.png.ncmz", "b.png.ncmz"):
        (tmp_path / name).write_bytes(b"")
    paths = [tmp_path / name for name in ("a.png", "a.png.ncmz", "b.png.ncmz")]
    found = plan(dict.fromkeys(paths), Where(), restored_name)
    assert isinstance(found[paths[0]], UsageError)
    assert isinstance(found[paths[1]], OutputError)
    assert found[paths[2]] == tmp_path / "b.png"


@pytest.mark.parametrize("kind", ["symlink", "hard link"])
def test_two_outputs_that_are_one_file_are_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.png.ncmz").write_bytes(b"old")
    linked(kind, tmp_path / "a.png.ncmz", tmp_path / "b.png.ncmz")
    with pytest.raises(UsageError, match="would both become"):
        forced(Where(), tmp_path / "a.png", tmp_path / "b.png")


@pytest.mark.parametrize("names", [("a.png", "A.PNG"), ("\u00e9.png", "e\u0301.png")])
def test_names_that_a_file_system_takes_for_one_are_one_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    sources = [tmp_path / folder / name for folder, name in zip("pq", names, strict=True)]
    (out / names[0]).touch()
    is_one = (out / names[1]).exists()
    (out / names[0]).unlink()
    where = Where(folder=out)
    if is_one:
        with pytest.raises(UsageError, match="would both become"):
            planned(where, *sources)
    else:
        assert len(planned(where, *sources)) == 2
    assert os.listdir(out) == []
    # As on a file system that has one name for both: the temporary file is found under the other.
    monkeypatch.setattr(targets_module.os.path, "lexists", lambda _: True)
    with pytest.raises(UsageError, match="would both become"):
        planned(where, *sources)


def test_names_that_differ_in_case_are_one_where_nothing_can_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(targets_module, "TemporaryDirectory", refused)
    with pytest.raises(UsageError, match="would both become"):
        planned(Where(folder=tmp_path), Path("p/a.png"), Path("q/A.png"))


@pytest.mark.parametrize("kind", NAMES)
def test_outputs_of_any_command_are_neither_inputs_nor_one_file(tmp_path: Path, kind: str) -> None:
    (tmp_path / "data").mkdir()
    data = tmp_path / "data" / "a.png"
    data.write_bytes(b"data")
    name = linked(kind, data, tmp_path / "b.png")
    for inputs in ([data], [tmp_path / "data"]):
        with pytest.raises(UsageError, match="is an input of this call, too"):
            check_outputs([None, name], inputs)
    with pytest.raises(UsageError, match="are one file"):
        check_outputs([data, name], [])
    check_outputs([tmp_path / "new.png", None, tmp_path / "new.npy"], [tmp_path / "data"])


def test_an_archive_is_restored_under_its_own_name_plus_png_and_the_plan_knows() -> None:
    with pytest.raises(UsageError, match="would both become"):
        plan(dict.fromkeys([Path("a.ncmz"), Path("a.png.ncmz")]), Where(), restored_name)


def test_every_command_refuses_an_output_that_it_reads(tmp_path: Path) -> None:
    run, data = tmp_path / "run", tmp_path / "data"
    for folder in (run, data):
        folder.mkdir()
    for name in ("model.safetensors", "config.json", "log.csv"):
        (run / name).write_text("{}")
    image = data / "a.png"
    image.write_bytes(b"image")
    calls: list[tuple[click.Command, list[object]]] = [
        (export.main, [run, "--data", data, "-o", run / "model.safetensors"]),
        (export.main, [run, "--data", data, "-f", "-o", image]),
        (export.main, [run, "--data", tmp_path / "none", "--tune", data, "-f", "-o", image]),
        (sample.main, [run, "-o", run / "config.json"]),
        (sample.main, [run, "--complete", data, "-o", tmp_path / "new", "--array", image]),
        (sample.main, [run, "-o", tmp_path / "new", "--array", tmp_path / "new"]),
        (evaluate.main, ["curves", run, "-o", run / "log.csv"]),
        (evaluate.main, ["classifier", "--data", f"cifar10:{data}", "-o", image]),
        (evaluate.main, ["robustness", run, "--data", data, "-o", image]),
        (ncmlzip.main, ["bundle", "-f", image, "--checkpoint", run, "-o", image]),
        (ncmlzip.main, ["bundle", image, "--checkpoint", run, "-o", run / "config.json"]),
    ]
    for options in (
        ["--data", data, "--out", data],
        ["--data", f"cifar10:{data}", "--out", data],
        ["--data", data, "--out", image],
        ["--data", f"array:{run / 'log.csv'}", "--out", run],
        ["--data", tmp_path / "none", "--test-data", data, "--out", data],
        ["--data", data, "--out", run, "--grow-from", run],
        ["--data", data, "--out", run, "--resume", "--turned-by", run],
        ["--data", data, "--out", tmp_path / "new", "--rounded-by", tmp_path / "new"],
    ):
        calls.append((train.main, options))
    calls.append((export.main, [run, "--data", data, "-f", "-o", data]))
    for command, arguments in calls:
        result = CliRunner().invoke(command, [str(argument) for argument in arguments])
        assert result.exit_code == 2, (arguments, result.output)
        assert "of this call" in result.stderr
    assert image.read_bytes() == b"image"
    assert {path.read_text() for path in run.iterdir()} == {"{}"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "run"]


@pytest.mark.parametrize("named", ["photos", "./photos/", "..", "absolute"])
def test_a_mirror_there_and_back_is_the_folder_that_was_named(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    for name in ("a.png", "p/b.png", "p/q/c.png"):
        path = photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(valley(0, len(name), 5, 6)).save(path)
    monkeypatch.chdir(photos / "p" if named == ".." else tmp_path)
    given = photos if named == "absolute" else Path(named)
    archive, restored = tmp_path / "archive", tmp_path / "restored"
    assert compress("-1", "-r", given, "-O", archive, "--mirror").exit_code == 0
    assert (archive / "p" / "q" / "c.png.ncmz").is_file()
    assert decompress("-r", archive, "-O", restored, "--mirror").exit_code == 0
    found = sorted(path.relative_to(restored) for path in restored.rglob("*.png"))
    assert found == sorted(path.relative_to(photos) for path in photos.rglob("*.png"))
    for path in found:
        assert np.array_equal(pixels(restored / path), pixels(photos / path))


def test_folders_with_the_same_names_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        Image.fromarray(valley(0, 0, 5, 6)).save(tmp_path / folder / "a.png")
    out = tmp_path / "out"
    done = compress("-r", tmp_path / "x", tmp_path / "y", "-O", out, "--mirror")
    assert done.exit_code == 2
    assert "would both become" in done.stderr
    assert not out.exists()


def test_a_level_is_a_flag_or_a_number(tmp_path: Path) -> None:
    photo = tmp_path / "a.png"
    Image.fromarray(valley(0, 0, 40, 40)).save(photo)
    for level in ("-2", "--level=2"):
        assert compress(photo, level, "-o", tmp_path / level).exit_code == 0
    assert (tmp_path / "-2").read_bytes() == (tmp_path / "--level=2").read_bytes()
    assert compress(photo, "--level", "10", "-o", tmp_path / "x").exit_code == 2


def test_the_format_may_be_named_twice_but_not_differently(tmp_path: Path) -> None:
    photo = tmp_path / "a.png"
    Image.fromarray(valley(0, 0, 5, 6)).save(photo)
    assert compress(photo, "-1").exit_code == 0
    coded = f"{photo}.ncmz"
    assert decompress(coded, "--to", "ppm", "-o", tmp_path / "b.PPM").exit_code == 0
    refused = decompress(coded, "--to", "ppm", "-o", tmp_path / "b.png")
    assert refused.exit_code == 2
    assert "different formats" in refused.stderr

"""Which file each input becomes: decided before anything is written."""

from __future__ import annotations

import stat
from functools import partial
from pathlib import Path

import pytest

from ncml_cli.targets import (
    Skipped,
    Target,
    Where,
    compressed_name,
    make_folders,
    plan,
    restored_name,
)
from ncml_codec.errors import OutputError, UsageError

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
    for place in ("none", "none/out", "file"):
        with pytest.raises(UsageError, match="no such folder"):
            planned(Where(folder=tmp_path / place, mirror="/" in place or place == "file"))

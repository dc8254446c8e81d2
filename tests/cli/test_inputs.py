"""Which files a call is about: folders, links, lists, names of any bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncml_cli.zip.inputs import IMAGES, PIPE, find, left_out, read_names
from ncml_cli.zip.options import FORMATS, MAX_PIXELS
from ncml_codec.errors import InputError, UsageError
from ncml_codec.picture import image_files, pillow_formats

NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: not set(name) & set(b"\0\n/"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.png", "a.PNG", "text.txt", "below/c.ppm", "below/x.png.ncmz"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"x")
    return tmp_path / "tree"


def names(root: Path, suffixes: frozenset[str]) -> list[str]:
    return [str(path.relative_to(root)) for path in find([root], True, None, suffixes)]


def test_a_folder_is_searched_below_for_its_kind_of_file_in_order(tree: Path) -> None:
    assert names(tree, IMAGES) == ["a.PNG", "b.png", "below/c.ppm"]
    assert names(tree, frozenset({".ncmz"})) == ["below/x.png.ncmz"]


def test_what_a_folder_holds_besides_is_counted_by_kind(tree: Path) -> None:
    for name in ("1.heic", "2.HEIC", "below/3.heic", "4.gif", "plain"):
        (tree / name).write_bytes(b"x")
    found = find([tree], True, None, IMAGES)
    said = left_out(found, IMAGES)
    assert said == (
        "left out: 3 HEIC, 1 GIF, 1 without suffix, 1 TXT: not handled; 1 NCMZ: compressed already"
    )
    assert left_out(find([tree], True, None, {".ncmz"}), {".ncmz"}).endswith(": not .ncmz")
    assert left_out(find([tree / "b.png"], True, None, IMAGES), IMAGES) == ""
    for index in range(20):
        (tree / f"x.{index:02}").write_bytes(b"")
    many = left_out(find([tree], True, None, IMAGES), IMAGES)
    assert "16 others" in many


def test_a_folder_without_r_is_an_error_of_its_own(tree: Path) -> None:
    found = find([tree, tree / "b.png"], False, None, IMAGES)
    assert isinstance(found[tree], InputError)
    assert "-r takes" in str(found[tree])
    assert found[tree / "b.png"] is None


def test_links_to_files_are_followed_and_links_to_folders_are_not(tree: Path) -> None:
    (tree / "link.png").symlink_to("text.txt")
    (tree / "around").symlink_to(tree)
    assert names(tree, IMAGES) == ["a.PNG", "b.png", "link.png", "below/c.ppm"]
    assert len(find([tree / "around"], True, None, IMAGES)) == 4  # a link that is named


def test_a_pipe_or_a_device_is_not_waited_for(tree: Path) -> None:
    os.mkfifo(tree / "fifo.png")
    for found in (find([tree / "fifo.png"], False, None, IMAGES), find([tree], True, None, IMAGES)):
        assert "device or a pipe" in str(found[tree / "fifo.png"])


def test_every_file_comes_once(tree: Path) -> None:
    found = find([tree / "b.png", tree, tree / "b.png"], True, None, IMAGES)
    assert [path.name for path in found] == ["b.png", "a.PNG", "c.ppm"]


def test_a_missing_file_is_left_to_its_reader(tmp_path: Path) -> None:
    assert find([tmp_path / "none"], False, None, IMAGES) == {tmp_path / "none": None}


@given(st.lists(NAMES, max_size=8), st.booleans())
def test_a_list_gives_names_of_any_bytes(
    tmp_path_factory: pytest.TempPathFactory, given_names: list[bytes], nul: bool
) -> None:
    listing = tmp_path_factory.mktemp("list") / "names"
    listing.write_bytes(b"".join(name + (b"\0" if nul else b"\n") for name in given_names))
    found = [os.fsencode(path.name) for path in read_names(listing)]
    # A path knows no name "." in the end, as in every program.
    assert found == [b"" if name == b"." else name for name in given_names]


def test_a_file_that_is_called_minus_is_no_pipe(tmp_path: Path) -> None:
    listing = tmp_path / "names"
    listing.write_bytes(b"-\n./-\n")
    assert PIPE not in read_names(listing)
    assert {path.name for path in read_names(listing)} == {"-"}


def test_standard_input_comes_alone(tree: Path) -> None:
    with pytest.raises(UsageError, match="only input"):
        find([PIPE, tree / "b.png"], False, None, IMAGES)
    with pytest.raises(UsageError, match="only input"):
        find([PIPE], False, tree / "text.txt", IMAGES)


def test_a_missing_list_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none"):
        find([], False, tmp_path / "none", IMAGES)


def test_what_help_says_without_numpy_is_what_the_codec_does() -> None:
    assert image_files.MAX_PIXELS == MAX_PIXELS
    assert {f".{name}" for name in FORMATS} <= set(image_files.WRITABLE)


def test_suffixes_that_pillow_writes_are_known_without_pillow() -> None:
    ours = {".png", ".ppm", ".pgm", ".pbm"}
    assert set(image_files.WRITABLE) - ours == set(pillow_formats.WRITABLE)

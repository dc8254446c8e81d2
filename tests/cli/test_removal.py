"""--rm removes the file that was read, and no other, once its output is on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from ncml_cli.zip import batch, decompression, jobs
from ncml_cli.zip.ncmlzip import main
from ncml_codec import atomic_files
from ncml_codec.errors import InputError
from ncml_codec.picture import row_readers
from tests.builders.pictures import GOLDEN, valley

TINY = str(GOLDEN / "tiny.ncpn")
COMMANDS = ("compress", "decompress", "compress a JPEG file", "decompress a JPEG file")


def ncmlzip(command: str, *arguments: object) -> Result:
    return CliRunner().invoke(main, [command.split()[0], "-m", TINY, *map(str, arguments)])


def source_of(command: str, folder: Path) -> tuple[Path, Path]:
    """An input of the command in a folder of its own, and the output's name."""
    image = folder / ("a.jpg" if command.endswith("JPEG file") else "a.png")
    packed = image.with_name(f"{image.name}.ncmz")
    Image.fromarray(valley(90, 90, 24, 31)).save(image)
    if command.startswith("compress"):
        return image, packed
    assert ncmlzip("compress", "--rm", image).exit_code == 0
    return packed, image


def replaced(path: Path) -> None:
    """Another program saves the file: a new one is moved over it."""
    new = path.with_name("new")
    new.write_bytes(path.read_bytes()[::-1])
    new.rename(path)


def written_into(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")


def written_into_without_a_trace(path: Path) -> None:
    """Within the resolution of the clock: size and times are as they were."""
    before = path.stat()
    written_into(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def grown(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


CHANGES = (replaced, written_into, written_into_without_a_trace, grown)
Change = Callable[[Path], None]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("change", CHANGES)
def test_an_input_that_changes_while_its_output_is_made_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, change: Change
) -> None:
    source, target = source_of(command, tmp_path)
    now = b""

    def write(*arguments: object, **options: object) -> object:
        nonlocal now
        change(source)
        now = source.read_bytes()
        return atomic_files.write_atomically(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(jobs, "write_atomically", write)
    result = ncmlzip(command, "--rm", source)
    assert result.exit_code == 1
    assert f"{source}: changed since it was read" in result.stderr
    assert source.read_bytes() == now
    assert sorted(os.listdir(tmp_path)) == sorted([source.name, target.name])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("change", CHANGES)
def test_an_input_that_changes_at_its_removal_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, change: Change
) -> None:
    source, target = source_of(command, tmp_path)
    rename, now = os.rename, b""

    def late(one: Path, other: Path) -> None:
        nonlocal now
        if one == source:
            monkeypatch.setattr(os, "rename", rename)
            change(source)
            now = source.read_bytes()
        rename(one, other)

    monkeypatch.setattr(os, "rename", late)
    result = ncmlzip(command, "--rm", source)
    assert result.exit_code == 1
    assert "changed since it was read" in result.stderr
    assert source.read_bytes() == now != b""
    assert sorted(os.listdir(tmp_path)) == sorted([source.name, target.name])


def test_an_input_is_put_back_over_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = source_of("compress", tmp_path)
    rename = os.rename

    def late(one: Path, other: Path) -> None:
        rename(one, other)
        if one == source:
            written_into(other)
            source.write_bytes(b"the third")

    monkeypatch.setattr(os, "rename", late)
    result = ncmlzip("compress", "--rm", source)
    assert result.exit_code == 1
    (aside,) = tmp_path.glob(".a.png.ncml-*.aside")
    assert str(aside) in result.stderr
    assert aside.read_bytes().startswith(b"other")
    assert source.read_bytes() == b"the third"


@pytest.mark.parametrize("links", [True, False])
def test_an_interrupted_removal_puts_the_input_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    source, target = source_of("compress", tmp_path)
    before, unlink = source.read_bytes(), os.unlink

    def interrupted(path: str | Path) -> None:
        if str(path).endswith(".aside"):
            monkeypatch.setattr(os, "unlink", unlink)
            raise KeyboardInterrupt
        unlink(path)

    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "unlink", interrupted)
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    assert ncmlzip("compress", "--rm", source).exit_code == 130
    assert source.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == [source.name, target.name]


def test_an_input_that_a_killed_call_moved_aside_is_named(tmp_path: Path) -> None:
    source, _ = source_of("compress", tmp_path)
    aside = tmp_path / ".a.png.ncml-0123456789abcdef.aside"
    source.rename(aside)
    result = ncmlzip("compress", source)
    assert result.exit_code == 1
    assert str(aside) in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_hard_links_are_names_of_one_file_and_each_is_removed_after_its_output(
    tmp_path: Path, command: str
) -> None:
    source, target = source_of(command, tmp_path)
    other = tmp_path / source.name.replace("a.", "b.", 1)
    other_target = tmp_path / target.name.replace("a.", "b.", 1)
    third = tmp_path / "third name"
    for name in (other, third):
        os.link(source, name)
    before = source.read_bytes()
    assert ncmlzip(command, "--rm", source, other).exit_code == 0
    assert sorted(os.listdir(tmp_path)) == sorted([target.name, other_target.name, third.name])
    assert target.read_bytes() == other_target.read_bytes()
    assert third.read_bytes() == before


@pytest.mark.parametrize("whole", [True, False])
def test_a_hard_link_that_goes_meanwhile_hides_no_change(tmp_path: Path, whole: bool) -> None:
    """A removed name changes the ctime, which alone would show that bytes were written into."""
    source, other, output = (tmp_path / name for name in ("a.png", "b.png", "a.png.ncmz"))
    source.write_bytes(b"image")
    os.link(source, other)
    with atomic_files.InputFile(source) as file:
        data = file.read()
        state = atomic_files.FileState(file.status, file.state.sha256 if whole else None)
    written = atomic_files.write_atomically(output, data, replace=False)
    written_into_without_a_trace(source)
    other.unlink()
    reason = "changed since it was read" if whole else r"another name of this file \(a hard link\)"
    with pytest.raises(InputError, match=f"{source}: {reason}"):
        atomic_files.remove(source, state, output, written)
    assert source.read_bytes() == b"other"
    assert sorted(os.listdir(tmp_path)) == ["a.png", "a.png.ncmz"]


def test_names_of_any_length_are_moved_aside(tmp_path: Path) -> None:
    image, _ = source_of("compress", tmp_path)
    source = image.rename(tmp_path / ("ü" * 120 + ".png"))
    assert ncmlzip("compress", "--rm", source).exit_code == 0
    assert os.listdir(tmp_path) == [source.name + ".ncmz"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_an_input_stays_unless_the_written_output_is_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, streamed: bool, late: bool
) -> None:
    """Another file with the same bytes is not the file that was written and read back."""
    source, target = source_of(command, tmp_path)
    before, rename = source.read_bytes(), os.rename
    if streamed:
        monkeypatch.setattr(row_readers, "WHOLE", 0)
        monkeypatch.setattr(decompression, "SMALL", 0)
        monkeypatch.setattr(batch, "SMALL", 0)

    def exchange() -> None:
        new = tmp_path / "new"
        new.write_bytes(target.read_bytes())
        os.replace(new, target)

    def remove(*arguments: object) -> None:
        if not late:
            exchange()
        atomic_files.remove(*arguments)  # type: ignore[arg-type]

    def move(one: Path, other: Path) -> None:
        if late and one == source:
            exchange()
        rename(one, other)

    monkeypatch.setattr(jobs, "remove", remove)
    monkeypatch.setattr(os, "rename", move)
    result = ncmlzip(command, "--rm", source)
    assert result.exit_code == 1
    assert f"{target}: " in result.stderr
    assert f"{source} is kept" in result.stderr
    assert source.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == sorted([source.name, target.name])


@pytest.mark.parametrize("suffix", [".png", ".ppm"])
def test_a_large_image_is_read_from_one_file_whatever_becomes_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(row_readers, "WHOLE", 0)
    path, samples = tmp_path / f"a{suffix}", valley(90, 90, 24, 31)
    Image.fromarray(samples).save(path)
    with atomic_files.InputFile(path) as file:
        source = row_readers.open_image(file)
        first = source.rows(0, 8).copy()
        replaced(path)
        assert np.array_equal(np.concatenate([first, source.rows(8, 24)]), samples)
        assert np.array_equal(source.whole().samples, samples)

"""Files: the old one, none, or the new one; never half of one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ncml_codec.atomic_files import read_file, write_atomically
from ncml_codec.errors import InputError, OutputError
from ncml_codec.picture.row_readers import open_image


def test_a_new_file_is_written_with_the_usual_mode(tmp_path: Path) -> None:
    target = tmp_path / "new"
    write_atomically(target, b"data", replace=False)
    (tmp_path / "plain").write_bytes(b"")
    assert target.read_bytes() == b"data"
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert sorted(os.listdir(tmp_path)) == ["new", "plain"]


def test_an_existing_file_stays_without_replace(tmp_path: Path) -> None:
    target = tmp_path / "old"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists"):
        write_atomically(target, b"new", replace=False)
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["old"]


def test_a_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    target = tmp_path / "old"
    target.write_bytes(b"old")
    target.chmod(0o600)
    write_atomically(target, b"new", replace=True)
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", b"new", replace=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_failed_write_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "old"
    target.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space"):
        write_atomically(target, b"new", replace=True)
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["old"]


def test_missing_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        write_atomically(tmp_path / "none" / "x", b"", replace=True)
    with pytest.raises(InputError, match="none"):
        read_file(tmp_path / "none")
    with pytest.raises(InputError, match="directory"):
        read_file(tmp_path)


def test_permissions_and_times_are_taken_from_the_original(tmp_path: Path) -> None:
    original, target = tmp_path / "original", tmp_path / "new"
    original.write_bytes(b"original")
    original.chmod(0o4750)
    os.utime(original, ns=(1_000_000_123, 2_000_000_456))
    (tmp_path / "link").symlink_to(original)
    for replace in (False, True):
        if replace:
            target.chmod(0o600)
        write_atomically(target, b"new", replace=replace, like=os.stat(tmp_path / "link"))
        status = target.stat()
        assert stat.S_IMODE(status.st_mode) == 0o750  # whose program it is does not carry over
        assert (status.st_atime_ns, status.st_mtime_ns) == (1_000_000_123, 2_000_000_456)


def test_a_device_a_pipe_or_a_folder_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "null").symlink_to("/dev/null")
    for name in ("pipe", "folder", "null"):
        with pytest.raises(OutputError, match=f"{name}: is a"):
            write_atomically(tmp_path / name, b"new", replace=True)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["folder", "null", "pipe"]


def test_pipes_and_devices_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it: opening it would wait for ever
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(InputError, match="a device or a pipe"):
            read_file(path)
        with pytest.raises(InputError, match="a device or a pipe"):
            open_image(path)

"""A file system that takes names for one which differ in case: NTFS, where it can be mounted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from ncml_cli.zip.ncmlzip import main
from tests.builders.pictures import GOLDEN, valley


def ncmlzip(command: str, *arguments: object) -> Result:
    return CliRunner().invoke(
        main, [command, "-m", str(GOLDEN / "tiny.ncpn"), *map(str, arguments)]
    )


@pytest.fixture
def caseless(tmp_path: Path) -> Iterator[Path]:
    """The root of a new file system. It needs ntfs-3g, FUSE and the right to mount."""
    disk, root = tmp_path / "disk", tmp_path / "root"
    root.mkdir()
    with disk.open("wb") as file:
        file.truncate(16 << 20)
    for command in (
        ["mkfs.ntfs", "-q", "-F", "-f", str(disk)],
        ["lowntfs-3g", str(disk), str(root), "-o", "ignore_case"],
    ):
        try:
            if subprocess.run(command, capture_output=True).returncode:
                pytest.skip(f"{command[0]} fails here")
        except FileNotFoundError:
            pytest.skip(f"there is no {command[0]}")
    yield root
    subprocess.run(["umount", root], check=True)


def test_names_that_differ_in_case_are_one_file_in_every_plan(caseless: Path) -> None:
    for folder, top in (("p", 0), ("q", 40)):
        (caseless / folder).mkdir()
        Image.fromarray(valley(top, 0, 24, 31)).save(caseless / folder / "a.png")
    (caseless / "out").mkdir()
    one, other = caseless / "p" / "a.png", caseless / "q" / "A.PNG"
    assert other.exists()
    before = [one.read_bytes(), other.read_bytes()]
    Image.fromarray(valley(80, 0, 24, 31)).save(caseless / "P" / "A.PNG.NCMZ", "PNG")
    for arguments in (
        ("-O", caseless / "out", one, other),  # two outputs
        (one, caseless / "p" / "A.png"),  # one input twice
        ("-f", one, caseless / "p" / "A.PNG.NCMZ"),  # an output that is an input
    ):
        result = ncmlzip("compress", "--rm", *arguments)
        assert result.exit_code == 2, result.output
    assert ncmlzip("compress", "-f", "-o", caseless / "P" / "A.PNG", one).exit_code == 1
    assert "exists already" in ncmlzip("compress", one).stderr
    assert [one.read_bytes(), other.read_bytes()] == before
    assert os.listdir(caseless / "out") == []


def test_an_input_is_moved_aside_and_removed(caseless: Path) -> None:
    Image.fromarray(valley(0, 0, 24, 31)).save(caseless / "a.png")
    assert ncmlzip("compress", "--rm", caseless / "A.PNG").exit_code == 0
    assert [name.lower() for name in os.listdir(caseless)] == ["a.png.ncmz"]
    assert ncmlzip("decompress", "--rm", caseless / "a.png.ncmz").exit_code == 0
    assert len(os.listdir(caseless)) == 1
    with Image.open(caseless / "a.png") as image:
        assert (valley(0, 0, 24, 31) == image).all()

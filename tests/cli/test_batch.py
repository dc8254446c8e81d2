"""Many files at once: the same files, messages and exit codes as one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ncml_cli.zip import batch
from ncml_cli.zip.ncmlzip import main
from tests.builders.pictures import GOLDEN, valley

TINY = str(GOLDEN / "tiny.ncpn")


def ncmlzip(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Ten small images, one that is none, one that is missing."""
    paths = [tmp_path / f"{index}.png" for index in range(12)]
    for index, path in enumerate(paths[:10]):
        Image.fromarray(valley(20 * index, 10, 18, 5 + index)).save(path)
    paths[10].write_bytes(b"no image")
    return paths


@pytest.fixture
def in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes are worth their start for any image, and one of the images counts as large."""
    monkeypatch.setattr(batch, "WORTH", 1)
    monkeypatch.setattr(batch, "SMALL", 18 * 13)


def results(photos: list[Path], *threads: object) -> tuple[list[tuple[int, str]], dict[str, bytes]]:
    """Exit codes and messages of compress, test, decompress, and all files then."""
    folder = photos[0].parent
    packed = [f"{photo}.ncmz" for photo in photos]
    common = ["-m", TINY, "--threads", *threads]
    found = [ncmlzip("compress", *common, *photos), ncmlzip("test", *common, *packed)]
    for photo in photos:
        photo.unlink(missing_ok=True)
    found.append(ncmlzip("decompress", "--rm", *common, *packed))
    assert all(result.stdout == "" for result in found)
    said = [(result.exit_code, result.stderr) for result in found]
    return said, {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [[], ["-j", 3]])
def test_processes_change_neither_files_nor_messages(
    photos: list[Path], in_processes: None, tmp_path: Path, at_once: list[object]
) -> None:
    originals = {photo: photo.read_bytes() for photo in photos[:11]}
    alone = results(photos, 1)
    for path in tmp_path.iterdir():
        path.unlink()
    for photo, data in originals.items():
        photo.write_bytes(data)
    together = results(photos, 2, *at_once)
    assert together == alone
    assert [code for code, _ in alone[0]] == [1, 1, 1]
    assert sorted(alone[1]) == sorted(f"{index}.png" for index in range(10))


def test_messages_come_in_the_order_of_the_files(photos: list[Path]) -> None:
    lines = ncmlzip("compress", "-m", TINY, *photos[::-1]).stderr.splitlines()
    assert ["11.png" in lines[0], "10.png" in lines[1]] == [True, True]
    assert [Path(line.split()[0]).stem for line in lines[2:-1]] == [
        str(n) for n in range(9, -1, -1)
    ]


@given(st.lists(st.integers(1, batch.SMALL), max_size=40), st.integers(1, 64))
def test_processes_are_begun_only_for_work(sizes: list[int], threads: int) -> None:
    count = batch.workers(sizes, threads)
    assert 1 <= count <= threads
    assert count == 1 or count <= len(sizes)


def test_a_thousand_small_images_use_all_threads() -> None:
    assert batch.workers([32 * 32] * 1000, 8) == 8
    assert batch.workers([32 * 32] * 20, 8) == 1
    assert batch.workers([768 * 512] * 24, 8) == 8

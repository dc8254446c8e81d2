"""Kills, full disks, folders that refuse, odd names: nothing is lost, nothing half written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.builders.pictures import GOLDEN, ROOT, valley

SAMPLES = valley(90, 90, 24, 31)
TINY = str(GOLDEN / "tiny.ncpn")


def tool(
    *arguments: object, before: str = "", prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """ncmlzip in a process of its own, with the tiny model. before: Python that runs first."""
    command, *rest = map(os.fsencode, map(str, arguments))
    script = f"{before}\nfrom ncml_cli.zip.ncmlzip import main\nmain()"
    call = [*prefix, sys.executable, "-c", script, command, "-m", TINY, *rest]
    return subprocess.run(call, capture_output=True, text=True, timeout=120)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with one image."""
    with tempfile.TemporaryDirectory() as name:
        Image.fromarray(SAMPLES).save(Path(name, "a.png"))
        yield Path(name)
        os.chmod(name, 0o755)


def only_the_input(folder: Path) -> bool:
    with Image.open(folder / "a.png") as image:
        return os.listdir(folder) == ["a.png"] and np.array_equal(np.asarray(image), SAMPLES)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_kills_lose_nothing() -> None:
    call = [sys.executable, "-m", "tests.programs.faults", "--kills", "12", "--batches", "2"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    survived = re.search(r"nothing lost in (\d+) \+ 12 kills", done.stdout)
    assert survived, done.stdout
    assert int(survived[1]) > 100
    for state in ("before", "after", "aside", "removed"):
        assert f"'{state}'" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_batches_with_rm_that_are_killed_at_random_moments_lose_nothing() -> None:
    call = [sys.executable, "-m", "tests.programs.faults", "--kills", "0", "--batches", "60"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    for state in ("before", "removed"):
        assert f"'{state}'" in done.stdout


def test_a_file_that_may_not_grow_is_not_written(folder: Path) -> None:
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))"
    for command, source in (("compress", "a.png"), ("decompress", "a.png.ncmz")):
        done = tool(command, folder / source, before=limit)
        assert done.returncode == 1
        assert "File too large" in done.stderr
        assert os.listdir(folder) == [source]
        tool("compress", "--rm", folder / "a.png")


def test_a_full_disk_loses_nothing(folder: Path) -> None:
    small, missing = tempfile.mkdtemp(), "no file system may be mounted here"
    try:
        mount = f"mount -t tmpfs -o size=8k none {small}"
        # In a mount namespace of its own, which ends with the process.
        unshared = ["unshare", "--mount", "sh", "-c"]
        try:
            if subprocess.run([*unshared, mount], capture_output=True).returncode:
                pytest.skip(missing)
        except FileNotFoundError:
            pytest.skip(missing)
        fill = f"{mount} && head -c 8000 /dev/zero > {small}/full; "
        prefix = [*unshared, fill + '"$@"; code=$?; ls -A ' + small + "; exit $code", "sh"]
        done = tool("compress", "--rm", "-O", small, folder / "a.png", prefix=prefix)
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert done.stdout.split() == ["full"]
        assert only_the_input(folder)
    finally:
        os.rmdir(small)


def test_a_folder_that_may_not_be_written_is_named(folder: Path) -> None:
    os.chmod(folder, 0o555)
    done = tool("compress", "--rm", folder / "a.png", prefix=bound_by_permissions())
    assert done.returncode == 1
    assert "Permission denied" in done.stderr
    assert only_the_input(folder)


def test_an_input_that_cannot_be_removed_stays_beside_its_output(folder: Path) -> None:
    out = folder / "out"
    out.mkdir()
    os.chmod(folder, 0o555)
    call = ("compress", "--rm", "-O", out, folder / "a.png")
    done = tool(*call, prefix=bound_by_permissions())
    assert done.returncode == 1
    assert "cannot be removed" in done.stderr
    assert (folder / "a.png").exists()
    assert tool("test", out / "a.png.ncmz").returncode == 0


def test_an_unreadable_input_is_named(folder: Path) -> None:
    (folder / "a.png").chmod(0)
    done = tool("compress", folder / "a.png", prefix=bound_by_permissions())
    assert done.returncode == 1
    assert "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_read_only_file_system_is_named(folder: Path) -> None:
    mount = f"mount --bind -o ro {folder} {folder}"
    if subprocess.run(["unshare", "--mount", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("no folder may be mounted read-only here")
    prefix = ["unshare", "--mount", "sh", "-c", mount + ' && "$@"', "sh"]
    done = tool("compress", "--rm", folder / "a.png", prefix=prefix)
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr
    assert only_the_input(folder)


def test_symbolic_links_are_read_through_and_only_links_are_removed(folder: Path) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    os.rename(folder / "a.png", elsewhere / "real.png")
    (folder / "a.png").symlink_to(elsewhere / "real.png")
    done = tool("compress", "--rm", folder / "a.png")
    assert done.returncode == 0, done.stderr
    assert (elsewhere / "real.png").exists()
    assert sorted(os.listdir(folder)) == ["a.png.ncmz", "elsewhere"]
    assert tool("test", folder / "a.png.ncmz").returncode == 0


def test_links_that_lead_nowhere_are_named(folder: Path) -> None:
    (folder / "broken.png").symlink_to(folder / "nothing")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    done = tool("compress", folder / "broken.png", folder / "loop.png")
    assert done.returncode == 1
    assert done.stderr.count("ncmlzip: ") == 2
    assert "Traceback" not in done.stderr
    assert sorted(os.listdir(folder)) == ["a.png", "broken.png", "loop.png"]


@pytest.mark.parametrize("name", [b"\xff\xfe\x80.png", b" -rm \n'\"$x.png", "ü ñ 像.png".encode()])
def test_names_are_any_bytes(folder: Path, name: bytes) -> None:
    source = os.path.join(os.fsencode(folder), name)
    try:
        os.rename(os.fsencode(folder / "a.png"), source)
    except OSError:
        pytest.skip("this file system has no such names")
    path = os.fsdecode(source)
    done = tool("compress", "--rm", path)
    assert done.returncode == 0, done.stderr
    assert os.listdir(os.fsencode(folder)) == [name + b".ncmz"]
    assert tool("test", path + ".ncmz").returncode == 0
    done = tool("decompress", "--rm", path + ".ncmz")
    assert done.returncode == 0, done.stderr
    assert os.listdir(os.fsencode(folder)) == [name]


@pytest.mark.parametrize("force", [False, True])
def test_two_processes_on_one_output_leave_one_whole_file(folder: Path, force: bool) -> None:
    source, target = folder / "a.png", folder / "out.ncmz"
    script = "from ncml_cli.zip.ncmlzip import main\nmain()"
    more = ["-f"] if force else []
    call = [sys.executable, "-c", script, "compress", "-m", TINY, *more, str(source), "-o", target]
    processes = [subprocess.Popen(call, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    ends = [(process.communicate()[1], process.returncode) for process in processes]
    codes = sorted(code for _, code in ends)
    assert codes == ([0, 0, 0, 0] if force else [0, 1, 1, 1]), ends
    assert all("exists already" in said for said, code in ends if code)
    assert sorted(os.listdir(folder)) == ["a.png", "out.ncmz"]
    assert tool("test", target).returncode == 0


def test_a_file_that_changes_while_it_is_read_is_not_trusted(folder: Path) -> None:
    # Larger than what is read whole: its rows are read once to be coded and again to be checked.
    change = (
        "import ncml_codec.picture.row_readers as readers\n"
        "import ncml_codec.encode.image_encoder as images, sys\n"
        "readers.WHOLE = 0\n"
        "verify = images.verify\n"
        "def changed(data, picture, *rest):\n"
        "    with open(sys.argv[-1], 'r+b') as file:\n"
        "        file.seek(-5, 2); file.write(b'\\0\\1\\2')\n"
        "    return verify(data, picture, *rest)\n"
        "images.verify = changed"
    )
    Image.fromarray(SAMPLES).save(folder / "b.ppm")
    done = tool("compress", "--rm", folder / "b.ppm", before=change)
    assert done.returncode == 1
    assert "b.ppm: was written into while it was read" in done.stderr
    assert sorted(os.listdir(folder)) == ["a.png", "b.ppm"]


def bound_by_permissions() -> list[str]:
    """What stands before a command so that permissions bind it: they do not bind root."""
    if not hasattr(os, "getuid"):
        pytest.skip("no users as Unix has them")
    if os.getuid():
        return []
    prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"]
    try:
        if subprocess.run([*prefix, "true"], capture_output=True).returncode:
            pytest.skip("root's rights cannot be given up here")
    except FileNotFoundError:
        pytest.skip("no setpriv, and permissions do not bind root")
    return prefix

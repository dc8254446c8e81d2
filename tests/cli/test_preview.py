"""Previews by the command line, and the files by which desktops show them."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ncml_codec
from ncml_cli import desktop
from tests.builders.commands import compress, ncmlzip
from tests.builders.pictures import VALLEY, valley

FILE_SIDE = 128


@pytest.fixture(scope="module")
def holding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a preview."""
    source = tmp_path_factory.mktemp("preview") / "a.png"
    Image.fromarray(valley(0, 0, 200, 300)).save(source)
    assert compress(source, "-1", "--preview", FILE_SIDE).exit_code == 0
    return source.with_name("a.png.ncmz")


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file without one."""
    path = tmp_path_factory.mktemp("without") / "b.ncmz"
    path.write_bytes(ncml_codec.compress(valley(0, 0, 80, 160), level=1))
    return path


def test_it_is_written_as_it_is_held(holding: Path, tmp_path: Path) -> None:
    out = tmp_path / "no suffix"
    assert ncmlzip("preview", holding, "-o", out, "--stored").exit_code == 0
    held = ncml_codec.preview(holding)
    assert held is not None
    with Image.open(out) as found:
        assert found.format == "PNG"
        assert np.array_equal(np.asarray(found), np.asarray(held))
    before = np.asarray(Image.fromarray(valley(0, 0, 200, 300)).resize(held.size), float)
    assert np.abs(np.asarray(held, float) - before).mean() < 12


def test_a_file_without_one_is_decoded_for_it(without: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.png"
    assert ncmlzip("preview", without, "-o", out, "-s", 64).exit_code == 0
    with Image.open(out) as found:
        assert found.size == (64, 32)
    refused = ncmlzip("preview", without, "-o", out, "--stored", "-f")
    assert refused.exit_code == 1
    assert "no preview" in refused.stderr
    limited = ncmlzip("preview", without, "-o", out, "--max-pixels", 100, "-f")
    assert limited.exit_code == 1
    assert "limit" in limited.stderr


def test_size_makes_it_smaller_and_never_larger(holding: Path, tmp_path: Path) -> None:
    for size, longest in ((32, 32), (1024, FILE_SIDE)):
        out = tmp_path / f"{size}.png"
        assert ncmlzip("preview", holding, "-o", out, "-s", size).exit_code == 0
        with Image.open(out) as found:
            assert max(found.size) <= longest


def test_it_goes_to_standard_output(holding: Path) -> None:
    done = ncmlzip("preview", holding, "-o", "-")
    with Image.open(io.BytesIO(done.stdout_bytes)) as found:
        assert found.format == "PNG"


def test_no_file_is_written_over(holding: Path, tmp_path: Path) -> None:
    before, other = holding.read_bytes(), tmp_path / "other.png"
    assert ncmlzip("preview", holding, "-o", holding, "-f").exit_code == 2
    other.write_bytes(b"mine")
    assert ncmlzip("preview", holding, "-o", other).exit_code == 1
    assert holding.read_bytes() == before
    assert other.read_bytes() == b"mine"


@pytest.mark.parametrize("content", [b"", b"PNG", b"\x89NCZ\x03", None])
def test_what_is_no_file_of_ours_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "x.ncmz"
    if content is not None:
        path.write_bytes(content)
    done = ncmlzip("preview", path, "-o", tmp_path / "out.png")
    assert done.exit_code in (1, 4)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.png").exists()


def test_compress_asks_for_one(tmp_path: Path) -> None:
    for word in ("31", "1025", "big", "-1", "1e2"):
        refused = compress(VALLEY, "-o", tmp_path / "x", f"--preview={word}")
        assert refused.exit_code == 2, word
    assert compress(VALLEY, "-1", "-o", tmp_path / "x", "--preview", "none").exit_code == 0
    assert ncml_codec.preview(tmp_path / "x") is None


def test_info_names_it(holding: Path) -> None:
    assert "preview:" in ncmlzip("info", holding).stdout


needs_mime_tools = pytest.mark.skipif(
    shutil.which("update-mime-database") is None or shutil.which("gio") is None,
    reason="update-mime-database and gio are not here",
)


@needs_mime_tools
def test_desktops_know_the_type_by_name_and_by_content(holding: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "HOME": str(tmp_path)}
    tool = [sys.executable, "-m", "ncml_cli.zip.ncmlzip"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def integrate(*options: str) -> None:
        command = [*tool, "integrate", *options]
        subprocess.run(command, env={**environment, "PATH": path}, check=True, timeout=60)

    def type_of(file: Path) -> str:
        command = ["gio", "info", "-a", "standard::content-type", str(file)]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    unnamed = tmp_path / "unnamed"
    unnamed.write_bytes(holding.read_bytes())
    integrate()
    assert "image/x-ncmz" in type_of(holding)
    assert "image/x-ncmz" in type_of(unnamed)
    entry = (tmp_path / "thumbnailers" / desktop.THUMBNAILER).read_text()
    started = entry.split("Exec=")[2].split()[0]
    assert Path(started).is_absolute()
    integrate("--remove")
    assert "image/x-ncmz" not in type_of(unnamed)
    assert not (tmp_path / "thumbnailers" / desktop.THUMBNAILER).exists()


def test_the_thumbnailer_does_as_desktops_ask(holding: Path, without: Path, tmp_path: Path) -> None:
    entry = (desktop.FOLDER / desktop.THUMBNAILER).read_text()
    (line,) = [row for row in entry.splitlines() if row.startswith("Exec=")]
    for source in (holding, without):
        out = tmp_path / "made"
        out.touch()  # desktops make the file first, and read it by the name or as it was opened
        words = line.removeprefix("Exec=ncmlzip ").split()
        values = {"%s": "64", "%o": str(out), "%i": str(source)}
        with out.open("rb") as opened:
            assert ncmlzip(*(values.get(word, word) for word in words)).exit_code == 0
            with Image.open(opened) as found:
                assert found.format == "PNG"
                assert max(found.size) == 64


TUMBLER = sorted(Path("/usr/lib").glob("*/tumbler-1/tumblerd"))
# Starts the daemon and asks it, as a file manager does, for the thumbnail of $1; waits for it.
ASKED = f"""
{TUMBLER[0] if TUMBLER else ""} &
gdbus wait --session --timeout 30 org.freedesktop.thumbnails.Thumbnailer1
gdbus call --session --dest org.freedesktop.thumbnails.Thumbnailer1 \\
  --object-path /org/freedesktop/thumbnails/Thumbnailer1 \\
  --method org.freedesktop.thumbnails.Thumbnailer1.Queue \\
  "['file://$1']" "['image/x-ncmz']" normal default 0
for second in $(seq 30); do
  [ -z "$(find "$XDG_CACHE_HOME" -name '*.png')" ] || break
  sleep 1
done
sleep 1
"""


@pytest.mark.slow
@pytest.mark.skipif(not TUMBLER or not shutil.which("dbus-run-session"), reason="no tumbler")
def test_tumbler_shows_it(holding: Path, tmp_path: Path) -> None:
    tools = Path(sys.executable).parent
    environment = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "share"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }
    (tmp_path / "cache").mkdir()
    subprocess.run([tools / "ncmlzip", "integrate"], env=environment, check=True, timeout=60)
    command = ["dbus-run-session", "--", "sh", "-c", ASKED, "sh", str(holding)]
    subprocess.run(command, env=environment, check=True, timeout=120, capture_output=True)
    (made,) = (tmp_path / "cache").rglob("*.png")
    held = ncml_codec.preview(holding)
    assert held is not None
    with Image.open(made) as found:
        assert found.size == held.size
        shown = np.asarray(found.convert("RGB"), float)
    assert np.abs(shown - np.asarray(held, float)).max() <= 1

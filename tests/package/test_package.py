"""The package as installed: its front door, and a wheel that works elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import ncml_codec
from ncml_codec.errors import UnsupportedImage
from tests.builders.pictures import GOLDEN, ROOT, VALLEY, valley


@pytest.mark.parametrize("planes", [1, 3])
def test_pixels_come_back(planes: int) -> None:
    pixels = valley(10, 10, 12, 9)
    pixels = pixels[:, :, 0] if planes == 1 else pixels
    for model in (None, str(GOLDEN / "tiny.ncpn")):
        data = ncml_codec.compress(pixels, model)
        assert np.array_equal(ncml_codec.decompress(data, model), pixels)


def test_other_arrays_are_refused() -> None:
    with pytest.raises(UnsupportedImage, match="float64"):
        ncml_codec.compress(np.zeros((3, 3)))


@pytest.mark.slow
def test_a_wheel_works_in_a_fresh_environment(tmp_path: Path) -> None:
    root, wheels, home = ROOT, tmp_path / "wheels", tmp_path / "venv"
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(wheels)]
    source = tmp_path / "source"
    ignored = ("*.egg-info", "build", ".git", ".venv", "__pycache__")
    import shutil

    shutil.copytree(root, source, ignore=shutil.ignore_patterns(*ignored))
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    python = home / "bin" / "python"
    (wheel,) = wheels.glob("*.whl")
    install = [str(python), "-m", "pip", "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    # Dependencies from this environment, after the fresh one's own packages.
    packages = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    shared = "\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    Path(packages, "zz-dependencies.pth").write_text(shared + "\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    tool = home / "bin" / "ncmlzip"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    run = {"cwd": elsewhere, "check": True, "env": environment}
    crop = elsewhere / "valley.png"
    from PIL import Image

    Image.fromarray(valley(0, 0, 30, 40)).save(crop)
    subprocess.run([str(tool), "compress", "valley.png"], **run)
    crop.unlink()
    subprocess.run([str(tool), "decompress", "valley.png.ncmz"], **run)
    with Image.open(crop) as image:
        assert np.array_equal(np.asarray(image), valley(0, 0, 30, 40))
    where = "import ncml_codec, ncpn; print(ncml_codec.__file__, ncpn.__file__)"
    found = subprocess.run([str(python), "-c", where], capture_output=True, text=True, **run)
    assert found.stdout.count(str(home)) == 2
    assert VALLEY.exists()

"""Where training blocks come from: JPEG files, and other images that Pillow makes JPEG files of."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ncml_codec.atomic_files import translated
from ncml_codec.errors import InputError, NcmlError
from ncml_codec.jpeg import Jpeg, read
from ncml_codec.learn.data.crops import left_out

KIND = "jpeg:"  # before a folder of JPEG files, or of images to make them from
_SUFFIXES = (".jpg", ".jpeg")
_IMAGES = (".png", ".webp", ".tif", ".tiff")
_MAX_BYTES = 1 << 26

# Seen often: what cameras, editors and web services use. Repeated ones are drawn more often.
_QUALITIES = (50, 60, 70, 75, 75, 80, 85, 88, 90, 92, 93, 95, 96, 97, 98)
_SAMPLINGS = (2, 2, 2, 1, 0)  # Pillow's numbers: 4:2:0, 4:2:2, 4:4:4
_LEAST_SCALE = 0.5


def files(
    folders: Sequence[str], copies: int, seed: int, say: Callable[[str], None]
) -> Iterator[tuple[str, Jpeg]]:
    """Name and coefficients of every JPEG file in the folders, and of those made of other images.

    folders: with or without `jpeg:` before them. copies: JPEG files made of each other image, each
    of a quality, sampling and scale of its own; the first keeps its size. say: told at the end
    which files were left out, since they cannot be read. Raises InputError if there is nothing
    else.
    """
    random = np.random.default_rng(seed)
    count, unreadable = 0, list[Path]()
    for folder in folders:
        for path in sorted(Path(folder.removeprefix(KIND)).glob("*")):
            suffix = path.suffix.lower()
            try:
                if suffix in _SUFFIXES:
                    found = [(path.name, _read(path))]
                elif suffix in _IMAGES:
                    found = _made_of(path, copies, random)
                else:
                    continue
            except InputError:
                unreadable.append(path)
                continue
            yield from found
            count += 1
    names = ", ".join(folders)
    if not count:
        raise InputError(f"{names}: no JPEG file or image{left_out(unreadable)}")
    if unreadable:
        say(f"{names}: {count} files{left_out(unreadable)}")


def _made_of(path: Path, copies: int, random: np.random.Generator) -> list[tuple[str, Jpeg]]:
    with translated(str(path)), Image.open(path) as image:
        pixels = image.convert("RGB")
    return [
        (f"{path.name}@{copy}", read(made(pixels, random, scaled=copy > 0)))
        for copy in range(copies)
    ]


def made(image: Image.Image, random: np.random.Generator, scaled: bool) -> bytes:
    """A JPEG file of an image as a random encoder would write it."""
    if scaled:
        scale = random.uniform(_LEAST_SCALE, 1)
        size = (max(16, int(image.width * scale)), max(16, int(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(
        data,
        "JPEG",
        quality=int(random.choice(_QUALITIES)),
        subsampling=int(random.choice(_SAMPLINGS)),
    )
    return data.getvalue()


def _read(path: Path) -> Jpeg:
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise InputError(f"{path}: {size} bytes, more than {_MAX_BYTES}")
        return read(path.read_bytes())
    except (OSError, NcmlError) as error:
        raise InputError(f"{path}: {error}") from error

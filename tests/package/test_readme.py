"""The README's commands are the ones that are tested."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from ncml_codec.encode import image_encoder, jpeg_encoder
from ncml_codec.errors import InputError
from ncml_codec.network.model_file import Model
from ncml_codec.picture.image_files import decode_file
from tests.builders import kinds_of_images
from tests.builders.pictures import ROOT, TESTS, valley

README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """The lines of all shell blocks."""
    blocks = README.split("```sh\n")[1:]
    return [line for block in blocks for line in block.split("```")[0].splitlines()]


def test_ci_runs_the_test_command() -> None:
    (command,) = [line for line in commands() if "/pytest" in line]
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_first_command_restores_the_photograph_that_is_here() -> None:
    first = commands()[0]
    assert "ncmlzip compress -v tests/images/valley.png" in first
    assert "ncmlzip decompress -v valley.ncmz" in first
    assert (TESTS / "images" / "valley.png").exists()


def test_there_is_nothing_left_to_fill_in() -> None:
    assert "RESULTS" not in README
    assert "SPEED" not in README


def test_notes_that_documents_and_comments_name_exist() -> None:
    root = ROOT
    named = [
        (path, root / found)
        for folder in ("", "bench", "cli", "models", "ncml_codec", "tests")
        for pattern in ("*.md", "*.py", "*.toml", "*.h", "*.cpp")
        for path in ((root / folder).rglob(pattern) if folder else root.glob(pattern))
        for found in re.findall(r"bench/notebook/[\w-]+\.md", path.read_text(encoding="utf-8"))
    ]
    assert named
    assert [(str(path), str(note)) for path, note in named if not note.exists()] == []


def test_links_between_notes_lead_somewhere() -> None:
    notes = ROOT / "bench" / "notebook"
    for note in sorted(notes.glob("*.md")):
        for linked in re.findall(r"\]\(([^)]+)\)", note.read_text(encoding="utf-8")):
            assert (notes / linked).exists(), f"{note.name} links to {linked}"


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_files() -> Iterator[bytes]:
    for kind in kinds_of_images.ALL:
        made = kinds_of_images.picture(kind, 9, 10)
        yield from (kinds_of_images.png_file(made, interlaced) for interlaced in (False, True))


def pillow_files() -> Iterator[bytes]:
    scene = valley(0, 0, 9, 10)
    rgb = Image.fromarray(scene)
    yield saved(rgb, "WEBP", lossless=True)
    yield saved(Image.fromarray(scene[:, :, :1].repeat(4, axis=2)), "WEBP", lossless=True)
    for mode in ("1", "L", "RGB", "P"):
        yield saved(rgb.convert(mode), "BMP")
        yield saved(rgb.convert(mode), "TIFF")
    yield from (saved(rgb.convert(mode), "TIFF") for mode in ("LA", "RGBA"))
    yield saved(Image.fromarray(scene[:, :, 0].astype(np.uint16) * 99), "TIFF")


def pnm_files() -> Iterator[bytes]:
    yield b"P1 2 2\n1 0\n01"
    yield b"P4 3 1\n\xa0"
    for letter, planes in ((b"5", 1), (b"6", 3)):
        yield b"P%s 2 1\n255\n" % letter + bytes(range(2 * planes))
        yield b"P%s 2 1\n65535\n" % letter + bytes(range(4 * planes))
        plain = {b"5": b"2", b"6": b"3"}[letter]
        yield b"P%s 1 2\n# a comment\n255\n" % plain + b"7 9 " * planes


def jpeg_files() -> Iterator[bytes]:
    scene = Image.fromarray(valley(0, 0, 9, 10))
    for options in ({}, {"progressive": True}, {"subsampling": 0}):
        yield saved(scene, "JPEG", **options)
    yield from (saved(scene.convert(mode), "JPEG") for mode in ("L", "CMYK"))
    yield saved(scene, "JPEG")[:-20]


def lossy_files() -> Iterator[bytes]:
    yield saved(Image.fromarray(valley(0, 0, 9, 10)), "WEBP")


def moving_files() -> Iterator[bytes]:
    frames = [Image.new("RGB", (4, 4), (level, 0, 0)) for level in (0, 200)]
    for kind in ("PNG", "WEBP", "TIFF", "GIF"):
        yield saved(frames[0], kind, save_all=True, append_images=frames[1:])


def other_files() -> Iterator[bytes]:
    scene = Image.fromarray(valley(0, 0, 9, 10))
    yield saved(scene.convert("CMYK"), "TIFF")
    yield saved(scene.convert("F"), "TIFF")
    yield saved(scene, "TIFF", tiffinfo={274: 3})
    yield b"P5 2 1\n1023\n" + bytes(4)
    yield b"Pf\n2 1\n-1.0\n" + struct.pack("<2f", 0, 65535)
    yield b"PF\n1 1\n1.0\n" + struct.pack(">3f", 1, 2, 3)


# By the first words of the table's rows.
FILES = {
    "PNG of all 15 kinds": png_files,
    "WebP (lossless), BMP, TIFF": pillow_files,
    "PBM, PGM and PPM": pnm_files,
    "JPEG": jpeg_files,
    "lossy WebP": lossy_files,
    "animations": moving_files,
    "CMYK": other_files,
}


def rows() -> list[tuple[str, str]]:
    """The table of image kinds: kind, what becomes of it."""
    table = README.split("| image kind | |\n|---|---|\n")[1].split("\n\n")[0]
    return [(kind, fate) for kind, fate in re.findall(r"\| (.*?) \| (.*?) \|", table)]


@pytest.mark.parametrize(("kind", "fate"), rows())
def test_the_table_of_image_kinds_is_true(kind: str, fate: str, tiny: Model) -> None:
    (files,) = [files for words, files in FILES.items() if kind.startswith(words)]
    for data in files():
        if fate.startswith("refused"):
            with pytest.raises(InputError, match=r"a file: .{15,}"):
                decode_file(data, "a file")
        if fate.startswith("the very file"):
            jpeg_encoder.verify(jpeg_encoder.encode(data))
        elif fate == "compressed" or "--decoded" in fate:
            picture = decode_file(data, "a file", decoded=fate != "compressed")
            image_encoder.verify(image_encoder.encode(picture, tiny, level=1), picture, tiny)


def test_the_table_of_image_kinds_leaves_no_file_out() -> None:
    assert len(rows()) == len(FILES)

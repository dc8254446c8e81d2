"""`ncmlzip preview`: the small picture of an image, for people and for file managers."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ncml_cli.report import failing_cleanly
from ncml_cli.zip import options, targets
from ncml_cli.zip.inputs import PIPE, file_named

if TYPE_CHECKING:
    from PIL.Image import Image


@click.command()
@click.argument("file", type=click.Path(readable=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The PNG to write; - is standard output.",
)
@click.option(
    "-s", "--size", type=click.IntRange(16, 1024), help="At most so many pixels a side. [256]"
)
@click.option("--stored", is_flag=True, help="Only a preview that the file holds: never decode.")
@click.option("-f", "--force", is_flag=True, help="Write into an existing output.")
@options.pixels
@failing_cleanly
def preview(
    file: str, output: Path, size: int | None, stored: bool, force: bool, max_pixels: int
) -> None:
    """Write a small picture of a file's image, as PNG.

    It is the preview that the file holds, or the thumbnail in the EXIF data of a JPEG file. If
    there is none, the image is decoded and made small. Nothing is ever enlarged. The picture is
    turned as the image's orientation says.

    \b
    ncmlzip preview photo.png.ncmz -o small.png
    ncmlzip preview -s 128 photo.jpg.ncmz -o - | display
    """
    import ncml_codec
    from ncml_codec.atomic_files import write_atomically
    from ncml_codec.errors import InputError

    source = file_named(file)
    if output != PIPE:
        targets.check_outputs([output], [source])
        targets.free_target(source, output, force)
    found = ncml_codec.preview(source)
    if found is None and stored:
        raise InputError(f"{source}: holds no preview; without --stored one is made")
    if found is None:
        found = _decoded(source, size or 256, max_pixels)
    if size is not None:
        found.thumbnail((size, size))
    out = io.BytesIO()
    found.save(out, "PNG")
    if output == PIPE:
        sys.stdout.buffer.write(out.getvalue())
        sys.stdout.buffer.flush()
    elif force and output.exists():
        # Thumbnailers make the file, and read what they opened: another one of the same name is
        # not seen. Nothing is lost with half a preview.
        output.write_bytes(out.getvalue())
    else:
        write_atomically(output, out.getvalue(), replace=False)


def _decoded(source: Path, side: int, max_pixels: int) -> Image:
    """A picture of the whole image, made by decoding it."""
    import ncml_codec
    from ncml_codec.encode.preview import small

    return small(ncml_codec.decompress_picture(source, max_pixels=max_pixels), side)

"""`ncmlzip bundle` and `unbundle`: small images as real bytes of a network in floating point."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ncml_cli.meter import Meter, on_terminal
from ncml_cli.report import failing_cleanly, shown
from ncml_cli.zip import targets
from ncml_codec.atomic_files import read_file, write_atomically
from ncml_codec.errors import OutputError, UnsupportedImage, UsageError


@click.command(context_settings={"show_default": True})
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--checkpoint", "run", type=click.Path(path_type=Path), required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The bundle.")
@click.option("--batch", type=click.IntRange(1, 4096), default=16, help="Images side by side.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing output.")
@failing_cleanly
def bundle(files: tuple[Path, ...], run: Path, output: Path, batch: int, force: bool) -> None:
    """Code small RGB images of one size together with the network of a training run.

    Any network of ncml-train, the paper's too, pixel after pixel: seconds to minutes a batch. The
    result is bound to this network, this version of torch and this kind of processor, and refused
    elsewhere; it holds pixels and names, no metadata. It is for measurements, not for keeping
    images: use compress for that.
    """
    from ncml_codec.learn.training import checkpoint
    from ncml_codec.picture.image_files import decode_file
    from ncpn import runs
    from ncpn.bundles import bundle_file

    targets.check_outputs([output], [*files, *checkpoint.files_of(run)])
    names = [path.name for path in files]
    if len(set(names)) < len(names):
        raise UsageError("two of the files have the same name; a bundle keeps names without paths")
    model = runs.from_pretrained(run)
    pictures = [decode_file(read_file(path), str(path)) for path in files]
    for path, picture in zip(files, pictures, strict=True):
        if not picture.kind.suits_network:
            raise UnsupportedImage(f"{path}: {picture.kind} samples; a bundle holds 8-bit RGB")
    images = [picture.samples for picture in pictures]
    total = 2 * sum(image.shape[0] * image.shape[1] for image in images)
    with Meter(shown(str(output)), on_terminal()) as meter:
        meter.expect(total)
        held = bundle_file.Bundle(names, images)
        data = bundle_file.encode(held, model, batch, meter.advance)
    write_atomically(output, data, replace=force)
    payload, rest = bundle_file.sizes(data)
    samples = sum(image.size for image in images)
    click.echo(
        f"{output}: {len(images)} images, payload {payload} bytes"
        f" ({8 * payload / samples:.4f} bits per sub-pixel), header and checksums {rest} bytes"
    )


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--checkpoint", "run", type=click.Path(path_type=Path), required=True)
@click.option("-O", "--output-dir", "folder", type=click.Path(path_type=Path), required=True)
@click.option("-f", "--force", is_flag=True, help="Replace existing outputs.")
@failing_cleanly
def unbundle(file: Path, run: Path, folder: Path, force: bool) -> None:
    """Restore the images of a bundle under the conditions that it was made under."""
    from ncml_codec.learn.training import checkpoint
    from ncml_codec.picture.image_files import encode_file, from_array
    from ncpn import runs
    from ncpn.bundles import bundle_file

    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    data, model = read_file(file, bundle_file.MAX_BYTES), runs.from_pretrained(run)
    with Meter(shown(str(file)), on_terminal()) as meter:
        held = bundle_file.decode(data, model, meter.advance)
    outputs = [folder / name for name in held.names]
    targets.check_outputs(outputs, [file, *checkpoint.files_of(run)])
    if not force and (taken := [path for path in outputs if os.path.lexists(path)]):
        raise OutputError(f"{taken[0]}: exists already; -f replaces it")
    for path, image in zip(outputs, held.images, strict=True):
        write_atomically(path, encode_file(from_array(image), path.name), replace=force)
    click.echo(f"{file}: {len(held.images)} images restored")

"""`ncmlzip score`: which images are unlike the others."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ncml_cli.meter import Meter, on_terminal
from ncml_cli.report import attempt, failing_cleanly, shown
from ncml_codec.errors import InputError, NcmlError, UsageError

if TYPE_CHECKING:
    from ncml_codec.decode.effort import Effort
    from ncml_codec.network.model_file import Model


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--reference",
    "references",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Image or folder of images that are known to be sound (several may be given).",
)
@click.option("--alpha", type=click.FloatRange(0, 1), default=0.05, help="Flag p-values up to it.")
@click.option("--either-side", is_flag=True, help="Flag images that take too few bits as well.")
@click.option("-m", "--model", help="A released model's name, or a model file.")
@click.option("--engine", default="auto", help="auto, native or numpy: same figures.")
@click.option("--threads", type=click.IntRange(1), help="Threads within an image.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, an object for each file.")
@failing_cleanly
def score(
    files: tuple[Path, ...],
    references: tuple[Path, ...],
    alpha: float,
    either_side: bool,
    model: str | None,
    engine: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Rank images by bits per sub-pixel, the most surprising first.

    With --reference, each gets PixelDefend's permutation p-value: how often an image of the
    reference's kind would take as many bits. Small ones are flagged: outliers, noise, adversarial
    changes. Compare images of one kind and size; a busier image takes more bits, too.
    """
    from ncml_codec.decode.effort import Effort
    from ncml_codec.encode import scoring
    from ncml_codec.network import released_models

    effort = Effort(engine, threads or os.cpu_count() or 1)
    loaded = released_models.load(model or released_models.DEFAULT)
    known = _known(_images(references), loaded, effort)
    least = (2 if either_side else 1) / (len(known) + 1)
    if known and least > alpha:
        raise UsageError(
            f"{len(known)} reference images: no p-value can be below {least:.3g}, so none would be"
            f" flagged at {alpha:g}; give more, or a larger --alpha"
        )
    found, failed = [], False
    test = scoring.p_value_of_either_side if either_side else scoring.p_value
    for path in files:
        bits = attempt(partial(_bits, path, loaded, effort), path)
        if isinstance(bits, NcmlError):
            click.echo(f"ncmlzip: {shown(str(bits))}", err=True)
            failed = True
            continue
        facts: dict[str, object] = {"file": str(path), "bits_per_sub_pixel": bits}
        if known:
            p = facts["p_value"] = test(bits, known)
            facts["flagged"] = p <= alpha
        found.append((bits, facts))
    found.sort(key=lambda pair: -pair[0])
    if as_json:
        click.echo(json.dumps([facts for _, facts in found], indent=2))
    else:
        for bits, facts in found:
            chance = f"  p = {facts['p_value']:.4f}" if known else ""
            flag = "  OUTLIER" if facts.get("flagged") else ""
            click.echo(f"{bits:8.4f}{chance}  {facts['file']}{flag}")
    if failed:
        sys.exit(1)


def _known(paths: Sequence[Path], model: Model, effort: Effort) -> list[float]:
    """Bits per sub-pixel of the reference images that can be read; the others are named.

    Raises InputError if there are images, but none that can be read.
    """
    found = [attempt(partial(_bits, path, model, effort), path) for path in paths]
    for one in found:
        if isinstance(one, NcmlError):
            click.echo(f"ncmlzip: left out of the reference: {shown(str(one))}", err=True)
    known = [one for one in found if not isinstance(one, NcmlError)]
    if len(known) < len(found):
        counts = f"{len(found) - len(known)} of {len(found)}"
        if not known:
            raise InputError(f"{counts} reference images cannot be read: none is left")
        click.echo(f"ncmlzip: {counts} reference images left out", err=True)
    return known


def _images(places: tuple[Path, ...]) -> list[Path]:
    """The files among `places`, and those of its folders."""
    found: list[Path] = []
    for place in places:
        inside = (
            sorted(path for path in place.iterdir() if path.is_file()) if place.is_dir() else []
        )
        if place.is_dir() and not inside:
            raise UsageError(f"{place}: an empty folder of reference images")
        found += inside or [place]
    return found


def _bits(path: Path, model: Model, effort: Effort) -> float:
    from ncml_cli.zip.jobs import about
    from ncml_codec.atomic_files import read_file
    from ncml_codec.encode import scoring
    from ncml_codec.picture.image_files import decode_file

    with Meter(shown(str(path)), on_terminal()) as meter:
        picture = decode_file(read_file(path), str(path))
        meter.expect(picture.width * picture.height)
        watched = replace(effort, progress=meter.advance)
        return about(path, lambda: scoring.bits_per_sub_pixel(picture, model, watched))

"""`ncml-export`: turn a training run into a model file of the codec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ncml_cli.report import failing_cleanly

if TYPE_CHECKING:
    from ncml_codec.learn.data import CropConfig, FolderImages, Pixels


@click.command(context_settings={"show_default": True})
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="*.ncpn")
@click.option(
    "--data",
    "folders",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Folder of validation images: units and weights are fitted to them, and they show what"
    " integers cost.",
)
@click.option("--crop", type=click.IntRange(16), default=192, help="Central part used, pixels.")
@click.option(
    "--tune",
    "tuned_on",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Folder of the run's training images: biases are tuned on crops of them, as in training.",
)
@click.option("--tune-steps", type=click.IntRange(1), default=300, help="Steps of tuning.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing output.")
@failing_cleanly
def main(
    run: Path,
    output: Path,
    folders: tuple[Path, ...],
    crop: int,
    tuned_on: tuple[Path, ...],
    tune_steps: int,
    force: bool,
) -> None:
    """Export the averaged weights of RUN as an integer network.

    Prints for every layer the largest sum that its integers can reach, which must stay below
    2**24, and what the integer network costs against the float network.

    --tune makes up for some of that cost: it trains the biases of the integer network itself.
    """
    from ncml_codec.errors import UsageError
    from ncml_codec.files import write_atomically
    from ncml_codec.learn.data import load_folders
    from ncml_codec.model import read_model, write_model
    from ncml_codec.network import SUM_LIMIT
    from ncpn import calibration, export, presets, tuning, validation
    from ncpn.wave import WaveNCPN

    model = presets.from_pretrained(run)
    if not isinstance(model, WaveNCPN):
        raise UsageError(f"{run}: not a wave NCPN; the codec runs no other network")
    images = [central(image, crop) for image in load_folders(folders, 16).images]
    training = _training_images(run, tuned_on) if tuned_on else None
    network = calibration.best_integers(model, images)
    if training is not None:
        network = tuning.tuned(network, *training, tune_steps)
    for name, inputs, reach in export.proof(network):
        share = 100 * reach / SUM_LIMIT
        click.echo(f"{name:16} {inputs:4} inputs  sums below {reach:9} ({share:.1f} % of 2**24)")
    data = write_model(network)
    cost = validation.cost(model, network, images)
    click.echo(
        f"{len(images)} images, those fitted to: float {cost.floating:.4f}, integer"
        f" {cost.integer:.4f} bits per sub-pixel ({cost.percent:+.3f} %)"
    )
    write_atomically(output, data, replace=force)
    identity = read_model(data).sha256.hex()
    click.echo(f"{output}: {len(data)} bytes, SHA-256 of the network {identity}")


def _training_images(run: Path, folders: tuple[Path, ...]) -> tuple[FolderImages, CropConfig]:
    """The images of folders, in the turns in which the run was trained on them, and its crops.

    Raises UsageError if the run was trained on another number of images.
    """
    from ncml_codec.errors import UsageError
    from ncml_codec.learn.checkpoint import load_config
    from ncml_codec.learn.data import CropConfig, FolderImages, load_folders

    config = load_config(run)
    crops = CropConfig(**config["crops"])
    images, turns = load_folders(folders, crops.crop), config.get("turns")
    if turns is not None and len(turns) != len(images.images):
        raise UsageError(
            f"--tune: {len(images.images)} images, but {run} was trained on {len(turns)}, each in"
            " its own turn; give the same folders in the same order"
        )
    return FolderImages(images.images, images.skipped, turns), crops


def central(image: Pixels, side: int) -> Pixels:
    """The middle of an image, at most `side` x `side` pixels."""
    top = max(0, (image.shape[0] - side) // 2)
    left = max(0, (image.shape[1] - side) // 2)
    return image[top : top + side, left : left + side]


if __name__ == "__main__":
    main()

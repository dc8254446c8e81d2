"""`ncml-export`: turn a training run into a model file of the codec."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ncml_cli.report import failing_cleanly
from ncml_cli.train import jpeg
from ncml_cli.zip.targets import check_outputs

if TYPE_CHECKING:
    from ncml_codec.learn.data.crops import CropConfig, Images, Pixels

_MAX_PIXELS = 1 << 26  # of a batch of crops that a run recorded


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ncml-codec")
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
    multiple=True,
    help="The run's training images, as in --data of ncml-train: biases are tuned on them.",
)
@click.option("--tune-steps", type=click.IntRange(1), default=300, help="Steps of tuning.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing output.")
@failing_cleanly
def main(
    run: Path,
    output: Path,
    folders: tuple[Path, ...],
    crop: int,
    tuned_on: tuple[str, ...],
    tune_steps: int,
    force: bool,
) -> None:
    """Export the averaged weights of RUN as an integer network.

    A run of --model jpeg becomes a file *.ncjp; its --data are JPEG files, or images of which such
    are made, and the other options have no use.

    Prints for every layer the largest sum that its integers can reach, which must stay below
    2**24, and what the integer network costs against the float network.

    --tune makes up for some of that cost: it trains the biases of the integer network itself.
    """
    from ncml_codec.atomic_files import write_atomically
    from ncml_codec.errors import UsageError
    from ncml_codec.learn.data.crops import load_folders
    from ncml_codec.learn.data.datasets import path_of
    from ncml_codec.learn.training.checkpoint import files_of
    from ncml_codec.network.integer_network import SUM_LIMIT
    from ncml_codec.network.model_file import read_model, write_model
    from ncpn.integers import calibration, export, tuning, validation
    from ncpn.runs import from_pretrained
    from ncpn.wave_network.wave import WaveNCPN

    check_outputs([output], [*files_of(run), *folders, *map(path_of, tuned_on)])
    if jpeg.is_jpeg_run(run):
        data = jpeg.exported(run, folders, click.echo)
        write_atomically(output, data, replace=force)
        click.echo(f"{output}: {len(data)} bytes")
        return
    model = from_pretrained(run)
    if not isinstance(model, WaveNCPN):
        raise UsageError(f"{run}: not a wave NCPN; the codec runs no other network")
    images = [central(image, crop) for image in load_folders(folders, 16).images]
    training = _training_images(run, tuned_on) if tuned_on else None
    network = calibration.best_integers(model, images)
    cost = validation.cost(model, network, images)
    if training is not None:
        tuned = tuning.tuned(network, *training, tune_steps)
        after = validation.cost(model, tuned, images)
        click.echo(f"tuned: integer {cost.integer:.4f} before, {after.integer:.4f} after")
        if after.integer < cost.integer:
            network, cost = tuned, after
    for name, inputs, reach in export.proof(network):
        share = 100 * reach / SUM_LIMIT
        click.echo(f"{name:16} {inputs:4} inputs  sums below {reach:9} ({share:.1f} % of 2**24)")
    data = write_model(network)
    click.echo(
        f"{len(images)} images, those fitted to: float {cost.floating:.4f}, integer"
        f" {cost.integer:.4f} bits per sub-pixel ({cost.percent:+.3f} %)"
    )
    write_atomically(output, data, replace=force)
    identity = read_model(data).sha256.hex()
    click.echo(f"{output}: {len(data)} bytes, SHA-256 of the network {identity}")


def _training_images(run: Path, sources: tuple[str, ...]) -> tuple[Images, CropConfig]:
    """The images that a run was trained on, in the turns in which they were shown, and its crops.

    Raises UsageError if the run was trained on another number of images.
    """
    from ncml_codec.errors import InputError
    from ncml_codec.learn.data import datasets
    from ncml_codec.learn.data.crops import CropConfig
    from ncml_codec.learn.training.checkpoint import load_config, numbers
    from ncpn.runs import recorded_turns

    config = load_config(run)
    recorded, options = config.get("crops"), config.get("options")
    if not (isinstance(recorded, dict) and isinstance(options, dict)):
        raise InputError(f"{run}: its config.json holds no crops or no options")
    kinds = {field.name: type(field.default) for field in fields(CropConfig)}
    crops = CropConfig(**numbers(recorded, f"{run}: its crops", **kinds))
    if not (crops.batch and 0 < crops.batch * crops.crop**2 <= _MAX_PIXELS):
        raise InputError(f"{run}: its config.json has {crops.batch} crops of {crops.crop} pixels")
    images = datasets.open_training(sources, crops.crop)
    if "images" in options:
        count = numbers(options, f"{run}: its options", images=int)["images"]
        images = datasets.first(images, max(1, count))
    turns = recorded_turns(run)
    return (images if turns is None else datasets.in_turns(images, turns)), crops


def central(image: Pixels, side: int) -> Pixels:
    """The middle of an image, at most `side` x `side` pixels."""
    top = max(0, (image.shape[0] - side) // 2)
    left = max(0, (image.shape[1] - side) // 2)
    return image[top : top + side, left : left + side]


if __name__ == "__main__":
    main()

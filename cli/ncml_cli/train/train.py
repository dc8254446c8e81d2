"""`ncml-train`: train a network on images by noise conditional maximum likelihood."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ncml_cli.report import failing_cleanly
from ncml_cli.train import jpeg
from ncml_cli.zip.targets import check_outputs
from ncml_codec.atomic_files import read_file
from ncml_codec.errors import InputError
from ncpn import training_options
from ncpn.training_options import TrainingOptions

_MAX_CONFIG = 1 << 20  # bytes of a TOML file


def _from_file(context: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    """Take defaults from a TOML file: keys are the long options' names, without dashes in front."""
    if path is None:
        return None
    try:
        values = tomllib.loads(read_file(path, _MAX_CONFIG).decode("utf-8"))
    except (InputError, ValueError, RecursionError) as error:
        raise click.BadParameter(f"{path}: {error}") from error
    names = {option.lstrip("-"): p.name for p in context.command.params for option in p.opts}
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise click.BadParameter(f"{path}: no option called {', '.join(unknown)}")
    found = {str(names[key]): _plain(value, f"{path}: {key}") for key, value in values.items()}
    context.default_map = {**(context.default_map or {}), **found}
    return path


def _plain(value: object, name: str) -> object:
    """A value of TOML as the command line would give it, or a list of such values."""
    if isinstance(value, list):
        return [_plain(inner, name) for inner in value if not isinstance(inner, list)]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # which click takes for a float, but not for an int
    if isinstance(value, str | int | float):
        return value
    raise click.BadParameter(f"{name}: neither a text, a number, true or false, nor a list of them")


def _option(flag: str, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option of the same name and default as its field of `TrainingOptions`."""
    name = flag.removeprefix("--")
    return click.option(
        flag, name.replace("-", "_"), default=training_options.default(name), **attributes
    )


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ncml-codec")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_from_file,
    help="TOML file of options; the command line wins.",
)
@_option(
    "--data",
    multiple=True,
    required=True,
    help="Folder of images (several may be given), or one of cifar10:DIR, svhn:DIR,"
    " imagenet32:DIR, imagenet64:DIR, celeba64:DIR, array:FILE.npy; with --model jpeg jpeg:DIR, a"
    " folder of JPEG files or of images that are made to such.",
)
@_option(
    "--model",
    help="Preset of the network: wave-*, jpeg* or, as in the paper, tiny, small, base, paper.",
)
@_option("--dropout", type=click.FloatRange(0, 1), help="Instead of the preset's (paper).")
@_option("--classes", type=click.IntRange(0), help="Condition on so many classes (paper).")
@_option("--images", type=click.IntRange(1), help="The first so many training images only.")
@_option("--out", type=click.Path(path_type=Path), required=True, help="Run's folder.")
@_option("--sde", type=click.Choice(["none", "ve", "vp", "subvp"]))
@_option("--T", type=float, help="Noise strength as the paper's T.")
@_option("--noise-levels", type=float, help="Noise strength as std at T, in grey levels.")
@_option("--clean-share", type=click.FloatRange(0, 1), help="Probability of t = 0.")
@_option("--importance", is_flag=True, help="Draw t in proportion to g(t)^2, not uniformly.")
@_option("--steps", type=click.IntRange(1))
@_option("--max-minutes", type=float, help="Fit the schedule to this time.")
@_option("--batch", type=click.IntRange(1), help="Crops a step.")
@_option("--crop", type=click.IntRange(8), help="Side of a crop, pixels.")
@_option("--grey", type=click.FloatRange(0, 1), help="Share of grey crops.")
@_option(
    "--augment",
    type=click.FloatRange(0, 1),
    help="Share of altered crops (JPEG, mosaics, noise, drawings, ...).",
)
@_option("--matrix-rate", type=float, help="Muon's peak rate (matrices).")
@_option("--rate", type=float, help="AdamW's peak rate (the rest).")
@_option("--schedule", type=click.Choice(["cosine", "constant"]))
@_option("--warmup", type=click.IntRange(0), help="Steps of rising rate.")
@_option("--clip", type=float, help="Bound on the gradient's norm.")
@_option("--average", type=click.FloatRange(0, 1), help="Decay of the EMA.")
@_option("--accumulate", type=click.IntRange(1), help="Batches a step.")
@_option("--precision", type=click.Choice(["float32", "bf16", "fp16"]))
@_option("--compile", is_flag=True, help="Through torch.compile.")
@_option("--checkpointing", is_flag=True, help="Less memory: blocks are computed twice.")
@_option("--seed", type=int)
@_option("--device", help="cpu, cuda, cuda:1, ...")
@_option("--threads", type=click.IntRange(1), help="CPU threads.")
@_option("--log-every", type=click.IntRange(1), help="Steps between log lines.")
@_option("--save-minutes", type=float, help="Minutes between checkpoints.")
@_option("--test-data", help="Held-out images, as in --data (the test split).")
@_option("--test-images", type=click.IntRange(1), help="The first so many.")
@_option("--evaluate-every", type=click.IntRange(1), help="Steps between test likelihoods.")
@_option("--sample-every", type=click.IntRange(1), help="Steps between grids of samples.")
@_option("--samples", type=click.IntRange(1), help="Images in a grid.")
@_option("--tensorboard", is_flag=True, help="Also log to OUT/tensorboard.")
@_option("--license", help="The weights' license, for the run's card.")
@_option(
    "--grow-from",
    type=click.Path(path_type=Path),
    help="A run of a smaller wave network, which the new one begins as.",
)
@_option(
    "--turned-by",
    type=click.Path(path_type=Path),
    help="Show each image in one of its eight orientations, that in which the network of this run"
    " codes it in the fewest bits, as the codec does.",
)
@_option(
    "--turned-from",
    type=click.FloatRange(0, 1),
    help="As --turned-by, from this share of the run on, by the run's own averaged network.",
)
@_option(
    "--rounded-by",
    type=click.Path(path_type=Path),
    help="Take from activations below zero what integers will, in units as the network of this run"
    " needs them, of the same shape (wave-*). A run keeps its units when it is resumed.",
)
@_option(
    "--rounded-from",
    type=click.FloatRange(0, 1),
    help="As --rounded-by, from this share of the run on, by the run's own averaged network.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out: see above.")
@click.option("--dry-run", is_flag=True, help="Print the resolved options and stop.")
@failing_cleanly
def main(resume: bool, dry_run: bool, **options: Any) -> None:
    resolved = TrainingOptions(**options)
    if dry_run:
        for line in resolved.lines():
            click.echo(line)
        return
    check_outputs(_outputs(resolved), _inputs(resolved))
    if jpeg.is_jpeg(resolved):
        from jpeg_coefficients import training as coefficients

        coefficients.train_network(jpeg.jpeg_options(resolved), resume=resume, say=click.echo)
        return
    from ncpn.training import train_network

    train_network(resolved, resume=resume, say=click.echo)


def _outputs(options: TrainingOptions) -> list[Path]:
    """The run's folder, and what is written in it."""
    from ncml_codec.learn.training import card, log
    from ncml_codec.learn.training.checkpoint import files_of
    from ncpn.watching import SAMPLES

    names = (log.LOG, log.EVALUATIONS, card.CARD, card.CURVES, SAMPLES)
    return [options.out, *files_of(options.out), *(options.out / name for name in names)]


def _inputs(options: TrainingOptions) -> list[Path]:
    """Images, and the files of other runs."""
    from ncml_codec.learn.data.datasets import path_of
    from ncml_codec.learn.training.checkpoint import files_of

    sources = [*options.data, *([options.test_data] if options.test_data else [])]
    runs = [run for run in (options.grow_from, options.turned_by, options.rounded_by) if run]
    return [*map(path_of, sources), *(file for run in runs for file in files_of(Path(run)))]


main.help = f"""Train a network on images.

Leaves config.json, model.safetensors (averaged weights), training.safetensors (to resume from),
log.csv, curves.png and README.md, the run's card, in --out; with --evaluate-every and
--sample-every also evaluations.csv and samples/. `ncml-export` turns the run of a wave network into
a model file for the codec.

--resume goes on from the checkpoint in --out and refuses what would make it another run.
{training_options.resuming()}
"""


if __name__ == "__main__":
    main()

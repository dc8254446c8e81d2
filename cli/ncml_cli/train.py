"""`ncml-train`: train a network on images by noise conditional maximum likelihood."""

from __future__ import annotations

import math
import tomllib
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ncml_cli.report import failing_cleanly
from ncml_codec.errors import InputError, UsageError
from ncml_codec.files import read_file

if TYPE_CHECKING:
    import torch

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
@click.option(
    "--data",
    "sources",
    multiple=True,
    required=True,
    help="Folder of images (several may be given), or one of cifar10:DIR, svhn:DIR,"
    " imagenet32:DIR, imagenet64:DIR, celeba64:DIR, array:FILE.npy.",
)
@click.option(
    "--model",
    default="wave-photo",
    help="Preset of the network: wave-* or, as in the paper, tiny, small, base, paper.",
)
@click.option("--dropout", type=click.FloatRange(0, 1), help="Instead of the preset's (paper).")
@click.option(
    "--classes", type=click.IntRange(0), default=0, help="Condition on so many classes (paper)."
)
@click.option("--images", type=click.IntRange(1), help="The first so many training images only.")
@click.option("--out", "run", type=click.Path(path_type=Path), required=True, help="Run's folder.")
@click.option("--sde", type=click.Choice(["none", "ve", "vp", "subvp"]), default="none")
@click.option("--T", "horizon", type=float, help="Noise strength as the paper's T.")
@click.option("--noise-levels", type=float, help="Noise strength as std at T, in grey levels.")
@click.option(
    "--clean-share", type=click.FloatRange(0, 1), default=0.5, help="Probability of t = 0."
)
@click.option("--importance", is_flag=True, help="Draw t in proportion to g(t)^2, not uniformly.")
@click.option("--steps", type=click.IntRange(1), default=20_000)
@click.option("--max-minutes", type=float, default=math.inf, help="Fit the schedule to this time.")
@click.option("--batch", type=click.IntRange(1), default=4, help="Crops a step.")
@click.option("--crop", type=click.IntRange(8), default=64, help="Side of a crop, pixels.")
@click.option("--grey", type=click.FloatRange(0, 1), default=0.02, help="Share of grey crops.")
@click.option(
    "--augment",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Share of altered crops (JPEG, mosaics, noise, drawings, ...).",
)
@click.option("--matrix-rate", type=float, default=7e-3, help="Muon's peak rate (matrices).")
@click.option("--rate", type=float, default=5e-3, help="AdamW's peak rate (the rest).")
@click.option("--schedule", type=click.Choice(["cosine", "constant"]), default="cosine")
@click.option("--warmup", type=click.IntRange(0), default=100, help="Steps of rising rate.")
@click.option("--clip", type=float, default=0.5, help="Bound on the gradient's norm.")
@click.option("--average", type=click.FloatRange(0, 1), default=0.999, help="Decay of the EMA.")
@click.option("--accumulate", type=click.IntRange(1), default=1, help="Batches a step.")
@click.option("--precision", type=click.Choice(["float32", "bf16", "fp16"]), default="float32")
@click.option("--compile", "compiled", is_flag=True, help="Through torch.compile.")
@click.option("--checkpointing", is_flag=True, help="Less memory: blocks are computed twice.")
@click.option("--seed", type=int, default=0)
@click.option("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
@click.option("--threads", type=click.IntRange(1), default=1, help="CPU threads.")
@click.option("--log-every", type=click.IntRange(1), default=100, help="Steps between log lines.")
@click.option("--save-minutes", type=float, default=5.0, help="Minutes between checkpoints.")
@click.option("--test-data", help="Held-out images, as in --data (the test split).")
@click.option("--test-images", type=click.IntRange(1), default=256, help="The first so many.")
@click.option("--evaluate-every", type=click.IntRange(1), help="Steps between test likelihoods.")
@click.option("--sample-every", type=click.IntRange(1), help="Steps between grids of samples.")
@click.option("--samples", type=click.IntRange(1), default=16, help="Images in a grid.")
@click.option("--tensorboard", is_flag=True, help="Also log to OUT/tensorboard.")
@click.option("--license", help="The weights' license, for the run's card.")
@click.option(
    "--grow-from",
    type=click.Path(path_type=Path),
    help="A run of a smaller wave network, which the new one begins as.",
)
@click.option(
    "--turned-by",
    type=click.Path(path_type=Path),
    help="Show each image in one of its eight orientations, that in which the network of this run"
    " codes it in the fewest bits, as the codec does.",
)
@click.option(
    "--rounded-by",
    type=click.Path(path_type=Path),
    help="Take from activations below zero what integers will, in units as the network of this run"
    " needs them, of the same shape (wave-*). A run keeps its units when it is resumed.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option("--dry-run", is_flag=True, help="Print the resolved options and stop.")
@click.pass_context
@failing_cleanly
def main(context: click.Context, /, **options: Any) -> None:
    """Train a network on images.

    Leaves config.json, model.safetensors (averaged weights), training.safetensors (to resume
    from), log.csv, curves.png and README.md, the run's card, in --out; with --evaluate-every and
    --sample-every also evaluations.csv and samples/. `ncml-export` turns the run of a wave network
    into a model file for the codec.
    """
    resolved = _resolved(context, options)
    if options["dry_run"]:
        for name, value in resolved.items():
            click.echo(f"{name} = {value}")
    else:
        _run(options, resolved)


def _run(options: dict[str, Any], resolved: dict[str, Any]) -> None:
    from ncml_codec.learn import parallel

    with parallel.joined(options["device"]) as device:
        if parallel.rank() == 0:
            for name, value in resolved.items():
                click.echo(f"{name} = {value}")
        _train(options, resolved, device)


def _train(options: dict[str, Any], resolved: dict[str, Any], device: torch.device) -> None:
    import torch

    from ncml_cli import watching
    from ncml_codec.learn import datasets, noise, parallel
    from ncml_codec.learn.checkpoint import has_snapshot, load_config, save_config
    from ncml_codec.learn.data import CropConfig
    from ncml_codec.learn.memory import keep_freed_memory
    from ncml_codec.learn.optimiser import OptimiserConfig
    from ncml_codec.learn.training import TrainConfig, train
    from ncpn import presets, rounding, runs, validation

    run: Path = options["run"]
    if options["evaluate_every"] and not options["test_data"]:
        raise UsageError("--evaluate-every needs held-out images: --test-data")
    if has_snapshot(run) and not options["resume"]:
        raise UsageError(f"{run}: holds a training run; --resume goes on with it")
    if options["resume"] and not has_snapshot(run):
        raise UsageError(f"{run}: holds no checkpoint to resume from")
    keep_freed_memory()
    torch.set_num_threads(options["threads"])
    torch.manual_seed(options["seed"])
    process = noise.process_named(options["sde"], options["horizon"], options["noise_levels"])
    shape = presets.preset(
        options["model"],
        process.horizon,
        dropout=options["dropout"],
        classes=options["classes"],
    )
    network = presets.build(shape).to(device)
    network.checkpointing = options["checkpointing"]
    images = datasets.open_training(options["sources"], options["crop"])
    images = datasets.first(images, options["images"]) if options["images"] else images
    turns: list[int] | None = None
    kept_units: dict[str, Any] | None = None
    datasets.check_labels(images, options["classes"])
    datasets.check_augmentation(images, options["augment"])
    if options["resume"]:
        before = load_config(run)
        turns, kept_units = before.get("turns"), before.get("units")
    elif options["turned_by"]:
        chooser = runs.from_pretrained(options["turned_by"])
        turns = [validation.best_turn(chooser, one) for one in datasets.of_folders(images).images]
    if turns is not None:
        images = datasets.in_turns(images, turns)
    crops = CropConfig(options["crop"], options["batch"], options["grey"], options["augment"])
    config = TrainConfig(
        optimiser=OptimiserConfig(options["matrix_rate"], options["rate"]),
        minutes=options["max_minutes"],
        labelled=options["classes"] > 0,
        **{name: options[name] for name in _SAME_NAME},
    )
    if not options["resume"]:
        first = torch.from_numpy(images.crops(crops, config.seed, 0)).to(device).float()
        presets.initialise(network, first, torch.zeros(len(first), device=device))
        if options["grow_from"]:
            runs.grow_from(network, options["grow_from"])
    if options["rounded_by"] and kept_units is None:
        plain = replace(crops, batch=_REACH_CROPS, grey=0.0, augment=0.0)
        shown = images.crops(plain, _REACH_SEED, 0).transpose(0, 2, 3, 1)
        kept_units = rounding.to_json(rounding.units_of(options["rounded_by"], list(shown)))
    if kept_units is not None:
        rounding.round_leaks(network, rounding.from_json(kept_units))
    if parallel.rank() > 0:
        train(network, images, process, crops, config, run)
        return
    levels = noise.std_at(process, process.horizon)
    size = presets.describe(network)
    click.echo(images.describe())
    click.echo(f"{options['model']}: {size}")
    click.echo(f"T = {process.horizon:g}, std(T) = {levels:.2f} grey levels")
    save_config(
        run,
        {
            "model": presets.to_json(shape),
            "process": {"sde": options["sde"], "T": process.horizon, "noise_levels": levels},
            "crops": asdict(crops),
            "options": resolved,
            **({} if turns is None else {"turns": turns}),
            **({} if kept_units is None else {"units": kept_units}),
        },
    )
    with ExitStack() as stack:
        board = watching.board(options, stack)
        visits = []
        if options["evaluate_every"]:
            visits.append(watching.evaluation(options, process, device, board, stack))
        if options["sample_every"]:
            height, width = images.crops(crops, config.seed, 0).shape[2:]
            visits.append(watching.sample_grids(options, (height, width), device, board))
        train(
            network,
            images,
            process,
            crops,
            config,
            run,
            say=click.echo,
            visits=visits,
            saved=watching.keeping_the_card(options, size, images.describe()),
            board=board,
        )
    click.echo(f"trained; the averaged weights are in {run}/model.safetensors")


_REACH_CROPS, _REACH_SEED = 256, 12345  # what shows how far activations reach
_SAME_NAME = (
    "steps",
    "schedule",
    "warmup",
    "clip",
    "average",
    "clean_share",
    "importance",
    "accumulate",
    "precision",
    "compiled",
    "seed",
    "log_every",
    "save_minutes",
)


def _resolved(context: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """Every option by its long name with the value that holds, as JSON has it; None is left out."""
    found = {}
    for parameter in context.command.params:
        value = options.get(str(parameter.name))
        if value is None or parameter.name in ("resume", "dry_run") or value == math.inf:
            continue
        plain = list(value) if isinstance(value, tuple) else value
        found[parameter.opts[0].lstrip("-")] = str(plain) if isinstance(plain, Path) else plain
    return found


if __name__ == "__main__":
    main()

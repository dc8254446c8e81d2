"""What a training run does beside training: evaluations, sample grids, the picture and the card.

Only the first process does it. Nothing here changes what is trained.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import ExitStack

import torch

from ncml_codec.learn.data import datasets
from ncml_codec.learn.data.crops import Images
from ncml_codec.learn.evaluation.held_out import EVALUATION_FIELDS, Evaluator
from ncml_codec.learn.likelihood.processes import Process
from ncml_codec.learn.sampling import grids, sampler
from ncml_codec.learn.training import card, curves
from ncml_codec.learn.training.checkpoint import saved_step
from ncml_codec.learn.training.log import EVALUATIONS, LOG, Board, Table, read_rows
from ncml_codec.learn.training.loop import Visit
from ncpn import presets
from ncpn.bundles import walks
from ncpn.network import NCPN
from ncpn.training_options import TrainingOptions

SAMPLES = "samples"


def board(options: TrainingOptions, stack: ExitStack) -> Board | None:
    """TensorBoard's files, if they are wanted, open until the stack closes."""
    if not options.tensorboard:
        return None
    return stack.enter_context(Board(options.out, saved_step(options.out)))


def held_out(options: TrainingOptions) -> Images:
    """The images whose likelihoods are evaluated, labelled if the network is."""
    assert options.test_data is not None
    images = datasets.open_dataset(options.test_data, "test", 1)
    images = datasets.first(images, options.test_images)
    datasets.check_labels(images, options.classes)
    return images


def evaluation(
    options: TrainingOptions,
    images: Images,
    process: Process,
    device: torch.device,
    shown: Board | None,
    stack: ExitStack,
    say: Callable[[str], None],
) -> Visit:
    """Likelihoods of held-out images every `evaluate_every` steps, in evaluations.csv."""
    assert options.evaluate_every is not None
    run = options.out
    table = Table(run / EVALUATIONS, EVALUATION_FIELDS, saved_step(run), shown)
    look = Evaluator(
        images,
        process,
        options.batch,
        device,
        options.classes > 0,
        stack.enter_context(table),
        say,
    )
    return Visit(options.evaluate_every, look)


def sample_grids(
    options: TrainingOptions, size: tuple[int, int], device: torch.device, shown: Board | None
) -> Visit:
    """Images of `size`, height and width, drawn at t = 0 with the same random numbers each time."""
    assert options.sample_every is not None
    count, seed = options.samples, options.seed
    folder = options.out / SAMPLES

    def look(step: int, network: torch.nn.Module) -> None:
        assert isinstance(network, NCPN)
        numbers = sampler.uniforms((count, 3, *size), torch.Generator(device).manual_seed(seed))
        drawn = grids.grid(sampler.ancestral(_walk(network, count), numbers, whole=True))
        folder.mkdir(exist_ok=True)
        grids.save_png(drawn, folder / f"{step:08d}.png")
        if shown is not None:
            shown.picture(SAMPLES, drawn, step)

    return Visit(options.sample_every, look)


def _walk(network: NCPN, count: int) -> sampler.Begin:
    """Walks at t = 0; with classes, those of the images of a batch in turn."""

    def begin(canvas: torch.Tensor) -> sampler.Walk:
        t = torch.zeros(count, device=canvas.device)
        classes = presets.classes(network)
        labels = torch.arange(count, device=canvas.device) % classes if classes else None
        return walks.walk(network, canvas, t, labels)

    return begin


def keeping_the_card(options: TrainingOptions, network: str, images: str) -> Callable[[int], None]:
    """Called after each checkpoint: draw the curves and write the card."""
    run = options.out
    drawing = importlib.util.find_spec("matplotlib") is not None

    def saved(_: int) -> None:
        if drawing and read_rows(run / LOG):
            curves.draw([run], run / card.CURVES)
        card.write_card(run, network, images, options.device, options.license)

    return saved

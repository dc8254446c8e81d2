"""What `ncml-train` does beside training: evaluations, sample grids, the picture and the card.

Only the first process does it. Nothing here changes what is trained.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import torch

from ncml_codec.learn import card, curves, datasets, pictures, sampling
from ncml_codec.learn.checkpoint import saved_step
from ncml_codec.learn.evaluation import EVALUATION_FIELDS, Evaluator
from ncml_codec.learn.log import EVALUATIONS, LOG, Board, Table, read_rows
from ncml_codec.learn.noise import Process
from ncml_codec.learn.training import Visit
from ncpn import presets, walks
from ncpn.network import NCPN

SAMPLES = "samples"


def board(options: dict[str, Any], stack: ExitStack) -> Board | None:
    """TensorBoard's files, if they are wanted, open until the stack closes."""
    run: Path = options["run"]
    if not options["tensorboard"]:
        return None
    return stack.enter_context(Board(run, saved_step(run)))


def evaluation(
    options: dict[str, Any],
    process: Process,
    device: torch.device,
    shown: Board | None,
    stack: ExitStack,
) -> Visit:
    """Likelihoods of the held-out images, in evaluations.csv."""
    run: Path = options["run"]
    held_out = datasets.open_dataset(options["test_data"], "test", 1)
    held_out = datasets.first(held_out, options["test_images"])
    datasets.check_labels(held_out, options["classes"])
    table = Table(run / EVALUATIONS, EVALUATION_FIELDS, saved_step(run), shown)
    look = Evaluator(
        held_out,
        process,
        options["batch"],
        device,
        options["classes"] > 0,
        stack.enter_context(table),
        click.echo,
    )
    return Visit(options["evaluate_every"], look)


def sample_grids(
    options: dict[str, Any], size: tuple[int, int], device: torch.device, shown: Board | None
) -> Visit:
    """Images of `size`, height and width, drawn at t = 0 with the same random numbers each time."""
    count, seed = options["samples"], options["seed"]
    folder: Path = options["run"] / SAMPLES

    def look(step: int, network: torch.nn.Module) -> None:
        assert isinstance(network, NCPN)
        numbers = sampling.uniforms((count, 3, *size), torch.Generator(device).manual_seed(seed))
        drawn = pictures.grid(sampling.ancestral(_walk(network, count), numbers, whole=True))
        folder.mkdir(exist_ok=True)
        pictures.save_png(drawn, folder / f"{step:08d}.png")
        if shown is not None:
            shown.picture(SAMPLES, drawn, step)

    return Visit(options["sample_every"], look)


def _walk(network: NCPN, count: int) -> sampling.Begin:
    """Walks at t = 0; with classes, those of the images of a batch in turn."""

    def begin(canvas: torch.Tensor) -> sampling.Walk:
        t = torch.zeros(count, device=canvas.device)
        classes = presets.classes(network)
        labels = torch.arange(count, device=canvas.device) % classes if classes else None
        return walks.walk(network, canvas, t, labels)

    return begin


def keeping_the_card(options: dict[str, Any], network: str, images: str) -> Callable[[int], None]:
    """Called after each checkpoint: draw the curves and write the card."""
    run: Path = options["run"]
    drawing = importlib.util.find_spec("matplotlib") is not None

    def saved(_: int) -> None:
        if drawing and read_rows(run / LOG):
            curves.draw([run], run / card.CURVES)
        card.write_card(run, network, images, options["device"], options["license"])

    return saved

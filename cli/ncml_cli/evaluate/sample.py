"""`ncml-sample`: draw images from a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ncml_cli.meter import Meter, on_terminal
from ncml_cli.report import failing_cleanly
from ncml_cli.zip.targets import check_outputs
from ncml_codec.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from ncml_codec.learn.sampling.sampler import Given
    from ncpn.network import NCPN


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ncml-codec")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Grid of images, *.png."
)
@click.option("--count", type=click.IntRange(1), default=64, help="Images; a row, by --classes.")
@click.option("--side", type=click.IntRange(1), default=32, help="Side of the images, pixels.")
@click.option("--plain", is_flag=True, help="One phase: sample at t = 0.")
@click.option("--t", "start", type=float, help="Noise time to sample at; the run's T if unset.")
@click.option("--method", type=click.Choice(["sde", "pc", "ode"]), default="sde")
@click.option("--steps", type=click.IntRange(1), default=50, help="Of the refinement.")
@click.option("--classes", help="A row of the grid for each class: all, or numbers like 0,3,5.")
@click.option(
    "--complete", "source", help="Complete images of a folder or data set: a row for each."
)
@click.option("--images", type=click.IntRange(1), default=8, help="Images to complete.")
@click.option(
    "--given",
    type=click.Choice(["top", "first"]),
    default="top",
    help="What is given: the top half, or the first half in the network's own order.",
)
@click.option("--batch", type=click.IntRange(1), default=64, help="Images at once.")
@click.option("--columns", type=click.IntRange(1), help="Of the grid.")
@click.option("--enlarge", type=click.IntRange(1), default=2, help="Pixels for a pixel.")
@click.option("--animation", type=click.Path(path_type=Path), help="*.gif, *.png or *.webp.")
@click.option("--array", type=click.Path(path_type=Path), help="*.npy: the images themselves.")
@click.option("--seed", type=int, default=0)
@click.option("--device", default="cpu")
@click.option("--threads", type=click.IntRange(1), default=1, help="CPU threads.")
@failing_cleanly
def main(run: Path, output: Path, **options: Any) -> None:
    """Draw images from RUN's averaged weights into one picture.

    A run with noise is sampled in two phases: pixel by pixel at the noise time --t, then refined
    to t = 0 by its score. --complete: the given half, then --count completions of each image.
    """
    import torch

    from ncml_codec.learn.data.datasets import path_of
    from ncml_codec.learn.sampling.animation import enlarged, save_animation
    from ncml_codec.learn.sampling.grids import grid, save_png
    from ncml_codec.learn.training.checkpoint import files_of
    from ncpn import runs
    from ncpn.bundles.generation import SampleConfig

    given = [] if options["source"] is None else [path_of(options["source"])]
    check_outputs([output, options["animation"], options["array"]], [*files_of(run), *given])
    torch.set_num_threads(options["threads"])
    process = runs.recorded_process(run)
    model = runs.from_pretrained(run).to(options["device"])
    start = process.horizon if options["start"] is None else options["start"]
    config = SampleConfig(0.0 if options["plain"] else start, options["method"], options["steps"])
    if options["animation"] is not None and config.start == 0:
        raise UsageError("--animation shows the refinement, which plain sampling has not")
    plan = _Plan(model, options)
    images, frames = plan.drawn(process, config)
    if options["array"] is not None:
        _save_array(images, options["array"])
    columns, factor = plan.columns, options["enlarge"]
    save_png(enlarged(grid(plan.shown(images), columns), factor), output)
    if options["animation"] is not None:
        pictures = [enlarged(grid(plan.shown(frame), columns), factor) for frame in frames]
        save_animation(pictures, options["animation"])
    click.echo(f"{output}: {len(images)} images, t = {config.start:g}" + _how(config))


class _Plan:
    """What to draw: labels, given parts, and how it becomes a grid."""

    def __init__(self, model: NCPN, options: dict[str, Any]) -> None:
        import torch

        self.model, self.options = model, options
        self.side, self.columns = options["side"], options["columns"]
        self.labels: Tensor | None = None
        self.given: Given | None = None
        self.total = options["count"]
        if options["classes"] and options["source"]:
            raise UsageError("--classes and --complete: give one of them")
        if options["classes"]:
            classes = _classes(options["classes"], model)
            self.labels = torch.tensor(classes).repeat_interleave(options["count"])
            self.columns = options["count"]
        if options["source"]:
            self.given = self._given(options["source"])
            self.columns = options["count"] + 1
        if self.labels is not None:
            self.total = len(self.labels)
        if self.given is not None:
            self.total = len(self.given.values)

    def drawn(self, process: Any, config: Any) -> tuple[Tensor, list[Tensor]]:
        """All images, and all of them at every step of the refinement if that is wanted."""
        import torch

        from ncml_codec.learn.sampling.sampler import Given
        from ncpn.bundles.generation import draw

        device = torch.device(self.options["device"])
        generator = torch.Generator(device).manual_seed(self.options["seed"])
        parts, films = [], []
        pixels = self.total * self.side * self.side
        with Meter("images", on_terminal()) as meter:
            meter.expect(pixels)
            for first in range(0, self.total, self.options["batch"]):
                here = slice(first, min(first + self.options["batch"], self.total))
                count = here.stop - here.start
                labels = None if self.labels is None else self.labels[here].to(device)
                given = self.given and Given(
                    self.given.values[here].to(device), self.given.mask.to(device)
                )
                film: list[Tensor] = []
                shape = (count, 3, self.side, self.side)
                images = draw(
                    self.model,
                    process,
                    config,
                    shape,
                    generator,
                    labels=labels,
                    given=given,
                    progress=lambda n, count=count: meter.advance(n * count),  # type: ignore[misc]
                    frame=lambda x, t, film=film: self._keep(film, x),  # type: ignore[misc]
                )
                parts.append(images.cpu())
                films.append([*film, images.cpu()])
        return torch.cat(parts), [torch.cat(frame) for frame in zip(*films, strict=True)]

    def shown(self, images: Tensor) -> Tensor:
        """The images of the grid: completions get what was given in front of each row."""
        import torch

        if self.given is None:
            return images
        mask, count = self.given.mask, self.options["count"]
        rows = images.reshape(-1, count, *images.shape[1:])
        masked = torch.where(mask, self.given.values[::count], 255.0)
        return torch.cat([masked[:, None], rows], 1).flatten(0, 1)

    def _keep(self, film: list[Tensor], x: Tensor) -> None:
        if self.options["animation"] is not None:
            film.append(x.cpu())

    def _given(self, source: str) -> Given:
        import torch

        from ncml_codec.learn.evaluation.outliers import open_images
        from ncml_codec.learn.sampling.sampler import Given
        from ncpn.bundles import generation

        images = open_images(source, "test", self.options["images"], self.side, 0)
        values = torch.from_numpy(images).float().repeat_interleave(self.options["count"], 0)
        if self.options["given"] == "top":
            return Given(values, generation.top_half(self.side, self.side))
        return Given(values, generation.first_half(self.model, self.side, self.side))


def _classes(text: str, model: NCPN) -> list[int]:
    """The numbers in `text`, or all. Raises UsageError for what the network does not know."""
    known = getattr(model.config, "classes", 0)
    if not known:
        raise UsageError("--classes: this network was trained without classes")
    try:
        wanted = list(range(known)) if text == "all" else [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--classes {text!r}: neither all nor numbers") from error
    if not all(0 <= number < known for number in wanted):
        raise UsageError(f"--classes {text}: this network knows 0 to {known - 1}")
    return wanted


def _save_array(images: Tensor, path: Path) -> None:
    import io

    import numpy as np
    import torch

    from ncml_codec.atomic_files import write_atomically

    buffer = io.BytesIO()
    np.save(buffer, images.to(torch.uint8).numpy())
    write_atomically(path, buffer.getvalue(), replace=True)


def _how(config: Any) -> str:
    if config.start == 0:
        return ", in one phase"
    return f", refined by {config.method} in {config.steps} steps"


if __name__ == "__main__":
    main()

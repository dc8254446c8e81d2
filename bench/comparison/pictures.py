"""Pictures of the page MLE against NCML: curves, samples and completions, as small PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from bench.comparison.measurements import masked, test_images
from bench.comparison.records import SHARES, Settings
from bench.comparison.tables import NAMES, Group, name
from ncml_codec.learn.evaluation.robustness import Curve, draw
from ncml_codec.learn.sampling.animation import enlarged
from ncml_codec.learn.sampling.grids import grid

_MARGIN, _CAPTION = 8, 20  # pixels


def curves(group: Group, path: Path) -> None:
    """The paper's figure 4."""
    draw([_curve(run.facts) for run in group], path)


def samples(group: Group, settings: Settings, path: Path) -> None:
    """A grid for every run and way of sampling, and one of test images."""
    count = len(group[0].plain)
    real = torch.from_numpy(test_images(settings, count).images)
    panels = [(f"test images ({count})", real)]
    for run in group:
        panels.append((f"{name(run)}, drawn at t = 0", run.plain))
        if run.refined is not None:
            panels.append((f"{name(run)}, drawn at T, refined to 0", run.refined))
    _sheet([(caption, enlarged(grid(images), 2)) for caption, images in panels], path)


def completions(group: Group, settings: Settings, path: Path) -> None:
    """Test images, what of them was given, and three completions by each run."""
    given = masked(settings)
    shown = torch.where(given.mask, given.values[::3], 255.0)
    panels = [("test image", given.values[::3]), ("given", shown)]
    pictures = [(caption, enlarged(grid(images, 1), 2)) for caption, images in panels]
    for run in group:
        how = "t = 0" if run.refined is None else "two phases"
        pictures.append((f"{name(run)}, {how}", enlarged(grid(run.completions, 3), 2)))
    _sheet(pictures, path, columns=len(pictures))


def _curve(facts: dict[str, Any]) -> Curve:
    lines, horizon = facts["deltas"], facts["T"] or 1.0
    times = sorted({line["t"] for line in lines})
    deltas = {pi: [line["delta"] for line in lines if line["pi"] == pi] for pi in SHARES[1:]}
    moved = facts["moved"] if facts["T"] else []
    label = NAMES[facts["sde"]] + ("" if facts["T"] else ", at t = 0")
    return Curve(label, [t / horizon for t in times], deltas, moved)


def _sheet(panels: Sequence[tuple[str, Tensor]], path: Path, columns: int = 4) -> None:
    """Pictures side by side under their captions."""
    font = ImageFont.load_default(12)
    widths = [
        max(pixels.shape[2], int(font.getlength(caption)) + 1) + _MARGIN
        for caption, pixels in panels
    ]
    rows = [range(len(panels))[first : first + columns] for first in range(0, len(panels), columns)]
    height = max(pixels.shape[1] for _, pixels in panels) + _CAPTION + _MARGIN
    across = max(sum(widths[index] for index in row) for row in rows)
    sheet = Image.new("RGB", (across + _MARGIN, len(rows) * height + _MARGIN), "white")
    pen = ImageDraw.Draw(sheet)
    for place, row in enumerate(rows):
        left, top = _MARGIN, _MARGIN + place * height
        for index in row:
            caption, pixels = panels[index]
            pen.text((left, top), caption, fill="black", font=font)
            picture = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
            sheet.paste(picture, (left, top + _CAPTION))
            left += widths[index]
    sheet.save(path, optimize=True)

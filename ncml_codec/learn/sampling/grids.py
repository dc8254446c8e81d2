"""Grids of images as PNG files, to look at."""

from __future__ import annotations

import io
import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ncml_codec.atomic_files import write_atomically

GAP = 2  # pixels between images, white


def grid(images: Tensor, columns: int | None = None) -> Tensor:
    """Images [count, 3, height, width], levels, row by row as one uint8 [3, height, width].

    Levels are rounded and cut to 0 to 255. columns: as many as rows, or one more, if None.
    """
    count, channels, height, width = images.shape
    columns = columns or math.isqrt(count - 1) + 1
    rows = -(-count // columns)
    full = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP)
    out = torch.full((channels, *full), 255, dtype=torch.uint8)
    for index, image in enumerate(images.round().clamp(0, 255).to("cpu", torch.uint8)):
        top, left = (height + GAP) * (index // columns), (width + GAP) * (index % columns)
        out[:, top : top + height, left : left + width] = image
    return out


def save_png(pixels: Tensor, path: Path) -> None:
    """pixels: uint8 [3, height, width]. Raises OutputError."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(buffer, "png")
    write_atomically(path, buffer.getvalue(), replace=True)

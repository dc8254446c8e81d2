"""Pictures that move, and pictures made larger: what refinement does, to look at."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from ncml_codec.atomic_files import write_atomically
from ncml_codec.errors import UsageError

FORMATS = {".gif": "GIF", ".png": "PNG", ".webp": "WEBP"}
LAST_SECONDS = 2.0  # how long the last picture stays


def enlarged(pixels: Tensor, factor: int) -> Tensor:
    """Every pixel as a square of side `factor`: [3, height, width] to [3, factor height, ...]."""
    return pixels.repeat_interleave(factor, 1).repeat_interleave(factor, 2)


def save_animation(frames: Sequence[Tensor], path: Path, seconds: float = 0.1) -> None:
    """Write frames, uint8 [3, height, width] each, as GIF, animated PNG or animated WebP.

    The suffix chooses; PNG and WebP are without loss. seconds: a frame. The animation repeats.
    Raises UsageError for another suffix, OutputError.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise UsageError(f"{path}: an animation must end in {', '.join(FORMATS)}")
    images = [Image.fromarray(np.ascontiguousarray(f.permute(1, 2, 0).numpy())) for f in frames]
    milliseconds = [round(1000 * seconds)] * (len(images) - 1) + [round(1000 * LAST_SECONDS)]
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        kind,
        save_all=True,
        append_images=images[1:],
        duration=milliseconds,
        loop=0,
        **options,
    )
    write_atomically(path, buffer.getvalue(), replace=True)

"""Draw tests/images/valley.png: a landscape of our own making, much like a photograph.

Ridges of fractal noise in haze, a lake that mirrors them, blurred by a lens, sampled through a
Bayer mosaic with shot noise, and interpolated, as a camera does.
Run: python tests/programs/make_valley.py OUT.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

Floats = npt.NDArray[np.float64]
HEIGHT, WIDTH = 320, 480


def valley(seed: int = 20) -> npt.NDArray[np.uint8]:
    """uint8 [320, 480, 3]."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    shore = 0.68 * HEIGHT
    picture = sky(random, rows)
    for depth in range(5):
        picture = ridge(random, picture, rows, depth, shore)
    mirrored = picture[np.clip(2 * shore - rows, 0, shore - 1).astype(int), columns.astype(int)]
    ripple = noise(random, 2, 24)[:, :, None]
    water = 0.72 * mirrored * (1 + 0.1 * (ripple - 0.5)) + np.array([0.02, 0.05, 0.08])
    picture = np.where((rows >= shore)[:, :, None], water, picture)
    return camera(random, blurred(picture))


def sky(random: np.random.Generator, rows: Floats) -> Floats:
    height = (rows / HEIGHT)[:, :, None]
    clear = (1 - height) * np.array([0.22, 0.42, 0.75]) + height * np.array([0.95, 0.85, 0.72])
    clouds = np.clip(1.8 * (noise(random, 48, 4) - 0.48), 0, 1)[:, :, None]
    return clear * (1 - 0.6 * clouds) + 0.6 * clouds * np.array([1.0, 0.97, 0.93])


def ridge(
    random: np.random.Generator, picture: Floats, rows: Floats, depth: int, shore: float
) -> Floats:
    line = noise(random, 90 - 12 * depth, 2)[0] * 0.5 + noise(random, 9, 3)[0] * 0.06
    top = HEIGHT * (0.06 + 0.1 * depth) + line * HEIGHT * 0.34
    relief = noise(random, 26 - 3 * depth, 8)
    rock = noise(random, 3, 2)
    light = np.gradient(relief, axis=1) * 6 + 0.55 + 0.25 * (rock - 0.5)
    green = np.array([0.16, 0.24, 0.10]) * (0.7 + depth * 0.1)
    stone = np.array([0.36, 0.32, 0.28])
    mix = np.clip(2.5 * (relief - 0.4), 0, 1)[:, :, None]
    ground = (green * (1 - mix) + stone * mix) * np.clip(light, 0.15, 1.6)[:, :, None] * 1.5
    haze = 0.75 ** (depth + 1.2)
    ground = ground * (1 - haze) + haze * np.array([0.72, 0.76, 0.82])
    inside = (rows > top[None, :]) & (rows < shore)
    return np.where(inside[:, :, None], ground, picture)


def noise(random: np.random.Generator, size: float, across: float) -> Floats:
    """Fractal noise of 0 to 1, its features up to `size` pixels high, wider by `across` / 4."""
    total, weight = np.zeros((HEIGHT, WIDTH)), 0.0
    for octave in range(6):
        step = max(size / 2**octave, 1.0)
        cells = (int(HEIGHT / step) + 2, int(WIDTH / (step * max(across, 4) / 4)) + 2)
        grid = Image.fromarray(random.random(cells).astype(np.float32))
        layer = np.asarray(grid.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), float)
        total += layer * 0.55**octave
        weight += 0.55**octave
    return np.asarray(total / weight)


def blurred(picture: Floats) -> Floats:
    """The lens: a small separable blur."""
    for axis in (0, 1):
        places = np.arange(picture.shape[axis])
        before = np.take(picture, np.maximum(places - 1, 0), axis)
        after = np.take(picture, np.minimum(places + 1, places[-1]), axis)
        picture = 0.25 * before + 0.5 * picture + 0.25 * after
    return picture


def camera(random: np.random.Generator, light: Floats) -> npt.NDArray[np.uint8]:
    """Bayer mosaic with shot noise, bilinear interpolation, tone curve, 8 bits."""
    light = np.clip(light, 0, 1) ** 2.2
    noisy = light + random.normal(0, 1, light.shape) * np.sqrt(light * 1.2e-4 + 2e-6)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    masks = [
        (rows % 2 == 0) & (columns % 2 == 0),
        (rows + columns) % 2 == 1,
        (rows % 2 == 1) & (columns % 2 == 1),
    ]
    planes = []
    for plane, mask in enumerate(masks):
        total, count = np.zeros(mask.shape), np.zeros(mask.shape)
        for di in (-1, 0, 1):
            for dj in (-1, 0, 1):
                weight = (2 - abs(di)) * (2 - abs(dj)) * np.roll(mask, (di, dj), (0, 1))
                total += weight * np.roll(noisy[:, :, plane], (di, dj), (0, 1))
                count += weight
        planes.append(np.where(mask, noisy[:, :, plane], total / count))
    developed = np.clip(np.stack(planes, 2), 0, 1) ** (1 / 2.2)
    return np.asarray(np.rint(developed * 255), np.uint8)


def main(out: Path) -> None:
    """Write the PNG, with the metadata that a camera would leave."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "Valley, drawn by tests/programs/make_valley.py")
    Image.fromarray(valley()).save(out, pnginfo=info, dpi=(300, 300), optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

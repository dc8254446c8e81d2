"""Altered crops: what users have and folders of clean photographs lack.

Photographs as cameras and programs leave them (a mosaic interpolated, chroma at half the
resolution, sharpened, toned, noisy, decoded from JPEG, made smaller), dithered ones, and drawings
with text. Not the choice of the crops nor their orientation, see `ncml_codec.learn.data.crops`.

Each kind takes a photograph and a generator, which it draws all of its strengths from, and gives a
new array of the same shape (`shrunk` one of the shape that is asked for). JPEG, sizes and text are
Pillow's: the same generator gives the same pixels with the same Pillow. Strengths were chosen by
what is usual, not by measurement; what training on them brings is in
`bench/notebook/training.md`.
"""

from __future__ import annotations

import io
import string
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Pixels = npt.NDArray[np.uint8]
Alter = Callable[[Pixels, np.random.Generator], Pixels]

MARGIN = 16  # pixels: the side of a JPEG block whose chroma is halved
LARGEST_FACTOR = 4.0


def altered(image: Pixels, top: int, left: int, side: int, random: np.random.Generator) -> Pixels:
    """The crop [side, side, 3] of `image` at (top, left), altered in one of KINDS or `shrunk`.

    Each is equally likely. Fewer than MARGIN pixels before it are altered with it, so that patterns
    and blocks begin anywhere. A shrunk crop shows up to LARGEST_FACTOR times as many rows and
    columns of the image; where the image is too small for that, its mirror image.
    """
    choice = int(random.integers(len(KINDS) + 1))
    if choice == len(KINDS):
        wide = round(side * random.uniform(1.25, LARGEST_FACTOR))
        return shrunk(_window(image, top, left, wide), side, side, random)
    above, before = np.minimum(random.integers(MARGIN, size=2), (top, left))
    window = image[top - above : top + side + 2, left - before : left + side + 2]
    whole = list(KINDS.values())[choice](window, random)
    return whole[above : above + side, before : before + side]


def mosaicked(image: Pixels, random: np.random.Generator) -> Pixels:
    """One colour a pixel kept, in one of the four Bayer patterns; the others bilinear from it."""
    height, width = image.shape[:2]
    row, column = random.integers(2, size=2)  # where red is; blue is diagonal to it
    # Mirrored without repeating the border, so that the pattern goes on beyond it.
    wide = np.pad(image, ((1, 1), (1, 1), (0, 0)), "reflect").astype(np.int16)
    planes = np.zeros((3, height + 2, width + 2), np.int16)
    for channel, i, j in ((0, row, column), (1, row, 1 - column), (1, 1 - row, column)):
        planes[channel, 1 - i :: 2, 1 - j :: 2] = wide[1 - i :: 2, 1 - j :: 2, channel]
    planes[2, row::2, column::2] = wide[row::2, column::2, 2]
    vertical = planes[:, :-2] + 2 * planes[:, 1:-1] + planes[:, 2:]
    sums = vertical[:, :, :-2] + 2 * vertical[:, :, 1:-1] + vertical[:, :, 2:]
    # Green has twice as many samples: its four neighbours alone.
    green = planes[1]
    sums[1] = 4 * green[1:-1, 1:-1]
    sums[1] += green[:-2, 1:-1] + green[2:, 1:-1] + green[1:-1, :-2] + green[1:-1, 2:]
    return ((sums + 2) >> 2).astype(np.uint8).transpose(1, 2, 0)


def thin_chroma(image: Pixels, random: np.random.Generator) -> Pixels:
    """Colour differences halved in width, mostly in height too, and interpolated back; luma stays.

    Blocks begin at the image's first pixel. Luma as in JFIF (ITU-R BT.601).
    """
    planes = image.astype(np.float32).transpose(2, 0, 1)
    # No matrix product, whose rounding depends on the library.
    luma = _LUMA[0] * planes[0] + _LUMA[1] * planes[1] + _LUMA[2] * planes[2]
    red, blue = (_halved(planes[channel] - luma) for channel in (0, 2))
    if random.random() < 0.7:
        red, blue = (_halved(difference.T).T for difference in (red, blue))
    green = -(_LUMA[0] * red + _LUMA[2] * blue) / _LUMA[1]
    return _levels(np.stack([red, green, blue], axis=2) + luma[..., None])


def sharpened(image: Pixels, random: np.random.Generator) -> Pixels:
    """Unsharp masking: 0.3 to 1.5 times the difference to a binomial blur of 3 x 3 added."""
    wide = np.pad(image, ((1, 1), (1, 1), (0, 0)), "edge").astype(np.float32)
    vertical = wide[:-2] + 2 * wide[1:-1] + wide[2:]
    blurred = (vertical[:, :-2] + 2 * vertical[:, 1:-1] + vertical[:, 2:]) / 16
    amount = np.float32(random.uniform(0.3, 1.5))
    return _levels(image + amount * (image - blurred))


def toned(image: Pixels, random: np.random.Generator) -> Pixels:
    """Levels through a rising curve of each channel: gamma, contrast and a little white balance."""
    level = np.arange(256) / 255
    gamma = np.exp(
        random.choice([-1, 1]) * random.uniform(0.15, 0.6) + random.uniform(-0.1, 0.1, 3)
    )
    contrast = random.uniform(0, 0.6)
    bright = level[:, None] ** gamma
    curve = (1 - contrast) * bright + contrast * bright**2 * (3 - 2 * bright)
    table = _levels(255 * curve)
    return np.stack([table[:, channel][image[..., channel]] for channel in range(3)], axis=2)


def noisy(image: Pixels, random: np.random.Generator) -> Pixels:
    """Independent Gaussian noise with a standard deviation of 1 to 4 levels."""
    strength = np.float32(random.uniform(1, 4))
    return _levels(image + strength * random.standard_normal(image.shape, np.float32))


def jpeg(image: Pixels, random: np.random.Generator) -> Pixels:
    """What JPEG of quality 60 to 95 decodes to, its chroma halved in 0, 1 or 2 directions."""
    quality, halved = int(random.integers(60, 96)), int(random.integers(3))
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=halved)
    with Image.open(file) as decoded:
        return np.asarray(decoded)


def shrunk(image: Pixels, height: int, width: int, random: np.random.Generator) -> Pixels:
    """The image made smaller, [height, width, 3], by one of the four usual filters."""
    filters = (
        Image.Resampling.BOX,
        Image.Resampling.BILINEAR,
        Image.Resampling.BICUBIC,
        Image.Resampling.LANCZOS,
    )
    chosen = filters[random.integers(len(filters))]
    return np.asarray(Image.fromarray(image).resize((width, height), chosen))


def dithered(image: Pixels, random: np.random.Generator) -> Pixels:
    """Two to eight levels a channel, between them an ordered pattern of 4 x 4."""
    steps = int(random.integers(1, 8))
    height, width = image.shape[:2]
    pattern = np.tile(_THRESHOLDS, (-(-height // 4), -(-width // 4)))[:height, :width, None]
    step = np.floor(image * np.float32(steps / 255) + pattern)
    return _levels(step * np.float32(255 / steps))


def drawn(image: Pixels, random: np.random.Generator) -> Pixels:
    """A drawing or screenshot, of whose photograph only the shape is taken: shapes and text.

    On one colour or a gradient, which may be dithered; text is smooth or not.
    """
    height, width = image.shape[:2]
    ground = _gradient(height, width, random) if random.random() < 0.4 else _plain(image, random)
    picture = Image.fromarray(ground)
    pen = ImageDraw.Draw(picture)
    pieces = max(1, height * width // 2048)
    for _ in range(int(random.integers(3 * pieces))):
        _shape(pen, height, width, random)
    if random.random() < 0.8:
        pen.fontmode = "L" if random.random() < 0.7 else "1"
        _write(pen, height, width, random)
    return np.array(picture)


KINDS: Mapping[str, Alter] = {
    "mosaicked": mosaicked,
    "thin chroma": thin_chroma,
    "sharpened": sharpened,
    "toned": toned,
    "noisy": noisy,
    "jpeg": jpeg,
    "dithered": dithered,
    "drawn": drawn,
}

_LUMA = (0.299, 0.587, 0.114)
# Bayer's matrix of 4 x 4 (1973), as thresholds between 0 and 1.
_THRESHOLDS = (
    np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) + 0.5
) / 16


def _window(image: Pixels, top: int, left: int, side: int) -> Pixels:
    """[side, side, 3] that begins at (top, left), or before where the image is too small for it."""
    height, width = image.shape[:2]
    top, left = max(0, min(top, height - side)), max(0, min(left, width - side))
    window = image[top : top + side, left : left + side]
    missing = [(0, side - length) for length in window.shape[:2]]
    return np.pad(window, (*missing, (0, 0)), "symmetric")


def _levels(values: npt.NDArray[np.floating]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _halved(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Pairs of columns replaced by their mean, then interpolated back linearly."""
    length = plane.shape[1]
    even = np.pad(plane, ((0, 0), (0, length % 2)), "edge")
    means = np.pad((even[:, ::2] + even[:, 1::2]) / 2, ((0, 0), (1, 1)), "edge")
    back = np.empty_like(even)
    back[:, ::2] = 0.75 * means[:, 1:-1] + 0.25 * means[:, :-2]
    back[:, 1::2] = 0.75 * means[:, 1:-1] + 0.25 * means[:, 2:]
    return back[:, :length]


def _colour(random: np.random.Generator) -> tuple[int, int, int]:
    """Grey half of the time, and then often black or white, as on screens."""
    if random.random() < 0.5:
        grey = int(np.clip(random.integers(-100, 356), 0, 255))
        return grey, grey, grey
    red, green, blue = (int(level) for level in random.integers(256, size=3))
    return red, green, blue


def _plain(image: Pixels, random: np.random.Generator) -> Pixels:
    return np.full_like(image, _colour(random))


def _gradient(height: int, width: int, random: np.random.Generator) -> Pixels:
    """From one colour to another in any direction, rounded, or dithered to a few levels."""
    down, right = random.uniform(-1, 1, 2)
    place = np.linspace(0, down, height)[:, None] + np.linspace(0, right, width)
    place = (place - min(0, down) - min(0, right)) / (abs(down) + abs(right))
    first, last = (np.array(_colour(random), np.float32) for _ in range(2))
    smooth = _levels(first + place[..., None].astype(np.float32) * (last - first))
    return dithered(smooth, random) if random.random() < 0.3 else smooth


def _shape(pen: ImageDraw.ImageDraw, height: int, width: int, random: np.random.Generator) -> None:
    """A filled rectangle or ellipse, an empty rectangle, or a line."""
    x, y = int(random.integers(-8, width)), int(random.integers(-8, height))
    box = (x, y, x + int(random.integers(2, 48)), y + int(random.integers(2, 48)))
    kind, colour = int(random.integers(4)), _colour(random)
    if kind == 0:
        pen.rectangle(box, fill=colour)
    elif kind == 1:
        pen.ellipse(box, fill=colour)
    elif kind == 2:
        pen.rectangle(box, outline=colour)
    else:
        pen.line(box, fill=colour, width=int(random.integers(1, 4)))


def _write(pen: ImageDraw.ImageDraw, height: int, width: int, random: np.random.Generator) -> None:
    """A few lines of random letters, one below the other."""
    size, colour = int(random.integers(8, 25)), _colour(random)
    x, y = int(random.integers(-size, width // 2)), int(random.integers(-size, height // 2))
    letters = np.array(list(string.ascii_letters + string.digits + "    .,-:"))
    for _ in range(int(random.integers(1, 2 + height // 32))):
        line = "".join(random.choice(letters, 2 * (width - x) // size))
        pen.text((x, y), line, colour, _font(size))
        y += size + size // 4


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)

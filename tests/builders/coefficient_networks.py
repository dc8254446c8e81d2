"""Networks of integers for JPEG coefficients with random weights, and JPEG files to code."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from ncml_codec.coefficients.network import (
    ACTIVATION_MAX,
    LAST,
    OUTPUT_MAX,
    Integers,
    Layer,
    Network,
    PlaneNetwork,
    Tables,
    first_bounds,
)
from ncml_codec.coefficients.planes import NEIGHBOURS


def random_network(seed: int, width: int = 12, hidden: int = 4, mixtures: int = 2) -> Network:
    """A sound network that knows nothing."""
    random = np.random.default_rng(seed)

    def layer(outputs: int, inputs: int, shift: int, limit: int = ACTIVATION_MAX) -> Layer:
        weight = random.integers(-300, 301, (outputs, inputs), dtype=np.int32)
        bias = random.integers(-3000, 3001, outputs, dtype=np.int32)
        return Layer(weight, bias, np.full(outputs, shift, np.int32), limit)

    def plane(chroma: bool) -> PlaneNetwork:
        own = width + 2 * LAST
        heads = []
        for k in range(1, LAST + 1):
            head = layer(hidden, own, 6)
            head.weight[:, width:].reshape(-1, 2, LAST)[..., k - 1 :] = 0
            heads.append(head)
        roles = len(NEIGHBOURS) + 2 * chroma + 1
        linear = random.integers(-200, 201, (roles, 64, 64), dtype=np.int32)
        linear[-1] = np.triu(linear[-1], 1)
        linear[-1, :, 0] = random.integers(-200, 201, 64)
        linear[-1, 0] = 0
        return PlaneNetwork(
            chroma=chroma,
            far=10,
            first=layer(width, len(first_bounds(10, chroma)), 9),
            end=layer(LAST + 1, width, 10, OUTPUT_MAX),
            second=layer(width, width, 8),
            end_bias=random.integers(-3000, 3001, (LAST + 1, width), dtype=np.int32),
            heads=tuple(heads),
            outs=tuple(layer(3 * mixtures, hidden, 9, OUTPUT_MAX) for _ in range(LAST)),
            dc_head=layer(hidden, own, 6),
            dc_out=layer(3 * mixtures, hidden, 9, OUTPUT_MAX),
            linear=linear,
        )

    return Network(plane(False), plane(True), tables())


def thinned(network: Network, seed: int, keep: float = 0.05) -> Network:
    """The network with few of its weights, but larger ones, so that its file is small."""
    random = np.random.default_rng(seed)

    def few(weight: Integers, factor: int) -> Integers:
        return np.where(random.random(weight.shape) < keep, factor * weight, 0).astype(np.int32)

    def layer(whole: Layer) -> Layer:
        return replace(whole, weight=few(whole.weight, 3))

    def plane(whole: PlaneNetwork) -> PlaneNetwork:
        names = ("first", "end", "second", "dc_head", "dc_out")
        single = {name: layer(getattr(whole, name)) for name in names}
        heads = tuple(map(layer, whole.heads))
        outs = tuple(map(layer, whole.outs))
        linear = few(whole.linear, 5)
        return replace(whole, **single, heads=heads, outs=outs, linear=linear)

    return Network(plane(network.luma), plane(network.chroma), network.tables)


def tables() -> Tables:
    """The functions that all networks have."""
    inverse = 128 * np.exp(-(np.arange(641) / 64 - 4))
    shift = np.floor(12.99 - np.log2(inverse)).astype(np.int32)
    functions = (
        32 * np.log2(1 + np.arange(2048)),
        2**16 * np.exp(-np.arange(1024) / 64),
        inverse * 2.0**shift,
        shift,
        2**16 / (1 + np.exp(-(np.arange(1025) / 32 - 16))),
    )
    return Tables(*(np.rint(values).astype(np.int32) for values in functions))


def jpeg_bytes(
    seed: int,
    size: tuple[int, int] = (40, 32),
    quality: int = 80,
    sampling: int = 2,
    mode: str = "RGB",
) -> bytes:
    """A JPEG file of a smooth random image."""
    random = np.random.default_rng(seed)
    shape = (5, 6) if mode == "L" else (5, 6, len(mode))
    small = Image.fromarray(random.integers(0, 256, shape, np.uint8), mode)
    image = small.resize(size, Image.Resampling.BICUBIC)
    data = io.BytesIO()
    options = {} if mode == "L" else {"subsampling": sampling}
    image.save(data, "JPEG", quality=quality, **options)
    return data.getvalue()

"""Coefficients coded by native code, to the same bytes as the plain modules.

Imported only where the native module is.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from ncml_codec.coefficients import _native
from ncml_codec.coefficients.network import Layer, Network, PlaneNetwork, table_names
from ncml_codec.coefficients.planes import CHROMA, Shapes, steps_of
from ncml_codec.context_mixing.logits import squash_table, stretch_table
from ncml_codec.entropy.coder import NO_STREAM, words_of
from ncml_codec.errors import FormatError

ISA_VARIABLE = "NCML_NATIVE_ISA"  # of the environment
INSTRUCTION_SETS = tuple(_native.instruction_sets())  # of this processor, fastest first

Coefficients = npt.NDArray[np.int16]


def encode(
    coefficients: tuple[Coefficients, ...], layout: Shapes, network: Network, static: bool
) -> bytes:
    """See `codec.encode`."""
    encoder = _native.Encoder()
    _code(encoder, None, layout, network, static, coefficients)
    return encoder.finish()


def decode(
    payload: bytes, layout: Shapes, network: Network, static: bool
) -> tuple[Coefficients, ...]:
    """See `codec.decode`."""
    decoder = _native.Decoder(words_of(payload).tobytes())
    return _code(None, decoder, layout, network, static, None)


def _code(
    encoder: _native.Encoder | None,
    decoder: _native.Decoder | None,
    layout: Shapes,
    network: Network,
    static: bool,
    known: tuple[Coefficients, ...] | None,
) -> tuple[Coefficients, ...]:
    native = _made(network, _isa())
    found: list[Coefficients] = []
    for index, shape in enumerate(layout.shapes):
        is_chroma = index in CHROMA
        has_other = index == 2 and shape == layout.shapes[1]
        given = None if known is None else np.ascontiguousarray(known[index], np.int16)
        blocks = np.zeros(shape, np.int16) if given is None else given
        sound = native.code(
            encoder,
            decoder,
            blocks,
            steps_of(layout, index),
            found[0] if is_chroma else None,
            steps_of(layout, 0) if is_chroma else None,
            found[1] if has_other else None,
            is_chroma,
            index == 2,
            not static,
        )
        if not sound:
            raise FormatError(NO_STREAM)
        found.append(blocks)
    return tuple(found)


def _isa() -> str:
    """The one that the environment names, if these loops are made for it, or the fastest."""
    named = os.environ.get(ISA_VARIABLE, "")
    return named if named in INSTRUCTION_SETS else INSTRUCTION_SETS[0]


@functools.lru_cache(maxsize=4)
def _made(network: Network, isa: str) -> _native.Network:
    tables = {name: getattr(network.tables, name) for name in table_names()}
    tables |= {"stretch": stretch_table(), "squash": squash_table()}
    return _native.Network(isa, _fields(network.luma), _fields(network.chroma), tables)


def _fields(plane: PlaneNetwork) -> dict[str, Any]:
    def parts(layer: Layer) -> tuple[Any, ...]:
        return layer.weight, layer.bias, layer.shift, layer.limit

    return {
        "chroma": plane.chroma,
        "far": plane.far,
        **{name: parts(getattr(plane, name)) for name in ("first", "end", "second")},
        **{name: parts(getattr(plane, name)) for name in ("dc_head", "dc_out")},
        **{name: [parts(layer) for layer in getattr(plane, name)] for name in ("heads", "outs")},
        "end_bias": plane.end_bias,
        "linear": plane.linear,
    }

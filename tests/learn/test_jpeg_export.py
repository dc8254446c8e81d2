"""Trained networks for JPEG coefficients as integers: the same code length, within rounding."""

from __future__ import annotations

import pytest
import torch

from jpeg_coefficients.blocks import Blocks
from jpeg_coefficients.export import make_tables, proof, to_integers
from jpeg_coefficients.network import PlaneConfig
from jpeg_coefficients.training import CoefficientNetwork
from ncml_codec.coefficients import codec
from ncml_codec.coefficients.network import SUM_LIMIT, table_names
from ncml_codec.jpeg import read
from tests.builders.coefficient_networks import jpeg_bytes, tables


@pytest.mark.parametrize("sampling", [0, 2])
@torch.no_grad()
def test_integers_have_the_floats_code_length(sampling: int) -> None:
    torch.manual_seed(1)
    sizes = {"first": 16, "second": 12, "hidden": 4, "dc_hidden": 6, "far": 9}
    model = CoefficientNetwork(PlaneConfig(**sizes), PlaneConfig(**sizes, chroma=True))
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.02)
    for plane in (model.luma, model.chroma):
        # Wide distributions: integers have no tails below 2**-16, which only surprises reach.
        plane.out_bias[..., 6:] += 2
        plane.dc_out.bias[6:] += 2
    file = read(jpeg_bytes(1, size=(64, 48), sampling=sampling))
    sets = [Blocks([file], luma) for luma in (True, False)]
    batches = [blocks.batch(torch.arange(len(blocks))) for blocks in sets]
    floating = sum(
        float(model.plane(luma)(batch).total.sum())
        for luma, batch in zip((True, False), batches, strict=True)
    )
    network = to_integers(model, *batches)
    integer = codec.code_length(file.coefficients, file.layout, network, static=True)
    # 11-bit activations, and probabilities of at least 8 / 65536.
    assert integer == pytest.approx(floating, rel=2e-3)
    assert all(reach < SUM_LIMIT for _, _, reach in proof(network))


def test_tables_are_those_of_the_format() -> None:
    for name in table_names():
        assert getattr(make_tables(), name).tolist() == getattr(tables(), name).tolist()

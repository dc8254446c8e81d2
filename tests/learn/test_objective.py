"""The NCML objective: its parts, and plain maximum likelihood as a special case."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ncml_codec.learn.likelihood.mixture import Mixture
from ncml_codec.learn.likelihood.objective import image_bits, ncml
from ncml_codec.learn.likelihood.processes import process_named


class Logistic:
    """A model of one logistic, the same for every sub-pixel; it notes the times it was given."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.inputs: list[Tensor] = []

    def __call__(self, x: Tensor, t: Tensor) -> Mixture:
        self.times += t.tolist()
        self.inputs.append(x)
        shape = (*x.shape[:2], 1, *x.shape[2:])
        return Mixture(torch.zeros(shape), torch.full(shape, 100.0), torch.full(shape, 3.0))


def logistic_bits(x: Tensor, edges: bool) -> float:
    scale = math.exp(3.0)
    upper, lower = (torch.sigmoid((x.double() + s - 100) / scale) for s in (0.5, -0.5))
    if edges:
        upper = torch.where(x > 254.5, 1.0, upper)
        lower = torch.where(x < 0.5, 0.0, lower)
    return float(-(upper - lower).log2().mean())


X = torch.randint(0, 256, (64, 3, 4, 4), generator=torch.Generator().manual_seed(0)).float()


def test_bits_are_the_mean_over_sub_pixels() -> None:
    bits = image_bits(Logistic(), X, torch.zeros(64))
    for image, value in zip(X, bits, strict=True):
        assert float(value) == pytest.approx(logistic_bits(image, True), rel=1e-4)
    later = image_bits(Logistic(), X, torch.full((64,), 0.1))
    assert float(later.mean()) == pytest.approx(logistic_bits(X, False), rel=1e-4)
    assert (later >= bits - 1e-5).all()


def test_plain_maximum_likelihood_is_the_clean_term() -> None:
    model = Logistic()
    parts = ncml(model, X, process_named("none"), 0.5, torch.Generator())
    assert set(model.times) == {0.0}
    assert torch.equal(model.inputs[0], X)
    assert float(parts.total) == pytest.approx(float(parts.clean))
    assert math.isnan(float(parts.noisy))


@pytest.mark.parametrize("sde", ["ve", "vp", "subvp"])
def test_the_total_is_the_mean_of_its_parts(sde: str) -> None:
    model, process = Logistic(), process_named(sde)
    parts = ncml(model, X, process, 0.25, torch.Generator().manual_seed(1))
    clean = sum(t == 0 for t in model.times) / len(model.times)
    assert 0 < clean < 0.6
    expected = clean * float(parts.clean) + (1 - clean) * float(parts.noisy)
    assert float(parts.total) == pytest.approx(expected, rel=1e-5)
    assert max(model.times) <= process.horizon
    moved = (model.inputs[0] != X).flatten(1).any(1)
    assert moved.tolist() == [t > 0 for t in model.times]

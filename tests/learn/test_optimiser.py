"""The optimiser: Muon's orthogonal steps, AdamW as torch has it, moments that can be saved."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ncml_codec.learn.training.optimiser import Optimiser, OptimiserConfig, is_matrix, orthogonal


@pytest.mark.parametrize("shape", [(6, 6), (4, 20), (20, 4)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(matrix))
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert not orthogonal(torch.zeros(shape)).any()


def test_orthogonalising_keeps_the_directions() -> None:
    matrix = torch.randn(5, 9, generator=torch.Generator().manual_seed(1))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    rotated = u.T @ orthogonal(matrix) @ v.T
    off = rotated - torch.diag(torch.diagonal(rotated))
    assert off.abs().max() < 1e-4


def test_vectors_are_updated_as_by_adamw() -> None:
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    config = OptimiserConfig(rate=0.01, betas=(0.9, 0.98), decay=0.02)
    optimiser = Optimiser({"bias": ours}, config)
    reference = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.98), weight_decay=0.02)
    for step in range(1, 30):
        for parameter in (ours, theirs):
            parameter.grad = torch.sin(parameter.detach() * step)
        optimiser.step(step, 1.0)
        reference.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_matrices_descend_faster_than_the_noise_conditioning_is_touched() -> None:
    assert is_matrix("blocks.0.taps.weight", torch.zeros(3, 4))
    assert not is_matrix("blocks.0.time.weight", torch.zeros(3, 4))
    assert not is_matrix("blocks.0.taps.bias", torch.zeros(3))


def test_a_quadratic_is_minimised() -> None:
    target = torch.randn(6, 10, generator=torch.Generator().manual_seed(2))
    weight = nn.Parameter(torch.zeros(6, 10))
    optimiser = Optimiser({"weight": weight}, OptimiserConfig(matrix_rate=0.1, decay=0.0))
    for step in range(1, 301):
        optimiser.zero_grad()
        loss = (weight - target).square().mean()
        loss.backward()
        optimiser.step(step, 1 - step / 301)
    assert float(loss.detach()) < 1e-3


def test_moments_come_back() -> None:
    def fresh() -> tuple[dict[str, nn.Parameter], Optimiser]:
        torch.manual_seed(0)
        named = {"a": nn.Parameter(torch.randn(3, 4)), "b": nn.Parameter(torch.randn(4))}
        return named, Optimiser(named, OptimiserConfig())

    def step(named: dict[str, nn.Parameter], optimiser: Optimiser, count: int) -> None:
        for parameter in named.values():
            parameter.grad = torch.cos(parameter.detach() + count)
        optimiser.step(count, 0.5)

    named, optimiser = fresh()
    for count in (1, 2):
        step(named, optimiser, count)
    other, resumed = fresh()
    with torch.no_grad():
        for name, parameter in other.items():
            parameter.copy_(named[name])
    resumed.load_moments(optimiser.moments())
    step(named, optimiser, 3)
    step(other, resumed, 3)
    assert all(torch.equal(named[name], other[name]) for name in named)

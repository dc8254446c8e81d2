"""The wave NCPN: causality, presets, and the same integers as its export."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ncml_codec.errors import InputError, UsageError
from ncml_codec.learn.likelihood.mixture import Mixture
from ncpn import presets
from ncpn.wave_network.wave import local_reference
from tests.builders.float_networks import random_wave_network

HEIGHT, WIDTH = 9, 12


def outputs(mixture: Mixture) -> Tensor:
    """[plane, k * 3, height, width] of the one image."""
    parts = (mixture.logits, mixture.means, mixture.log_scales)
    return torch.cat(parts, 2)[0]


def may_see(plane: int, place: tuple[int, int], source: tuple[int, int], of: int) -> bool:
    """Whether the distribution of `plane` at `place` may depend on plane `of` at `source`."""
    if place == source:
        return of < plane
    return source[1] + 2 * source[0] < place[1] + 2 * place[0]


@pytest.mark.parametrize("t", [0.0, 0.7])
def test_causality_by_perturbation(t: float) -> None:
    model, time = random_wave_network(), torch.tensor([t])
    x = torch.randint(0, 256, (1, 3, HEIGHT, WIDTH)).float()
    with torch.no_grad():
        before = outputs(model(x, time))
        for source in ((0, 0), (4, 5), (3, 11), (8, 0), (7, 2)):
            for of in range(3):
                changed = x.clone()
                changed[0, of, source[0], source[1]] += 70
                moved = (outputs(model(changed, time)) != before).any(1)
                for plane, row, column in moved.nonzero().tolist():
                    assert may_see(plane, (row, column), source, of)
                assert moved.any() or source == (8, 11)


def test_causality_by_gradient() -> None:
    model = random_wave_network(1)
    x = (255 * torch.rand(1, 3, HEIGHT, WIDTH)).requires_grad_()
    found = outputs(model(x, torch.zeros(1)))
    for plane in range(3):
        for place in ((4, 6), (0, 3), (8, 8)):
            total = found[plane, :, place[0], place[1]].sum()
            (gradient,) = torch.autograd.grad(total, x, retain_graph=True)
            for of, row, column in gradient[0].nonzero().tolist():
                assert may_see(plane, place, (row, column), of)
            assert gradient.any()


def test_the_window_is_seen_in_full() -> None:
    model = random_wave_network(2)
    x = (255 * torch.rand(1, 3, 9, 12)).requires_grad_()
    outputs(model(x, torch.zeros(1)))[0, :, 4, 6].sum().backward()
    assert x.grad is not None
    seen = x.grad[0].abs().sum(0) > 0
    assert all(seen[4 + di, 6 + dj] for di, dj in ((0, -1), (-1, 1), (1, -3), (-3, 3), (-1, -4)))


def test_noise_time_conditions_every_block() -> None:
    model = random_wave_network(3)
    x = torch.full((1, 3, 4, 4), 100.0)
    with torch.no_grad():
        for block in model.gated_blocks():
            saved = block.time.weight.clone()
            one, other = (outputs(model(x, torch.tensor([t]))) for t in (0.1, 0.6))
            assert (one != other).any()
            block.time.weight.zero_()
            fewer = outputs(model(x, torch.tensor([0.6])))
            assert (fewer != other).any()
            block.time.weight.copy_(saved)


def test_images_of_a_batch_do_not_mix() -> None:
    model = random_wave_network(4)
    x = 255 * torch.rand(3, 3, 6, 7)
    t = torch.tensor([0.0, 0.4, 0.9])
    with torch.no_grad():
        together = model(x, t).means
        alone = torch.cat([model(x[i : i + 1], t[i : i + 1]).means for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)


def test_the_reference_uses_what_is_inside() -> None:
    planes = torch.arange(1.0, 13).reshape(1, 1, 3, 4)
    reference = local_reference(planes)[0, 0]
    assert reference[0].tolist() == [0, 1, 2, 3]  # first row: W alone
    assert reference[1, 0] == (2 * 1 + 1 + 2) / 4  # first column: N for W
    assert reference[1, 1] == (2 * 5 + 2 + 3) / 4
    assert reference[2, 3] == (2 * 11 + 8 + 8) / 4  # last column: N for NE


@pytest.mark.parametrize(
    ("name", "count"),
    [("wave-tiny", 2_152), ("wave-fast", 27_816), ("wave-photo", 97_488), ("wave-max", 565_344)],
)
def test_presets_have_these_multiply_adds(name: str, count: int) -> None:
    model = presets.build(presets.preset(name, 0.0))
    assert presets.multiply_adds(model) == count
    assert presets.from_json(presets.to_json(model.config)) == model.config


def test_unknown_presets_and_fields_are_refused() -> None:
    with pytest.raises(UsageError, match="wave-photo"):
        presets.preset("photo", 0.0)
    with pytest.raises(InputError):
        presets.from_json({"kind": "wave", "no_such_field": 1})

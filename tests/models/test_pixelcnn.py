"""The paper's NCPN: causality, conditioning, initialisation, presets, and that it learns."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from ncml_codec.errors import InputError, UsageError
from ncml_codec.learn.likelihood.mixture import JointMixture
from ncml_codec.learn.likelihood.objective import image_bits
from ncpn import presets
from ncpn.paper_network.pixelcnn import PixelCNN, PixelCNNConfig
from ncpn.paper_network.shifted import ShiftedConv, ShiftedUpsampling, initialise
from tests.builders.pictures import valley

HEIGHT, WIDTH = 8, 12
TINY = PixelCNNConfig(width=16, blocks=1, mixtures=2, features=8, classes=3, dropout=0.0)


def network(seed: int = 0, config: PixelCNNConfig = TINY) -> PixelCNN:
    """A tiny network with random parameters, nothing left at zero, ready to evaluate."""
    torch.manual_seed(seed)
    model = PixelCNN(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


def noise(seed: int, *shape: int) -> Tensor:
    """Random grey levels, whole numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=generator).float()


def parameters(mixture: JointMixture) -> Tensor:
    """All parameters of the one image, [parameter, height, width]."""
    parts = (mixture.means, mixture.log_scales, mixture.coefficients)
    return torch.cat([mixture.logits, *(part.flatten(1, 2) for part in parts)], 1)[0]


def photographs(count: int, side: int) -> Tensor:
    """Parts of the repository's photograph, float [count, 3, side, side]."""
    crops = [valley(side * (i // 4), side * (i % 4), side, side) for i in range(count)]
    return torch.stack([torch.from_numpy(crop).permute(2, 0, 1).float() for crop in crops])


@pytest.mark.parametrize("t", [0.0, 0.7])
@pytest.mark.parametrize("labels", [None, torch.tensor([1])])
def test_causality_by_perturbation(t: float, labels: Tensor | None) -> None:
    model, time = network(), torch.tensor([t])
    x = noise(0, 1, 3, HEIGHT, WIDTH)
    with torch.no_grad():
        before = parameters(model(x, time, labels))
        for place in range(0, HEIGHT * WIDTH, 5 if labels is None else 17):
            for channel in range(3):
                changed = x.clone()
                changed[0, channel, place // WIDTH, place % WIDTH] += 70
                moved = (parameters(model(changed, time, labels)) != before).any(0).flatten()
                assert not moved[: place + 1].any()
                # The very next pixel sees it, and, by attention, all others that are later.
                assert moved[place + 1 :].all()


@pytest.mark.parametrize("t", [0.0, 0.7])
def test_causality_by_gradient(t: float) -> None:
    model = network(1)
    x = noise(1, 1, 3, HEIGHT, WIDTH).requires_grad_()
    found = parameters(model(x, torch.tensor([t])))
    for row, column in ((0, 0), (0, 1), (3, 11), (4, 0), (5, 6), (6, 1), (7, 11)):
        (gradient,) = torch.autograd.grad(found[:, row, column].sum(), x, retain_graph=True)
        reached = gradient[0].abs().sum(0).flatten().nonzero().flatten().tolist()
        assert reached == list(range(row * WIDTH + column))


def test_channels_see_the_earlier_ones_only_through_their_coefficients() -> None:
    mixture = network(2)(noise(2, 1, 3, HEIGHT, WIDTH), torch.zeros(1))
    x = noise(3, 1, 3, HEIGHT, WIDTH)
    before = mixture.log_mass(x)
    for channel in range(3):
        changed = x.clone()
        changed[:, channel] = 255 - changed[:, channel]
        moved = (mixture.log_mass(changed) != before).flatten(2).any(2)[0]
        assert moved.tolist() == [other >= channel for other in range(3)]


def test_attention_reaches_beyond_the_convolutions() -> None:
    """Without attention the first pixel is out of reach of a far one; with it, it is not."""
    model = network(3)
    x = noise(4, 1, 3, 4, 160)
    changed = x.clone()
    changed[:, :, 0, 0] = 255 - changed[:, :, 0, 0]

    def moved() -> bool:
        with torch.no_grad():
            one, other = (parameters(model(image, torch.zeros(1))) for image in (x, changed))
        return bool((one != other)[:, 0, 159].any())

    assert moved()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "attention" in name and ".out." in name:
                parameter.zero_()
    assert not moved()


def test_every_parameter_is_used() -> None:
    model = network(4)
    x = noise(5, 2, 3, HEIGHT, WIDTH)
    labelled = partial(model, labels=torch.tensor([0, 2]))
    image_bits(labelled, x, torch.tensor([0.0, 0.4])).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_noise_time_conditions_every_block() -> None:
    model, x = network(5), noise(6, 1, 3, HEIGHT, WIDTH)
    layers = [m for name, m in model.named_modules() if name.endswith("upper.condition")]
    layers += [m for name, m in model.named_modules() if name.endswith("upper_left.condition")]
    assert len(layers) == 2 * (3 + 5)  # either stream; one block a resolution down, one more up
    with torch.no_grad():
        before = [parameters(model(x, torch.tensor([t]))) for t in (0.0, 0.6)]
        assert (before[0] != before[1]).any()
        for layer in layers:
            assert isinstance(layer, torch.nn.Linear)
            saved = layer.weight.clone()
            layer.weight.zero_()
            assert (parameters(model(x, torch.tensor([0.6]))) != before[1]).any()
            layer.weight.copy_(saved)


def test_classes_condition_and_are_refused_where_there_are_none() -> None:
    model, x, t = network(6), noise(7, 1, 3, HEIGHT, WIDTH), torch.zeros(1)
    with torch.no_grad():
        answers = [model(x, t), *(model(x, t, torch.tensor([label])) for label in range(3))]
    outputs = [parameters(answer) for answer in answers]
    for index, one in enumerate(outputs):
        assert all((one != other).any() for other in outputs[index + 1 :])
    with pytest.raises(UsageError, match="without classes"):
        PixelCNN(tiny_config())(x, t, torch.tensor([0]))


def tiny_config() -> PixelCNNConfig:
    config = presets.preset("tiny", 0.0)
    assert isinstance(config, PixelCNNConfig)
    return config


def test_images_of_a_batch_do_not_mix() -> None:
    model, x = network(7), noise(8, 3, 3, HEIGHT, WIDTH)
    t = torch.tensor([0.0, 0.4, 0.9])
    with torch.no_grad():
        together = model(x, t).means
        alone = torch.cat([model(x[i : i + 1], t[i : i + 1]).means for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-2)


def test_dropout_is_for_training_only() -> None:
    model = network(8, PixelCNNConfig(width=16, blocks=1, mixtures=2, features=8, dropout=0.5))
    x, t = noise(9, 1, 3, HEIGHT, WIDTH), torch.zeros(1)
    with torch.no_grad():
        assert torch.equal(parameters(model(x, t)), parameters(model(x, t)))
        model.train()
        assert (parameters(model(x, t)) != parameters(model(x, t))).any()


def test_initialisation_gives_every_layer_its_scale() -> None:
    torch.manual_seed(9)
    model, x = PixelCNN(TINY), photographs(4, 16)
    initialise(model, x, torch.zeros(4))
    seen: list[tuple[float, float, float]] = []

    def note(layer: torch.nn.Module, _: object, y: Tensor) -> None:
        assert isinstance(layer, ShiftedConv | ShiftedUpsampling)
        deviations = y.std((0, 2, 3), correction=0) / layer.initial_scale
        seen.append((float(y.mean((0, 2, 3)).abs().max()), *map(float, deviations.aminmax())))

    layers = [m for m in model.modules() if isinstance(m, ShiftedConv | ShiftedUpsampling)]
    for layer in layers:
        layer.register_forward_hook(note)
    with torch.no_grad():
        model(x, torch.tensor([0.0, 0.2, 0.5, 1.0]))  # the time plays no part yet
    assert len(seen) == len(layers)
    for mean, least, most in seen:
        assert mean < 1e-3
        assert 0.99 < least <= most < 1.01


def learn(model: PixelCNN, rate: float, steps: int) -> list[float]:
    """Bits per dimension of each step."""
    x, t = photographs(2, 16), torch.zeros(2)
    initialise(model, x, t)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    bits = []
    for _ in range(steps):
        loss = image_bits(model, x, t).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        bits.append(float(loss.detach()))
    return bits


def test_a_few_steps_lower_the_bits() -> None:
    torch.manual_seed(10)
    bits = learn(PixelCNN(TINY), 0.001, 16)
    assert bits[-1] < bits[0] - 0.5


def test_a_step_that_is_too_large_stays_finite() -> None:
    torch.manual_seed(10)
    model = PixelCNN(TINY)
    learn(model, 0.01, 10)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("size", [(8, 10), (9, 8), (1, 1)])
def test_sizes_that_do_not_halve_twice_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="multiples of 4"):
        network()(torch.zeros(1, 3, *size), torch.zeros(1))


@pytest.mark.parametrize(
    ("name", "count"),
    [("tiny", 190_052), ("small", 2_898_152), ("base", 16_271_944), ("paper", 73_068_552)],
)
def test_presets_have_these_parameters(name: str, count: int) -> None:
    config = presets.preset(name, 0.1)
    with torch.device("meta"):
        model = presets.build(config)
    assert presets.parameter_count(model) == count
    assert presets.describe(model) == f"{count} parameters"
    assert presets.from_json(presets.to_json(config)) == config
    assert presets.to_json(config)["kind"] == "paper"


def test_the_paper_preset_has_the_papers_shape() -> None:
    config = presets.preset("paper", 0.1)
    assert config == PixelCNNConfig(160, 5, 8, 10, dropout=0.25, time_scale=0.1)


def test_an_unknown_kind_of_network_is_refused() -> None:
    with pytest.raises(InputError, match="kind 'cnn'"):
        presets.from_json({"kind": "cnn"})

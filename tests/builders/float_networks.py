"""Small networks in torch: fitted a little, or with random parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ncml_codec.learn.likelihood.objective import image_bits
from ncpn import presets
from ncpn.network import NCPN
from ncpn.paper_network.pixelcnn import PixelCNNConfig
from ncpn.wave_network.wave import WaveConfig, WaveNCPN
from tests.builders.pictures import valley

SAMPLE = valley(120, 60, 40, 48)
CONFIGS = {
    "wave": WaveConfig(width=6, blocks=2, head_width=5, mixtures=3, time_features=8),
    "paper": PixelCNNConfig(width=16, blocks=1, mixtures=3, features=8, dropout=0.0),
}


def fitted_network(sde_times: bool = False) -> WaveNCPN:
    """A small network fitted a little to the sample, so that its outputs mean something."""
    torch.manual_seed(0)
    model = WaveNCPN(WaveConfig(width=12, blocks=2, head_width=10, mixtures=3, time_features=8))
    if sde_times:
        for block in model.gated_blocks():
            nn.init.normal_(block.time.weight, std=0.5)
            nn.init.normal_(block.time.bias, std=0.5)
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    x = torch.from_numpy(SAMPLE.copy()).permute(2, 0, 1)[None].float()
    for _ in range(40):
        optimiser.zero_grad()
        image_bits(model, x, torch.zeros(1)).mean().backward()
        optimiser.step()
    return model


def random_wave_network(seed: int = 0) -> WaveNCPN:
    """A tiny network with random outputs and random noise conditioning, nothing left at zero."""
    torch.manual_seed(seed)
    model = WaveNCPN(WaveConfig(width=6, blocks=2, head_width=5, mixtures=2, time_features=8))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


def network_of(kind: str | presets.Config, seed: int = 0) -> NCPN:
    """Random parameters, nothing left at zero; in double precision, so that laws are exact."""
    torch.manual_seed(seed)
    config = CONFIGS[kind] if isinstance(kind, str) else kind
    model = presets.build(config).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "gain" not in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def times(t: float, batch: int) -> Tensor:
    return torch.full((batch,), t, dtype=torch.float64)

"""Causal axial attention: along the rows, then along the columns (Ho et al. 2019, axial attention).

The NCML paper puts it after each residual block with 8 heads and skip rescaling, and says no
more. Chosen here:

- Masks. In the stream `upper` a place has seen no pixel of its own row, so it attends to all of
  the row; in `upper_left` to itself and the places to the left. Along its column a place attends
  to itself and those above, in both. The features of all these depend on earlier pixels only,
  see `ncpn.paper_network.shifted`, so the law holds at every resolution.
- Normalisation. Song et al. 2021 use group normalisation before attention, whose statistics
  run over all places and would leak; here each place's channels are normalised alone.
- Positions. Rotary (Su et al. 2021): relative, and for images of any size.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncml_codec.errors import UsageError

# Slowest wavelength about 2 pi * 100 places, the size of an image. Su et al.'s 10000 is for text.
ROTARY_BASE = 100.0

# Variance added in normalisation. At the image's border features start at exactly zero, where
# torch's default of 1e-5 would multiply gradients by 300 in every layer.
NORM_EPSILON = 1e-3


class AxialAttention(nn.Module):
    """(x + h) / sqrt(2), with h the sum of what rows and then columns add to x."""

    def __init__(self, width: int, heads: int, *, rows_causal: bool) -> None:
        super().__init__()
        self.rows = LineAttention(width, heads, causal=rows_causal)
        self.columns = LineAttention(width, heads, causal=True)

    def forward(self, x: Tensor) -> Tensor:
        """x: [batch, width, height, width of the image]."""
        places = x.permute(0, 2, 3, 1)  # [batch, row, column, channel]
        h = self.rows(places)
        h = h + self.columns((places + h).transpose(1, 2)).transpose(1, 2)
        return (x + h.permute(0, 3, 1, 2)) / math.sqrt(2)


class LineAttention(nn.Module):
    """Multi-head attention within every line; causal: to the own place and earlier ones only."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        if width % (2 * heads):
            raise UsageError(f"width {width}: must be a multiple of twice the {heads} heads")
        self.heads, self.causal = heads, causal
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        nn.init.normal_(self.queries_keys_values.weight, std=1 / math.sqrt(width))
        # As small as the residual blocks' gates, see `ncpn.paper_network.pixelcnn`.
        nn.init.normal_(self.out.weight, std=0.1 / math.sqrt(width))
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x: [batch, line, place, width]; the same shape, without the skip."""
        batch, lines, length, width = x.shape
        parts = self.queries_keys_values(self.norm(x))
        parts = parts.view(batch * lines, length, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        queries, keys = rotated(queries), rotated(keys)
        mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=self.causal)
        return self.out(mixed.transpose(1, 2).reshape(batch, lines, length, width))


def rotated(x: Tensor, first: int = 0) -> Tensor:
    """Pairs of features turned by angles in proportion to the place: [..., place, features].

    Products of two such vectors then depend on places only through their difference. first: the
    place of x's first one.
    """
    length, features = x.shape[-2:]
    pairs = torch.arange(features // 2, device=x.device, dtype=torch.float32)
    places = first + torch.arange(length, device=x.device, dtype=torch.float32)
    angle = places[:, None] * ROTARY_BASE ** (-2 * pairs / features)
    sine, cosine = angle.sin().to(x.dtype), angle.cos().to(x.dtype)
    one, other = x.chunk(2, -1)
    return torch.cat([one * cosine - other * sine, one * sine + other * cosine], -1)

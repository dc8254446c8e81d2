"""Centres of the experts for a component: two fitted predictions and two fixed ones.

Inputs of the fit are a pixel's neighbours and its earlier components, all less a local mean.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ncml_codec.context_mixing.experts import CENTRE_UNIT
from ncml_codec.context_mixing.least_squares import Doubles, LeastSquares, least_squares
from ncml_codec.context_mixing.logits import Integers64

OWN = 6  # of a component's own neighbours: W, N, NW, NE, WW, NN, the first taps
# Weights of a pixel one column and one row away, of the near and the far fit; measured in
# bench/notebook/context-mixing.md.
NEAR, FAR = (0.875, 0.625), (0.96875, 0.90625)

Seen = Callable[[int], tuple[Integers64, Integers64]]


def fits(component: int, rows: int) -> tuple[LeastSquares, LeastSquares]:
    """The two fits of a component in an image of `rows` rows."""
    n = inputs_of(component)
    return least_squares(n, rows, *NEAR), least_squares(n, rows, *FAR)


def inputs_of(component: int) -> int:
    """Six; from the second component on the one before gives three more, up to two others one."""
    return OWN + (3 if component else 0) + min(max(component - 1, 0), 2)


def local_mean(near: Integers64) -> Doubles:
    """(2 W + 2 N + NE + NW) / 6 of neighbours [at least 4, n], cut to a quarter of a level."""
    west, north, north_west, north_east = near[:4]
    quarters: Integers64 = (2 * (west + north) + north_west + north_east) * 4 // 6
    return quarters.astype(np.float64) * 0.25


def inputs(component: int, seen: Seen) -> tuple[Doubles, Doubles]:
    """The fit's inputs [inputs, n] and the component's local mean [n].

    seen: of a component, its neighbours [at least 6, n] and, if it is earlier, its samples [n].
    """
    near, _ = seen(component)
    mean = local_mean(near)
    columns = [near[:OWN] - mean]
    for other in range(component - 1, max(component - 4, -1), -1):
        near, own = seen(other)
        other_mean = local_mean(near)
        columns.append((own - other_mean)[None])
        if other == component - 1:
            columns.append(near[:2] - other_mean)
    return np.concatenate(columns), mean


def fitted_centre(predicted: Doubles, top: int) -> Integers64:
    """A prediction limited to 0 ... top - 1, in sixteenths."""
    limited = np.minimum(np.maximum(predicted, 0.0), float(top - 1))
    return np.floor(limited * CENTRE_UNIT + 0.5).astype(np.int64)


def fixed_centres(
    near: Integers64, before: tuple[Integers64, Integers64] | None, top: int
) -> tuple[Integers64, Integers64, Integers64]:
    """Centres without a fit: mean, joint and median, in sixteenths: [n] each.

    near: neighbours [at least 4, n]. before: of the component before, if there is one, its
    neighbours and samples. mean: (W + N) / 2 + (NE - NW) / 4. median: of W, N and W + N - NW.
    joint: the sample before plus how much W and N differ from theirs; the mean if there is none.
    """
    west, north, north_west, north_east = near[:4]
    mean = 8 * (west + north) + 4 * (north_east - north_west)
    low, high = np.minimum(west, north), np.maximum(west, north)
    median = CENTRE_UNIT * np.clip(west + north - north_west, low, high)
    if before is None:
        return mean, mean, median
    other, own = before
    joint = own + ((west - other[0] + north - other[1]) >> 1)
    return mean, CENTRE_UNIT * np.clip(joint, 0, top - 1), median

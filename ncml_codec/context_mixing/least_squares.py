"""Linear prediction that is fitted to each pixel's surroundings, in exactly repeatable doubles.

Every row keeps the weighted sums x x' and x y of its pixels, and of all rows above: a pixel n
columns away counts lam**n, n rows away mu**n. The normal equations are solved anew for every pixel.
All arithmetic is element by element in a stated order (FORMAT.md), so it rounds alike everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncml_codec.context_mixing.logits import Integers64

Doubles = npt.NDArray[np.float64]

RIDGE = 1.0  # squared levels; where nothing varies, the prediction is the local mean
PIVOT_MIN = 0.5


@dataclass(frozen=True)
class LeastSquares:
    """Sums of the rows: [sums, rows + 1], of each row, and of it and those above.

    sums: x x' by rows of its lower triangle, then x y. Column 0 stands for what is above the image,
    and stays 0; row i is column i + 1.
    """

    inputs: int
    along: float  # lam
    down: float  # mu
    row: Doubles
    above: Doubles

    def predict(self, rows: Integers64, inputs: Doubles) -> Doubles:
        """The predicted y [n] of the pixels in `rows` with inputs [inputs, n]."""
        n = self.inputs
        sums = self.row[:, rows + 1] + self.down * self.above[:, rows]
        lower = np.tril_indices(n)
        matrix = np.zeros((n, n, len(rows)))
        matrix[lower] = sums[: len(lower[0])]
        for k in range(n):
            matrix[k, k] += RIDGE
        right = sums[len(lower[0]) :].copy()
        factor = np.zeros_like(matrix)
        pivots = np.zeros((n, len(rows)))
        for k in range(n):
            pivots[k] = np.maximum(matrix[k, k], PIVOT_MIN)
            factor[k + 1 :, k] = matrix[k + 1 :, k] / pivots[k]
            for q in range(k + 1, n):
                matrix[q:, q] -= factor[q:, k] * matrix[q, k]
            right[k + 1 :] -= factor[k + 1 :, k] * right[k]
        right /= pivots
        for k in range(n - 1, 0, -1):
            right[:k] -= factor[k, :k] * right[k]
        predicted: Doubles = right[0] * inputs[0]
        for k in range(1, n):
            predicted = predicted + right[k] * inputs[k]
        return predicted

    def learn(self, rows: Integers64, inputs: Doubles, values: Doubles) -> None:
        """Add a wave's pixels: inputs [inputs, n] and what followed [n], at most one for a row."""
        first, second = np.tril_indices(self.inputs)
        new = np.concatenate([inputs[first] * inputs[second], inputs * values])
        row = self.row[:, rows + 1] * self.along + new
        self.row[:, rows + 1] = row
        self.above[:, rows + 1] = row + self.down * self.above[:, rows]


def least_squares(inputs: int, rows: int, along: float, down: float) -> LeastSquares:
    """Nothing known yet, for an image of `rows` rows."""
    sums = inputs * (inputs + 1) // 2 + inputs
    return LeastSquares(inputs, along, down, np.zeros((sums, rows + 1)), np.zeros((sums, rows + 1)))

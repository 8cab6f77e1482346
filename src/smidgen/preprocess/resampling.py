"""The weights of a resampling along one side, in whole numbers: the same in any language."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def resampling(inputs: int, outputs: int) -> NDArray[np.float64]:
    """Whole-number weights (outputs, inputs): area averaging down, linear interpolation up.

    All rows are scaled alike. Interpolation sees background outside of the inputs.
    """
    i, o = np.arange(inputs), np.arange(outputs)[:, None]
    if outputs <= inputs:
        end = np.minimum((i + 1) * outputs, (o + 1) * inputs)
        weights = end - np.maximum(i * outputs, o * inputs)  # the overlap, in 1 / (in × out)
    else:
        distance = np.abs((2 * o + 1) * inputs - outputs - 2 * outputs * i)  # in 1 / (2 × out)
        weights = 2 * outputs - distance
    return weights.clip(0).astype(np.float64)

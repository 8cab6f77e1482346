"""The shape of the images that a network takes, where nobody says it."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from smidgen.errors import ModelError
from smidgen.inputs import CHANNELS, LARGEST, SMALLEST, InputShape
from smidgen.mnist import INPUT_SHAPE
from smidgen.network.record import forward, noise, private_copy

# The shapes of well-known data sets and cameras come first.
LIKELY = (INPUT_SHAPE, (3, 32, 32), (1, 32, 32), (1, 16, 16), (1, 8, 8), (3, 96, 96), (1, 96, 96))


def guess_input(model: nn.Module) -> InputShape:
    """The first shape that the network takes: MNIST's, other well-known ones, then any square.

    MNIST's again where it takes none of them. The model itself is left as it is.
    """
    squares = itertools.product(CHANNELS, range(SMALLEST, LARGEST + 1))
    every = (*LIKELY, *((channels, side, side) for channels, side in squares))
    return next(
        (shape for shape in map(InputShape._make, every) if _takes(model, shape)), INPUT_SHAPE
    )


@torch.no_grad()
def _takes(model: nn.Module, shape: InputShape) -> bool:
    try:
        forward(private_copy(model, shape).eval(), noise(1, shape))
    except ModelError:
        return False
    return True

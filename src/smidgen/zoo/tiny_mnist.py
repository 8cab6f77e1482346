"""TinyMNIST: two convolutions and a linear layer, 9,146 parameters."""

from __future__ import annotations

from torch import nn

from smidgen.mnist import NUM_CLASSES
from smidgen.zoo.registry import register_model


@register_model
def tiny_mnist(classes: int = NUM_CLASSES) -> nn.Module:
    """Two blocks of convolution, batch norm, ReLU and pool, then dropout and a linear layer.

    The pool stands before the ReLU: the two commute, and the ReLU then touches a quarter of
    the numbers.
    """
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.MaxPool2d(2),  # (N, 8, 14, 14)
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.MaxPool2d(2),  # (N, 16, 7, 7)
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(16 * 7 * 7, classes),
    )

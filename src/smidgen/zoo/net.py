"""Net and TinyNet: a deep network of over a million parameters and one of 22,334."""

from __future__ import annotations

from torch import nn

from smidgen.mnist import NUM_CLASSES
from smidgen.zoo.registry import register_model


@register_model
def tiny_net(classes: int = NUM_CLASSES) -> nn.Module:
    """Three convolutions with biases, a global average pool and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 3, padding=1),
        nn.BatchNorm2d(20),
        nn.MaxPool2d(2),  # (N, 20, 14, 14)
        nn.ReLU(),
        nn.Conv2d(20, 28, 3, padding=1),
        nn.BatchNorm2d(28),
        nn.MaxPool2d(2),  # (N, 28, 7, 7)
        nn.ReLU(),
        nn.Conv2d(28, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


@register_model
def net(classes: int = NUM_CLASSES) -> nn.Module:
    """Four convolutions and a fully connected head, more than 1,000,000 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.MaxPool2d(2),  # (N, 64, 14, 14)
        nn.ReLU(),
        nn.Conv2d(64, 128, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(128, 256, 3, padding=1),
        nn.MaxPool2d(2),  # (N, 256, 7, 7)
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256 * 7 * 7, 64),
        nn.ReLU(),
        nn.Linear(64, classes),
    )

"""MNISTNet: eleven convolutions without biases and a global average pool, in three widths."""

from __future__ import annotations

from torch import nn

from smidgen.mnist import NUM_CLASSES
from smidgen.zoo.registry import register_model


@register_model
def mnist_net(classes: int = NUM_CLASSES) -> nn.Module:
    """The plan as its document prints it, 108,864 parameters."""
    return _mnist_net((32, 16, 32, 64), classes)


@register_model
def mnist_net_25k(classes: int = NUM_CLASSES) -> nn.Module:
    """The plan narrowed until the document's "< 25,000" is true."""
    return _mnist_net((10, 8, 16, 32), classes)


@register_model
def mnist_net_13k(classes: int = NUM_CLASSES) -> nn.Module:
    """The plan narrowed until the document's "~13,000, under 15K" is true."""
    return _mnist_net((8, 8, 12, 22), classes)


def _mnist_net(widths: tuple[int, int, int, int], classes: int) -> nn.Module:
    a, b, c, d = widths
    return nn.Sequential(
        _block(1, a),
        _block(a, a),
        _block(a, a),
        nn.MaxPool2d(2),  # (N, a, 14, 14)
        _block(a, b, kernel_size=1),
        _block(b, c),
        _block(c, c),
        nn.MaxPool2d(2),  # (N, c, 7, 7)
        _block(c, c, kernel_size=1),
        _block(c, d),
        _block(d, d),
        _block(d, c),
        nn.Conv2d(c, classes, 1, bias=False),
        nn.AvgPool2d(7),
        nn.Flatten(),
    )


def _block(inputs: int, outputs: int, kernel_size: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Dropout(0.05),
    )

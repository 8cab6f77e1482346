"""Our own networks for photos, and the family that they are of."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from smidgen.blocks.modules import Residual
from smidgen.inputs import InputShape
from smidgen.mnist import INPUT_SHAPE, NUM_CLASSES
from smidgen.zoo.mnist_classifier import conv_bn_relu
from smidgen.zoo.registry import register_model

CIFAR_INPUT = InputShape(channels=3, height=32, width=32)


@register_model
def smidgen_residual(
    classes: int = NUM_CLASSES,
    input: InputShape = INPUT_SHAPE,
    widths: Sequence[int] = (16, 32, 48),
    blocks: Sequence[int] = (1, 1, 1),
) -> nn.Module:
    """Separable convolutions, most of them with a way around: a stage for each of the widths.

    A convolution begins; a stage after the first begins with a max pool and a separable convolution
    to its width. Then come its `blocks`, each a separable convolution that is added to what it read
    (He et al. 2016). By default 7,946 parameters, for any input.
    """
    layers: list[nn.Module] = [conv_bn_relu(input[0], widths[0])]
    before = widths[0]
    for width, count in zip(widths, blocks, strict=True):
        if width != before:
            layers += [nn.MaxPool2d(2), _separable(before, width), nn.ReLU()]
        layers += [Residual(_separable(width, width), nn.ReLU()) for _ in range(count)]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


@register_model
def smidgen_fashion_8k(classes: int = NUM_CLASSES, input: InputShape = INPUT_SHAPE) -> nn.Module:
    """7,946 parameters."""
    return smidgen_residual(classes, input, widths=(16, 32, 48), blocks=(1, 1, 1))


@register_model
def smidgen_fashion_25k(classes: int = NUM_CLASSES, input: InputShape = INPUT_SHAPE) -> nn.Module:
    """24,946 parameters."""
    return smidgen_residual(classes, input, widths=(24, 48, 72), blocks=(1, 2, 2))


@register_model
def smidgen_cifar_78k(classes: int = NUM_CLASSES, input: InputShape = CIFAR_INPUT) -> nn.Module:
    """77,646 parameters, of the 78,666 of MLPerf Tiny's ResNet."""
    return smidgen_residual(classes, input, widths=(40, 80, 126), blocks=(2, 3, 2))


@register_model
def smidgen_cifar_25k(classes: int = NUM_CLASSES, input: InputShape = CIFAR_INPUT) -> nn.Module:
    """24,856 parameters."""
    return smidgen_residual(classes, input, widths=(24, 46, 70), blocks=(2, 2, 2))


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    """A 3 × 3 convolution in each channel, one of 1 × 1 across them, and batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
    )

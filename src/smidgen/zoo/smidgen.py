"""Our own networks, each the best we know within its budget."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn

from smidgen.blocks.modules import NEGATIVE_SLOPE, Repeated, gainless_norm
from smidgen.inputs import InputShape
from smidgen.mnist import INPUT_SHAPE, NUM_CLASSES
from smidgen.zoo.mnist_classifier import conv_bn, conv_bn_relu, pool_relu
from smidgen.zoo.registry import register_model


@register_model
def smidgen_fast(classes: int = NUM_CLASSES) -> nn.Module:
    """12,638 parameters made for time to accuracy: little work at 28 × 28, a linear end.

    A linear layer over the last map learns faster than a global average, which matters in a
    training of seconds.
    """
    return nn.Sequential(
        conv_bn(1, 12),
        pool_relu(),  # (N, 12, 14, 14)
        conv_bn(12, 24),
        pool_relu(),  # (N, 24, 7, 7)
        conv_bn(24, 32),
        pool_relu(),  # (N, 32, 3, 3)
        nn.Flatten(),
        nn.Linear(32 * 3 * 3, classes),
    )


@register_model
def smidgen_1epoch(classes: int = NUM_CLASSES) -> nn.Module:
    """23,404 parameters for a training of one epoch: `smidgen_fast`, twice as deep."""
    return nn.Sequential(
        conv_bn(1, 10),
        pool_relu(),  # (N, 10, 14, 14)
        conv_bn_relu(10, 22),
        conv_bn(22, 22),
        pool_relu(),  # (N, 22, 7, 7)
        conv_bn_relu(22, 30),
        conv_bn(30, 30),
        pool_relu(),  # (N, 30, 3, 3)
        nn.Flatten(),
        nn.Linear(30 * 3 * 3, classes),
    )


@register_model
def smidgen_chain(
    classes: int = NUM_CLASSES,
    input: InputShape = INPUT_SHAPE,
    widths: Sequence[int] = (16, 28, 44, 48, 40),
    dropout: float = 0.0,
) -> nn.Module:
    """A 3 × 3 convolution and a pool, then separable convolutions without padding, of those widths.

    A separable convolution (Sifre 2014) is a 3 × 3 one in each channel, then a 1 × 1 one across
    them: for the same parameters three times as wide as a full one, which is worth more. Without
    padding the map shrinks, of MNIST from 14 × 14 by two at a time, so that no pool has to discard
    positions. By default 7,842 parameters, as `smidgen_8k`.
    """
    stem = conv_bn(input[0], widths[0]), pool_relu()  # (N, widths[0], 14, 14)
    return nn.Sequential(*stem, *_tail(widths, classes, dropout))


@register_model
def smidgen_575(classes: int = NUM_CLASSES, input: InputShape = INPUT_SHAPE) -> nn.Module:
    """572 parameters."""
    return _loop(8, 10, classes, input)


@register_model
def smidgen_697(classes: int = NUM_CLASSES, input: InputShape = INPUT_SHAPE) -> nn.Module:
    """690 parameters."""
    return _loop(8, 12, classes, input, times=4)


@register_model
def smidgen_1k(classes: int = NUM_CLASSES, input: InputShape = INPUT_SHAPE) -> nn.Module:
    """998 parameters."""
    return _lean_chain((8, 9, 11, 13, 8), classes, input)


@register_model
def smidgen_1936(classes: int = NUM_CLASSES, input: InputShape = INPUT_SHAPE) -> nn.Module:
    """1,882 parameters."""
    return smidgen_chain(classes, input, (8, 12, 16, 20, 18))


@register_model
def smidgen_4142(classes: int = NUM_CLASSES, input: InputShape = INPUT_SHAPE) -> nn.Module:
    """4,044 parameters."""
    return smidgen_chain(classes, input, (12, 18, 28, 32, 30))


@register_model
def smidgen_8k(classes: int = NUM_CLASSES, input: InputShape = INPUT_SHAPE) -> nn.Module:
    """7,842 parameters by the course brief's rules: batch norm, dropout, global average pool."""
    return smidgen_chain(classes, input, (16, 28, 44, 48, 40), dropout=0.02)


@register_model
def smidgen_robust_8k(classes: int = NUM_CLASSES, input: InputShape = INPUT_SHAPE) -> nn.Module:
    """7,842 parameters: `smidgen_8k`, by a recipe with haze and noise in the training images."""
    return smidgen_chain(classes, input, (16, 28, 44, 48, 40), dropout=0.02)


@register_model
def smidgen_8k_written(classes: int = NUM_CLASSES, input: InputShape = INPUT_SHAPE) -> nn.Module:
    """7,842 parameters: `smidgen_8k`, by a recipe with drawn digits among the training images."""
    return smidgen_chain(classes, input, (16, 28, 44, 48, 40), dropout=0.02)


@register_model
def smidgen_mcu(classes: int = NUM_CLASSES, input: InputShape = INPUT_SHAPE) -> nn.Module:
    """7,042 parameters for 8 kB of weights and 4 kB of RAM: a second pool keeps rows short."""
    return nn.Sequential(
        conv_bn(input[0], 16),
        pool_relu(),  # (N, 16, 14, 14)
        _separable(16, 24),
        _separable(24, 32),
        nn.MaxPool2d(2),  # (N, 32, 5, 5)
        _separable(32, 48, padding=1),
        _separable(48, 48, padding=1),
        *_head(48, classes),
    )


@register_model
def smidgen_20k(classes: int = NUM_CLASSES, input: InputShape = INPUT_SHAPE) -> nn.Module:
    """19,322 parameters."""
    return smidgen_chain(classes, input, (24, 48, 80, 80, 56))


@register_model
def smidgen_25k(classes: int = NUM_CLASSES, input: InputShape = INPUT_SHAPE) -> nn.Module:
    """24,570 parameters: a chain whose first separable convolution stands before the pool."""
    stem = nn.Sequential(
        conv_bn_relu(input[0], 12),
        *_separable_convolution(12, 24, padding=1),
        nn.BatchNorm2d(24),
        pool_relu(),  # (N, 24, 14, 14)
    )
    return nn.Sequential(stem, *_tail((24, 56, 88, 88, 72), classes))


@register_model
def smidgen_teacher(classes: int = NUM_CLASSES, input: InputShape = INPUT_SHAPE) -> nn.Module:
    """71,274 parameters, for no budget: in recipes the teacher of smaller networks."""
    return smidgen_chain(classes, input, (32, 96, 160, 160, 128))


def _loop(stem: int, width: int, classes: int, input: InputShape, times: int = 3) -> nn.Module:
    """`smidgen_chain` for a few hundred parameters: its last separable convolutions are the same.

    With so few weights, sharing them gains more by the greater width than it loses. The leaky ReLU
    keeps units trainable that a ReLU could switch off for good: none can be spared.
    """
    return nn.Sequential(
        *_lean_layers((stem, width), input),  # (N, width, 12, 12)
        _repeated(width, times),  # two rows and columns fewer each time
        *_head(width, classes),
    )


def _repeated(width: int, times: int) -> nn.Module:
    """One separable convolution applied again and again, each time with a norm of its own."""
    separable = nn.Sequential(*_separable_convolution(width, width))
    norms = [gainless_norm(width) for _ in range(times)]
    return Repeated("separable", separable, norms, nn.LeakyReLU(NEGATIVE_SLOPE))


def _lean_chain(widths: Sequence[int], classes: int, input: InputShape) -> nn.Module:
    """`smidgen_chain` for a thousand parameters: leaky ReLUs, and no gain in the norms."""
    return nn.Sequential(*_lean_layers(widths, input), *_head(widths[-1], classes))


def _lean_layers(widths: Sequence[int], input: InputShape) -> list[nn.Module]:
    """What precedes the head: a stem of the first width, a separable convolution for each other."""
    stem = widths[0]
    layers: list[nn.Module] = [
        nn.Conv2d(input[0], stem, 3, padding=1, bias=False),
        gainless_norm(stem),
        nn.MaxPool2d(2),
        nn.LeakyReLU(NEGATIVE_SLOPE),  # (N, stem, 14, 14)
    ]
    for inputs, outputs in itertools.pairwise(widths):
        layers += _separable_convolution(inputs, outputs)
        layers += [gainless_norm(outputs), nn.LeakyReLU(NEGATIVE_SLOPE)]
    return layers


def _tail(widths: Sequence[int], classes: int, dropout: float = 0.0) -> list[nn.Module]:
    """What follows the stem of `smidgen_chain`, whose width is the first."""
    layers = [_separable(inputs, outputs) for inputs, outputs in itertools.pairwise(widths)]
    if dropout:
        layers.append(nn.Dropout(dropout))
    return [*layers, *_head(widths[-1], classes)]


def _head(width: int, classes: int) -> tuple[nn.Module, ...]:
    """A score of each class at each place, and their means: (N, width, H, W) to (N, classes)."""
    return nn.Conv2d(width, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()


def _separable(inputs: int, outputs: int, padding: int = 0) -> nn.Module:
    return nn.Sequential(
        *_separable_convolution(inputs, outputs, padding), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _separable_convolution(inputs: int, outputs: int, padding: int = 0) -> tuple[nn.Conv2d, ...]:
    return (
        nn.Conv2d(inputs, inputs, 3, padding=padding, groups=inputs, bias=False),
        nn.Conv2d(inputs, outputs, 1, bias=False),
    )

"""Our own networks, each the best we know within its budget."""

from __future__ import annotations

from torch import nn

from smidgen.zoo.mnist_classifier import Residual, conv_bn, conv_bn_relu, pool_relu
from smidgen.zoo.registry import register_model


@register_model
def smidgen_fast(classes: int = 10) -> nn.Module:
    """12,638 parameters made for time to accuracy: little work at 28 × 28, a linear end.

    A linear layer over what is left of the map learns faster than a global average, which matters
    when there are seconds to learn in.
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
def smidgen_1epoch(classes: int = 10) -> nn.Module:
    """23,404 parameters for one look at each image: `smidgen_fast`, twice as deep."""
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
def smidgen_8k(classes: int = 10) -> nn.Module:
    """7,560 parameters by the course brief's rules: batch norm, dropout, global average pool.

    Seven convolutions, four of them at 7 × 7, where they cost little and see far: the last one
    reads 38 × 38 pixels.
    """
    return nn.Sequential(
        conv_bn(1, 8),
        pool_relu(),  # (N, 8, 14, 14)
        conv_bn_relu(8, 12),
        Residual(conv_bn_relu(12, 12)),
        nn.MaxPool2d(2),  # (N, 12, 7, 7)
        conv_bn_relu(12, 14),
        Residual(conv_bn_relu(14, 14)),
        Residual(conv_bn_relu(14, 14)),
        nn.Dropout(0.02),
        nn.Conv2d(14, classes, 1, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )

"""The 13,272-parameter skip network: seven convolutions, channels 8, 16 and 32."""

from __future__ import annotations

from torch import nn

from smidgen.mnist import NUM_CLASSES
from smidgen.zoo.mnist_classifier import Residual, conv_bn, conv_bn_relu, pool_relu
from smidgen.zoo.registry import register_model


@register_model
def skip_13k(classes: int = NUM_CLASSES) -> nn.Module:
    """Widths 1→8→16→16→16→16→32→classes, a skip around each of the equal-width convolutions."""
    return nn.Sequential(
        conv_bn_relu(1, 8),
        conv_bn(8, 16),
        pool_relu(),  # (N, 16, 14, 14)
        Residual(conv_bn_relu(16, 16)),
        Residual(conv_bn_relu(16, 16)),
        Residual(conv_bn_relu(16, 16)),
        nn.MaxPool2d(2),  # (N, 16, 7, 7)
        nn.Dropout(0.1),
        conv_bn_relu(16, 32),
        nn.Conv2d(32, classes, 1, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )

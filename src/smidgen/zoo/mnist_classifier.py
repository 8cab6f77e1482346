"""MNISTClassifier: convolutional blocks with residual connections, under 20,000 parameters."""

from __future__ import annotations

from torch import Tensor, nn

from smidgen.mnist import NUM_CLASSES
from smidgen.zoo.registry import register_model


class Residual(nn.Module):
    """x + body(x); the body keeps the shape."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.body(x)
        return x + change


def conv_bn(inputs: int, outputs: int) -> nn.Sequential:
    """3 × 3 convolution that keeps the size, without bias, then batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
    )


def conv_bn_relu(inputs: int, outputs: int) -> nn.Sequential:
    """3 × 3 convolution that keeps the size, without bias, then batch norm and ReLU."""
    return conv_bn(inputs, outputs).append(nn.ReLU())


def pool_relu() -> nn.Sequential:
    """Half the size, then ReLU: they commute, and in this order the ReLU costs a quarter."""
    return nn.Sequential(nn.MaxPool2d(2), nn.ReLU())


@register_model
def mnist_classifier(classes: int = NUM_CLASSES) -> nn.Module:
    """Six convolutions, two of them residual, a 1 × 1 convolution and a global average pool."""
    return nn.Sequential(
        conv_bn_relu(1, 10),
        conv_bn(10, 16),
        pool_relu(),  # (N, 16, 14, 14)
        Residual(conv_bn_relu(16, 16)),
        nn.MaxPool2d(2),  # (N, 16, 7, 7)
        nn.Dropout(0.1),
        conv_bn_relu(16, 32),
        Residual(conv_bn_relu(32, 32)),
        nn.Dropout(0.1),
        nn.Conv2d(32, classes, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )

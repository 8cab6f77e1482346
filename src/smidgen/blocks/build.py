"""A network's parts as torch's modules."""

from __future__ import annotations

from typing import assert_never

from torch import nn

from smidgen.blocks import parts as P
from smidgen.blocks.document import Network
from smidgen.blocks.modules import ACTIVATIONS, Repeated, Residual, gainless_norm
from smidgen.inputs import InputShape


def make(network: Network, input: InputShape, classes: int) -> nn.Module:
    """A fresh module of a network, for images of that shape and so many classes.

    Its weights are drawn from torch's global generator. Raises ModelError, with the place in the
    document, for a network that does not take them.
    """
    return build(P.expand(network, input, classes))


def build(part: P.Part) -> nn.Module:
    """The module of a part.

    It takes float32 (N, *shape of what the part reads). In a chain a module is named by its place.
    """
    channels = part.shape[0]
    match part:
        case P.Chain():
            return nn.Sequential(*map(build, part.parts))
        case P.Residual():
            return Residual(
                nn.Sequential(*map(build, part.body.parts)), ACTIVATIONS[part.activation]()
            )
        case P.Repeated():
            body, norms = build(part.turns[0]), [build(norm) for norm in part.norms]
            return Repeated(part.kind, body, norms, ACTIVATIONS[part.activation]())
        case P.Convolution():
            windows = part.kernel, part.stride, part.padding
            return nn.Conv2d(part.inputs, channels, *windows, groups=part.groups, bias=part.bias)
        case P.Norm():
            return nn.BatchNorm2d(channels) if part.gain else gainless_norm(channels)
        case P.Pool():
            return nn.MaxPool2d(part.size) if part.kind == "max" else nn.AvgPool2d(part.size)
        case P.Activation():
            return ACTIVATIONS[part.name]()
        case P.Dropout():
            return nn.Dropout(part.probability)
        case P.GlobalAverage():
            return nn.AdaptiveAvgPool2d(1)
        case P.Flatten():
            return nn.Flatten()
        case P.Linear():
            return nn.Linear(part.inputs, channels)
        case _:
            assert_never(part)

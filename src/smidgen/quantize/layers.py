"""The float network as a short list of layers, the form that is quantised and fine-tuned.

`trace` makes the list from a module, and `simplify` folds batch norms, scalars and ReLUs into the
layers before them. A tensor is (N, C, H, W); a flattened one keeps its height and width, because
a linear layer is a convolution whose kernel is its whole input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = tuple[int, int]
INF = math.inf


@dataclass(eq=False)
class Layer:
    """Reads the outputs of `inputs`; `name` is the path of the module that it comes from."""

    name: str
    inputs: list[Layer]


@dataclass(eq=False)
class Image(Layer):
    """The normalised image."""


@dataclass(eq=False)
class Conv(Layer):
    """clamp(conv(x, weight) * gain + offset, low, high); gain and offset are (O,).

    Layers that share a module share the weight's tensor.
    """

    weight: Tensor  # (O, I / groups, kernel height, kernel width)
    gain: Tensor
    offset: Tensor
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    groups: int = 1
    low: float = -INF
    high: float = INF


@dataclass(eq=False)
class MaxPool(Layer):
    kernel: Pair
    stride: Pair


@dataclass(eq=False)
class AveragePool(Layer):
    kernel: Pair
    stride: Pair
    low: float = -INF
    high: float = INF


@dataclass(eq=False)
class Add(Layer):
    """clamp(the sum of the inputs, each times its factor, low, high)."""

    factors: list[float]
    low: float = -INF
    high: float = INF


@dataclass(eq=False)
class Concat(Layer):
    """clamp(cat(inputs) * gain + offset, low, high); of one input, a batch norm or a ReLU.

    gain and offset are (C,) or (1,).
    """

    gain: Tensor = field(default_factory=lambda: torch.ones(1))
    offset: Tensor = field(default_factory=lambda: torch.zeros(1))
    low: float = -INF
    high: float = INF


@dataclass(eq=False)
class Function(Layer):
    """Any function of one number, applied to each."""

    function: Callable[[Tensor], Tensor]


def evaluate(layer: Layer, inputs: Sequence[Tensor], weight: Tensor | None = None) -> Tensor:
    """A layer's output (N, C, H, W); `weight` stands in for a convolution's own."""
    x = inputs[0]
    match layer:
        case Conv():
            kernel = layer.weight if weight is None else weight
            acc = F.conv2d(x, kernel, None, layer.stride, layer.padding, 1, layer.groups)
            y = acc * layer.gain[:, None, None] + layer.offset[:, None, None]
        case MaxPool():
            return F.max_pool2d(x, layer.kernel, layer.stride)
        case AveragePool():
            y = F.avg_pool2d(x, layer.kernel, layer.stride)
        case Add():
            y = torch.stack([t * f for t, f in zip(inputs, layer.factors, strict=True)]).sum(0)
        case Concat():
            y = torch.cat(list(inputs), 1) * layer.gain[:, None, None]
            y = y + layer.offset[:, None, None]
        case Function():
            return layer.function(x)
        case _:
            raise TypeError(f"{layer.name}: {type(layer).__name__} is not computed")
    return y.clamp(layer.low, layer.high)


def forward(layers: Sequence[Layer], images: Tensor) -> dict[Layer, Tensor]:
    """Every layer's output for normalised images (N, 1, H, W)."""
    made: dict[Layer, Tensor] = {}
    for layer in layers:
        inputs = [made[source] for source in layer.inputs]
        made[layer] = evaluate(layer, inputs) if inputs else images
    return made


def simplify(layers: Sequence[Layer]) -> list[Layer]:
    """The same network with fewer layers, in the order they are computed.

    Batch norms, scalars and ReLUs become part of the layer before; where a max pool stands
    between, an increasing function moves over it. A 1 × 1 convolution of which only the average
    is wanted is computed after the averaging, on one pixel instead of all.
    """
    kept = list(layers)
    for layer in layers:
        if isinstance(layer, Concat) and len(layer.inputs) == 1 and _absorb(layer, kept):
            _remove(layer, kept)
    for layer in list(kept):
        if isinstance(layer, AveragePool):
            _average_first(layer, kept)
    return kept


def _consumers(layer: Layer, layers: Sequence[Layer]) -> int:
    """How many inputs of layers a layer's output is; the network's output counts as one."""
    return sum(other.inputs.count(layer) for other in layers) + (layer is layers[-1])


def _remove(layer: Layer, layers: list[Layer]) -> None:
    """Takes a layer of one input out of the list; its consumers read that input instead."""
    layers.remove(layer)
    for other in layers:
        other.inputs = [layer.inputs[0] if source is layer else source for source in other.inputs]


def _absorb(layer: Concat, layers: Sequence[Layer]) -> bool:
    """Whether the layer before could take over what this one does; if so, it has."""
    source = layer.inputs[0]
    while isinstance(source, MaxPool) and _consumers(source, layers) == 1:
        if (layer.gain <= 0).any():
            return False
        source = source.inputs[0]
    if _consumers(source, layers) > 1:
        return False
    scales = bool((layer.gain != 1).any() or layer.offset.any())
    match source:
        case Conv() | Concat() if not scales or _is_linear(source):
            source.gain = source.gain * layer.gain
            source.offset = source.offset * layer.gain + layer.offset
        case Add() if layer.gain.numel() == 1 and not layer.offset.any() and _is_linear(source):
            source.factors = [factor * layer.gain.item() for factor in source.factors]
        case Add() | AveragePool() if not scales:
            pass
        case _:
            return False
    source.low = max(source.low, layer.low)
    source.high = min(source.high, layer.high)
    return True


def _is_linear(layer: Conv | Concat | Add) -> bool:
    return layer.low == -INF and layer.high == INF


def _average_first(pool: AveragePool, layers: list[Layer]) -> None:
    """Moves an average pool before the 1 × 1 convolution whose output it alone reads."""
    conv = pool.inputs[0]
    if (
        isinstance(conv, Conv)
        and _is_linear(conv)
        and conv.weight.shape[2:] == (1, 1)
        and (conv.stride, conv.padding) == ((1, 1), (0, 0))
        and _consumers(conv, layers) == 1
        and (pool.low, pool.high) == (-INF, INF)
    ):
        for other in layers:
            other.inputs = [conv if source is pool else source for source in other.inputs]
        pool.inputs, conv.inputs = conv.inputs, [pool]
        layers.remove(pool)
        layers.insert(layers.index(conv), pool)

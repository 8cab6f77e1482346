"""The float network as a short list of nodes, the form that is quantised and fine-tuned.

`lower` makes the list from a module, and `simplify` folds batch norms, scalars and ReLUs into the
nodes before them. A tensor is (N, C, H, W); a flattened one keeps its height and width, because
a linear layer is a convolution whose kernel is its whole input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = tuple[int, int]
INF = math.inf


@dataclass(eq=False)
class Reader:
    """Reads the outputs of `inputs`; `name` is the path of the module that it comes from."""

    name: str
    inputs: list[Node]


@dataclass(eq=False)
class Image(Reader):
    """The normalised image."""


@dataclass(eq=False)
class Conv(Reader):
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
class MaxPool(Reader):
    kernel: Pair
    stride: Pair


@dataclass(eq=False)
class AveragePool(Reader):
    kernel: Pair
    stride: Pair
    low: float = -INF
    high: float = INF


@dataclass(eq=False)
class Add(Reader):
    """clamp(the sum of the inputs, each times its factor, low, high)."""

    factors: list[float]
    low: float = -INF
    high: float = INF


@dataclass(eq=False)
class Multiply(Reader):
    """clamp(the product of two inputs, low, high); the second may have sides of one."""

    low: float = -INF
    high: float = INF


@dataclass(eq=False)
class Concat(Reader):
    """clamp(cat(inputs) * gain + offset, low, high); of one input, a batch norm or a ReLU.

    gain and offset are (C,) or (1,).
    """

    gain: Tensor = field(default_factory=lambda: torch.ones(1))
    offset: Tensor = field(default_factory=lambda: torch.zeros(1))
    low: float = -INF
    high: float = INF


@dataclass(eq=False)
class Function(Reader):
    """Any function of one number, applied to each."""

    function: Callable[[Tensor], Tensor]


Node = Image | Conv | MaxPool | AveragePool | Add | Multiply | Concat | Function


def evaluate(layer: Node, inputs: Sequence[Tensor], weight: Tensor | None = None) -> Tensor:
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
        case Multiply():
            y = x * inputs[1]
        case Concat():
            y = torch.cat(list(inputs), 1) * layer.gain[:, None, None]
            y = y + layer.offset[:, None, None]
        case Function():
            return layer.function(x)
        case Image():
            return x
        case _:
            assert_never(layer)
    return F.hardtanh(y, layer.low, layer.high)


def forward(layers: Sequence[Node], images: Tensor) -> dict[Node, Tensor]:
    """Every layer's output for normalised images (N, 1, H, W)."""
    made: dict[Node, Tensor] = {}
    for layer in layers:
        inputs = [made[source] for source in layer.inputs]
        made[layer] = evaluate(layer, inputs) if inputs else images
    return made


def simplify(layers: Sequence[Node]) -> list[Node]:
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


def _consumers(layer: Node, layers: Sequence[Node]) -> int:
    """How many inputs of layers a layer's output is; the network's output counts as one."""
    return sum(other.inputs.count(layer) for other in layers) + (layer is layers[-1])


def _remove(layer: Node, layers: list[Node]) -> None:
    """Takes a layer of one input out of the list; its consumers read that input instead."""
    layers.remove(layer)
    for other in layers:
        other.inputs = [layer.inputs[0] if source is layer else source for source in other.inputs]


def _absorb(layer: Concat, layers: Sequence[Node]) -> bool:
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
        case Add() | Multiply() | AveragePool() if not scales:
            pass
        case _:
            return False
    source.low = max(source.low, layer.low)
    source.high = min(source.high, layer.high)
    return True


def _is_linear(layer: Conv | Concat | Add) -> bool:
    return layer.low == -INF and layer.high == INF


def _average_first(pool: AveragePool, layers: list[Node]) -> None:
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

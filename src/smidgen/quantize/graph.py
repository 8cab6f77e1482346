"""The integer graph: what a network is after quantisation, and a numpy interpreter of it.

A graph is a list of nodes. Tensor 0 is the image, raw levels 0…255, grey or RGB; node i
makes tensor i + 1; the last tensor is the logits. A tensor is (H, W, C), one image, channels last,
and every number in it is an integer, 0…255, but for the logits, which are int32:
logit = integer * `logit_scale`, up to a constant that all logits share.

    conv         acc[o] = sum over the window and the inputs of x * weight[o]; outside the input x
                 is `outside`, the integer that stands for zero. A linear layer is a convolution
                 whose kernel is its whole input.
    max_pool     the largest x of each window, unchanged
    average_pool acc = the sum of x over the window
    add          acc = sum over the inputs of x * factor
    multiply     acc = (x - zeros[0]) * (y - zeros[1]) of its two inputs; a side of 1 of the second
                 stands for all places of the first
    concat       acc = x, the inputs' channels one after the other; with one input, a rescaling
    table        y = values[x]

Every acc becomes y = (acc * multiplier + bias) >> shift, the multiplier and the bias one per
channel or one for all, the shift arithmetic; y is then clamped to 0…255, but not in the last node.
Zero points and activations need no code of their own: a zero point is part of the bias, and a
ReLU is the clamp. Everything stays within int32 for every possible image: the quantiser chooses
the multipliers so, and `Graph` checks it. So numpy, C and JavaScript, which all have 32-bit
integers, cannot differ.

As JSON (`to_document`), format "smidgen-graph-1":

    {"format": "smidgen-graph-1", "name": "tiny_mnist", "input": [28, 28, 1],
     "classes": ["0", ...], "logit_scale": 0.0021, "zeros": [33, 0, ...],
     "weights": [{"shape": [8, 3, 3, 1], "bits": 8, "data": "<base64>"}, ...],
     "nodes": [
       {"op": "conv", "name": "0", "inputs": [0], "shape": [28, 28, 8], "weights": 0,
        "stride": [1, 1], "padding": [1, 1], "groups": 1, "outside": 33,
        "rescale": {"multiplier": [...], "bias": [...], "shift": 12, "clamp": true}},
       {"op": "max_pool", "name": "2", "inputs": [1], "shape": [14, 14, 8],
        "kernel": [2, 2], "stride": [2, 2]},
       {"op": "average_pool", ..., "kernel": [7, 7], "stride": [7, 7], "rescale": {...}},
       {"op": "add", ..., "factors": [64, 127], "rescale": {...}},
       {"op": "multiply", ..., "zeros": [12, 0], "rescale": {...}},
       {"op": "concat", ..., "rescale": {...}},
       {"op": "table", ..., "values": [...]}]}

`zeros` are the integers that stand for zero, one per tensor; nothing is computed with them.
`shape` is the output's; `name` is the module path in the float network. Weights are (O, kernel
height, kernel width, I / groups); nodes that share a module share the entry. They are packed in
that order into bytes, two's complement, `bits` (8, 4 or 2) each, the first in the lowest bits;
the last byte is filled with zeros. Pools have no padding and drop an incomplete window, and
channel o of a grouped convolution reads the inputs of group o // (O / groups).
"""

from __future__ import annotations

import base64
import functools
import operator
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from smidgen.inputs import InputShape

Array = NDArray[Any]
Shape = tuple[int, int, int]
Pair = tuple[int, int]

FORMAT = "smidgen-graph-1"
INT32_MAX = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Weights:
    """Integer weights (O, kernel height, kernel width, I / groups) of `bits` each."""

    values: NDArray[np.int8]
    bits: int = 8

    @property
    def size_bytes(self) -> int:
        """What the packed weights take."""
        return -(-self.values.size * self.bits // 8)


@dataclass(frozen=True, eq=False)
class Rescale:
    """acc -> (acc * multiplier + bias) >> shift, clamped to 0…255 if `clamp`, all within int32.

    `multiplier` and `bias` are int32, (C,) or (1,); the bias includes the half that rounds.
    """

    multiplier: NDArray[np.int32]
    bias: NDArray[np.int32]
    shift: int
    clamp: bool = True

    def apply(self, acc: Array) -> NDArray[np.int32]:
        """The rescaled accumulators (..., C)."""
        y = acc.astype(np.int32, copy=False) * self.multiplier
        y += self.bias
        y >>= self.shift
        return y.clip(0, 255, out=y) if self.clamp else y

    @property
    def size_bytes(self) -> int:
        """What the multipliers and biases take, each in the narrowest type that holds them all."""
        bias, _ = self.short_bias()
        return sum(a.size * narrowest(a).itemsize for a in (self.multiplier, bias))

    def short_bias(self) -> tuple[NDArray[np.int32], int]:
        """The biases divided by the largest power of two in all of them, and that power's log."""
        common = int(np.bitwise_or.reduce(self.bias))
        zeros = (common & -common).bit_length() - 1 if common else 0
        return self.bias >> zeros, zeros


@dataclass(frozen=True, eq=False)
class _Node:
    """What every node has; the module's docstring says what it means."""

    name: str
    inputs: tuple[int, ...]
    shape: Shape


@dataclass(frozen=True, eq=False)
class Conv(_Node):
    op = "conv"
    weights: int  # position in Graph.weights
    stride: Pair
    padding: Pair
    groups: int
    outside: int
    rescale: Rescale


@dataclass(frozen=True, eq=False)
class MaxPool(_Node):
    op = "max_pool"
    kernel: Pair
    stride: Pair


@dataclass(frozen=True, eq=False)
class AveragePool(_Node):
    op = "average_pool"
    kernel: Pair
    stride: Pair
    rescale: Rescale


@dataclass(frozen=True, eq=False)
class Add(_Node):
    op = "add"
    factors: tuple[int, ...]
    rescale: Rescale


@dataclass(frozen=True, eq=False)
class Multiply(_Node):
    op = "multiply"
    zeros: tuple[int, int]
    rescale: Rescale


@dataclass(frozen=True, eq=False)
class Concat(_Node):
    op = "concat"
    rescale: Rescale


@dataclass(frozen=True, eq=False)
class Table(_Node):
    op = "table"
    values: tuple[int, ...]


Node = Conv | MaxPool | AveragePool | Add | Multiply | Concat | Table


@dataclass(frozen=True, eq=False)
class Graph:
    """A quantised network; the module's docstring says what its numbers mean.

    Tensor i stands for `scales[i] * (integers - zeros[i])` of the float network.
    """

    name: str
    input: Shape
    classes: tuple[str, ...]
    scales: tuple[float, ...]
    zeros: tuple[float, ...]
    weights: tuple[Weights, ...]
    nodes: tuple[Node, ...]

    @property
    def input_shape(self) -> InputShape:
        """The image's channels, height and width."""
        height, width, channels = self.input
        return InputShape(channels, height, width)

    @property
    def logit_scale(self) -> float:
        return self.scales[-1]

    @property
    def weight_bytes(self) -> int:
        """Bytes of all packed weights, multipliers, biases and tables: the network's constants."""
        rescales = sum(
            node.rescale.size_bytes for node in self.nodes if not isinstance(node, MaxPool | Table)
        )
        tables = sum(len(node.values) for node in self.nodes if isinstance(node, Table))
        return sum(w.size_bytes for w in self.weights) + rescales + tables

    def run(self, images: NDArray[np.uint8], batch: int = 100) -> NDArray[np.int32]:
        """The logits, int32 (N, classes), of uint8 images (N, C, H, W), or (N, H, W) if grey."""

        def logits(start: int) -> NDArray[np.int32]:
            return self.tensors(images[start : start + batch])[-1].reshape(-1, len(self.classes))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return np.concatenate(list(pool.map(logits, range(0, len(images), batch))))

    def tensors(self, images: NDArray[np.uint8]) -> list[NDArray[np.int32]]:
        """The image and every node's output, each (N, H, W, C)."""
        planes = images.reshape(len(images), *self.input_shape)
        made: list[NDArray[np.int32]] = [np.moveaxis(planes, 1, 3).astype(np.int32)]
        for node in self.nodes:
            made.append(_evaluate(node, [made[i] for i in node.inputs], self.weights))
        return made

    def __post_init__(self) -> None:
        """Asserts that no image can leave int32 in any node."""
        for node in self.nodes:
            if isinstance(node, MaxPool | Table):
                continue
            worst = self._largest_acc(node) * np.abs(node.rescale.multiplier.astype(np.int64))
            assert (worst + np.abs(node.rescale.bias.astype(np.int64))).max() <= INT32_MAX, (
                node.name
            )

    def _largest_acc(self, node: Conv | AveragePool | Add | Multiply | Concat) -> Array:
        """The largest |acc| that any image can lead to, (C,) or (1,)."""
        match node:
            case Conv():
                weight = np.abs(self.weights[node.weights].values.astype(np.int64))
                sums: Array = 255 * weight.sum(axis=(1, 2, 3))
                return sums
            case AveragePool():
                return np.array([255 * node.kernel[0] * node.kernel[1]])
            case Add():
                return np.array([255 * sum(map(abs, node.factors))])
            case Multiply(zeros=(one, other)):
                return np.array([max(one, 255 - one) * max(other, 255 - other)])
            case Concat():
                return np.array([255])
            case _:
                assert_never(node)


def narrowest(values: Array) -> np.dtype[Any]:
    """The narrowest of int8, int16 and int32 that holds every value."""
    largest = max(int(values.max()), -1 - int(values.min()))
    return np.dtype(np.int8 if largest < 2**7 else np.int16 if largest < 2**15 else np.int32)


def _evaluate(
    node: Node, inputs: Sequence[NDArray[np.int32]], weights: tuple[Weights, ...]
) -> NDArray[np.int32]:
    """A node's output (N, H, W, C)."""
    x = inputs[0]
    match node:
        case Conv():
            return node.rescale.apply(_convolve(node, x, weights[node.weights].values))
        case MaxPool():
            return functools.reduce(np.maximum, _taps(_windows(x, node.kernel, node.stride)))
        case AveragePool():
            sums = functools.reduce(np.add, _taps(_windows(x, node.kernel, node.stride)))
            return node.rescale.apply(sums)
        case Add():
            terms = [tensor * factor for tensor, factor in zip(inputs, node.factors, strict=True)]
            return node.rescale.apply(np.sum(terms, axis=0))
        case Multiply(zeros=(one, other)):
            return node.rescale.apply((x - one) * (inputs[1] - other))
        case Concat():
            return node.rescale.apply(np.concatenate(inputs, axis=-1))
        case Table():
            return np.array(node.values, dtype=np.int32)[x]
        case _:
            assert_never(node)


def _windows(x: Array, kernel: Pair, stride: Pair) -> Array:
    """Every window of x (N, H, W, C), as (N, H', W', C, kernel height, kernel width)."""
    views: Array = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(1, 2))
    return views[:, :: stride[0], :: stride[1]]


def _taps(windows: Array) -> list[Array]:
    """The first place of every window, the second, …: arrays of them are faster than windows."""
    return [windows[..., i, j] for i, j in np.ndindex(windows.shape[-2:])]


def _convolve(node: Conv, x: NDArray[np.int32], weight: NDArray[np.int8]) -> Array:
    """The accumulators (N, H', W', O).

    The products are summed as floats, which unlike integers have a fast matrix product, and which
    are exact below 2**24, or 2**53 in float64.
    """
    (top, left), outputs, taps = node.padding, len(weight), weight[0].size
    largest = 255 * np.abs(weight.astype(np.int64)).sum(axis=(1, 2, 3)).max()
    kind = np.float32 if largest < 2**24 else np.float64
    padding = ((0, 0), (top, top), (left, left), (0, 0))
    padded = np.pad(x.astype(kind), padding, constant_values=node.outside)
    _, height, width, per_group = weight.shape
    windows = _windows(padded, (height, width), node.stride)  # (N, H', W', I, kh, kw)
    if node.groups == outputs == padded.shape[3]:  # depthwise
        taken = _taps(weight[..., 0].astype(kind))
        sums: Array = sum(map(operator.mul, _taps(windows), taken))
        return sums
    acc = []
    for group in range(node.groups):
        patch = windows[..., group * per_group : (group + 1) * per_group, :, :]
        patch = np.moveaxis(patch, 3, 5).reshape(*patch.shape[:3], taps)  # (N, H', W', kh kw I/g)
        rows = slice(group * outputs // node.groups, (group + 1) * outputs // node.groups)
        acc.append(patch @ weight[rows].reshape(-1, taps).T.astype(kind))
    return np.concatenate(acc, axis=-1)


def to_document(graph: Graph) -> dict[str, Any]:
    """The graph as plain lists, numbers and strings, for JSON; the module's docstring shows it."""
    return {
        "format": FORMAT,
        "name": graph.name,
        "input": list(graph.input),
        "classes": list(graph.classes),
        "logit_scale": graph.logit_scale,
        "zeros": [round(zero) for zero in graph.zeros],
        "weights": [
            {
                "shape": list(w.values.shape),
                "bits": w.bits,
                "data": base64.b64encode(pack(w.values, w.bits)).decode("ascii"),
            }
            for w in graph.weights
        ],
        "nodes": [{"op": node.op} | _plain(vars(node)) for node in graph.nodes],
    }


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case tuple():
            return [_plain(item) for item in value]
        case np.ndarray():
            return value.tolist()
        case Rescale():
            return _plain(vars(value))
    return value


def pack(values: NDArray[np.int8], bits: int) -> bytes:
    """Signed integers of 8, 4 or 2 bits in bytes, the first in the lowest bits.

    >>> pack(np.array([1, -1, 7], dtype=np.int8), bits=4).hex()
    'f107'
    """
    per_byte = 8 // bits
    flat = values.reshape(-1).astype(np.uint8) & (2**bits - 1)
    padded = np.pad(flat, (0, -flat.size % per_byte)).reshape(-1, per_byte)
    places = np.arange(per_byte, dtype=np.uint8) * bits
    return bytes((padded << places).sum(axis=1).astype(np.uint8))

"""The integer graph that a network will become, with made-up numbers: what it weighs is right.

Built from the parts alone, without a module, images or training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import numpy as np
import torch

from smidgen.blocks import parts as P
from smidgen.inputs import InputShape, Preprocess
from smidgen.quantize import float_graph as FG
from smidgen.quantize import graph as G

CLAMPS = {"relu": (0.0, FG.INF), "relu6": (0.0, 6.0)}
TABLE = (0,) * 256  # of any other activation
ONE, NOTHING = torch.ones(1), torch.zeros(1)


def skeleton(part: P.Chain, preprocess: Preprocess) -> G.Graph:
    """The integer graph of a network's parts, fed as `preprocess` says.

    Its nodes, shapes, kernels and counts of numbers are those that `quantize` will give; the
    numbers are made up.
    """
    image = FG.Image("image", [])
    nodes: list[FG.Node] = [image]
    _lower(part, image, nodes, preprocess.shape)
    simple = FG.simplify(nodes)
    if len(set(preprocess.mean)) > 1 or len(set(preprocess.std)) > 1:
        mended = FG.Concat("channels", [simple[0]])
        for node in simple[1:]:
            node.inputs = [mended if source is image else source for source in node.inputs]
        simple.insert(1, mended)
    return _graph(simple, preprocess.shape, part.shape[0])


def _lower(part: P.Part, source: FG.Node, nodes: list[FG.Node], shape: P.Shape) -> FG.Node:
    """Appends the nodes of a part, which reads a source of that shape; returns the last."""
    match part:
        case P.Chain():
            for each in part.parts:
                source = _lower(each, source, nodes, shape)
                if not isinstance(each, P.Flatten):  # a linear layer convolves the whole map
                    shape = each.shape
            return source
        case P.Residual():
            made = _lower(part.body, source, nodes, shape)
            total = _add(FG.Add("", [source, made], [1.0, 1.0]), nodes)
            return _activate(part.activation, total, nodes)
        case P.Repeated():
            return _repeat(part, source, nodes, shape)
        case P.Convolution():
            weight = _weight(part.shape[0], part.inputs // part.groups, part.kernel, part.kernel)
            stride, padding = (part.stride,) * 2, (part.padding,) * 2
            offset = ONE if part.bias else NOTHING
            conv = FG.Conv("", [source], weight, ONE, offset, stride, padding, part.groups)
            return _add(conv, nodes)
        case P.Linear():
            return _add(FG.Conv("", [source], _weight(part.shape[0], *shape), ONE, ONE), nodes)
        case P.Norm():
            assert isinstance(source, FG.Conv)
            source.offset = ONE  # it folds
            return source
        case P.Pool():
            kind = FG.MaxPool if part.kind == "max" else FG.AveragePool
            return _add(kind("", [source], (part.size,) * 2, (part.size,) * 2), nodes)
        case P.GlobalAverage():
            return _add(FG.AveragePool("", [source], shape[1:], shape[1:]), nodes)
        case P.Activation():
            return _activate(part.name, source, nodes)
        case P.Dropout() | P.Flatten():  # left out, and a view
            return source
        case _:
            assert_never(part)


def _repeat(part: P.Repeated, source: FG.Node, nodes: list[FG.Node], shape: P.Shape) -> FG.Node:
    """The turns of a shared body: all convolutions at the same place of it have one weight."""
    shared: list[torch.Tensor] = []
    for turn, norm in zip(part.turns, part.norms, strict=True):
        begin = len(nodes)
        source = _lower(norm, _lower(turn, source, nodes, shape), nodes, turn.shape)
        own = [node for node in nodes[begin:] if isinstance(node, FG.Conv)]
        shared = shared or [conv.weight for conv in own]
        for conv, weight in zip(own, shared, strict=True):
            conv.weight = weight
        source, shape = _activate(part.activation, source, nodes), turn.shape
    return source


def _activate(name: str, source: FG.Node, nodes: list[FG.Node]) -> FG.Node:
    if name == "none":
        return source
    if name in CLAMPS:
        low, high = CLAMPS[name]
        return _add(FG.Concat("", [source], low=low, high=high), nodes)
    return _add(FG.Function("", [source], torch.relu), nodes)


def _add(node: FG.Node, nodes: list[FG.Node]) -> FG.Node:
    nodes.append(node)
    return node


def _weight(*sizes: int) -> torch.Tensor:
    return torch.empty(sizes, device="meta")


def _graph(layers: Sequence[FG.Node], shape: InputShape, classes: int) -> G.Graph:
    """The graph of simplified nodes."""
    number = {id(layer): place for place, layer in enumerate(layers)}
    places: dict[int, int] = {}  # of each weight
    weights, nodes = list[G.Weights](), list[G.Node]()
    shapes = [(shape.height, shape.width, shape.channels)]
    at_zero = _begin_at_zero(layers)
    for layer in layers[1:]:
        if isinstance(layer, FG.Conv) and id(layer.weight) not in places:
            places[id(layer.weight)] = len(weights)
            outputs, depth, *sides = layer.weight.shape
            weights.append(G.Weights(np.zeros((outputs, *sides, depth), np.int8)))
        inputs = tuple(number[id(source)] for source in layer.inputs)
        nodes.append(_node(layer, inputs, shapes, places, at_zero))
        shapes.append(nodes[-1].shape)
    scales = (1.0,) * len(layers)
    names = tuple(map(str, range(classes)))
    return G.Graph("", shapes[0], names, scales, scales, tuple(weights), tuple(nodes))


def _node(
    layer: FG.Node,
    inputs: tuple[int, ...],
    shapes: list[G.Shape],
    places: dict[int, int],
    at_zero: Sequence[bool],
) -> G.Node:
    """The node of a layer; the numbers that are made up depend on its place."""
    height, width, channels = shapes[inputs[0]]
    at = len(shapes)
    match layer:
        case FG.Conv():
            outputs, _, *kernel = layer.weight.shape
            sides = _sides((height, width), kernel, layer.stride, layer.padding)
            zero = at_zero[inputs[0]]
            # Without offsets and without a zero to make up for, all biases are the same.
            is_same = zero and not layer.offset.any()
            rescale = _rescale(outputs, at, 1 if is_same else outputs)
            return G.Conv(
                "", inputs, (*sides, outputs), places[id(layer.weight)], layer.stride,
                layer.padding, layer.groups, outside=0 if zero else at, rescale=rescale,
            )  # fmt: skip
        case FG.MaxPool() | FG.AveragePool():
            sides = _sides((height, width), layer.kernel, layer.stride, (0, 0))
            made = (*sides, channels)
            if isinstance(layer, FG.MaxPool):
                return G.MaxPool("", inputs, made, layer.kernel, layer.stride)
            return G.AveragePool("", inputs, made, layer.kernel, layer.stride, _rescale(1, at))
        case FG.Add():
            return G.Add("", inputs, shapes[inputs[0]], (1, 1), _rescale(1, at))
        case FG.Concat():
            depth = sum(shapes[i][2] for i in inputs)
            return G.Concat("", inputs, (height, width, depth), _rescale(depth, at))
        case FG.Function():
            return G.Table("", inputs, shapes[inputs[0]], TABLE)
        case FG.Image() | FG.Multiply():
            raise AssertionError(f"no part of a network becomes {layer}")
        case _:
            assert_never(layer)


def _sides(sides: G.Pair, kernel: Sequence[int], stride: G.Pair, padding: G.Pair) -> G.Pair:
    height, width = (
        (side + 2 * pad - k) // step + 1
        for side, k, step, pad in zip(sides, kernel, stride, padding, strict=True)
    )
    return height, width


def _begin_at_zero(layers: Sequence[FG.Node]) -> list[bool]:
    """Whether the grid of each layer's output begins at zero, as after a ReLU."""
    found: dict[int, bool] = {}
    for layer in layers:
        low = getattr(layer, "low", -FG.INF)
        passes = isinstance(layer, FG.MaxPool | FG.AveragePool)
        found[id(layer)] = low >= 0 or (passes and found[id(layer.inputs[0])])
    return list(found.values())


def _rescale(channels: int, at: int, biases: int = 0) -> G.Rescale:
    """A rescaling that differs from that of the nodes beside it, as real ones do."""
    bias = np.full(biases or channels, 1 << (at % 3), np.int32)
    return G.Rescale(np.ones(channels, np.int32), bias, shift=at % 5)

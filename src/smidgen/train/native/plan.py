"""A module as the layers that the kernels know, or the reason why it cannot be one."""

from __future__ import annotations

import copy
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

(CONVOLUTION, LINEAR, NORM, RELU, MAX_POOL, MEAN_POOL, ADD, CONCAT, DROPOUT) = range(9)
ENDS_IN_RELU = (NORM, MAX_POOL, MEAN_POOL, ADD)


class UnsupportedError(Exception):
    """The kernels have no such layer."""


@dataclass
class Map:
    """A tensor of one image: its shape, and the width of the frame of zeros around each map."""

    channels: int
    height: int
    width: int
    halo: int = 0


@dataclass(frozen=True)
class Layer:
    """One operation; the names are those of `layer` in kernels.c."""

    operation: int
    source: int
    output: int
    other: int = -1
    relu: int = 0
    add_source: int = 0
    add_other: int = 0
    kernel_height: int = 1
    kernel_width: int = 1
    stride: int = 1
    groups: int = 1
    pad_height: int = 0
    pad_width: int = 0
    weight: int = -1
    bias: int = -1
    statistics: int = -1
    number: float = 0.0
    momentum: float = 0.0
    slope: float = 0.0


@dataclass
class Plan:
    """What is computed for an image, in order; maps[0] is the image, the last output the logits.

    `gradients[i]` is the map whose memory holds the gradient of map i: its own, or that of a later
    map which nobody needs any more.
    """

    maps: list[Map]
    layers: list[Layer]
    gradients: list[int]


def plan(module: nn.Module, height: int, width: int) -> Plan:
    """The module's plan for images of that size; the module itself is left as it is.

    Raises UnsupportedError, with the layer's name.
    """
    try:
        module = copy.deepcopy(module)
        graph = fx.symbolic_trace(module)
        ShapeProp(graph.eval()).propagate(torch.zeros(2, 1, height, width))
    except Exception as problem:
        raise UnsupportedError(f"it cannot be traced: {problem}") from problem
    drawn = _Drawing(module, graph)
    for node in graph.graph.nodes:
        drawn.add(node)
    return _finish(drawn.maps, _with_relu(drawn.layers))


@dataclass
class _Drawing:
    module: nn.Module
    graph: fx.GraphModule
    maps: list[Map] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.known: dict[fx.Node, int] = {}
        parameters = list(self.module.parameters())
        statistics = [buffer for buffer in self.module.buffers() if buffer.is_floating_point()]
        self.places = _places(parameters) | _places(statistics)
        if not all(parameter.requires_grad for parameter in parameters):
            raise UnsupportedError("some of its parameters are frozen")

    def add(self, node: fx.Node) -> None:
        """Appends the node's layer, or lets it stand for its input."""
        if node.op == "output":
            returned = [self.known[read] for read in _nodes(node) if read in self.known]
            if returned != [layer.output for layer in self.layers[-1:]]:
                raise UnsupportedError("it does not return what its last layer makes")
            return
        if node.op == "placeholder":
            self._new_map(node)
            return
        kind, settings = self._kind(node)
        inputs = [self.known[argument] for argument in _nodes(node) if argument in self.known]
        if len(inputs) != (2 if kind in (ADD, CONCAT) else 1):
            raise UnsupportedError(f"{node.name} has {len(inputs)} inputs that depend on the image")
        if kind is None:
            self.known[node] = inputs[0]
            return
        output = self._new_map(node)
        layer = Layer(kind, inputs[0], output, inputs[1] if len(inputs) == 2 else -1, **settings)
        if kind == ADD and not self.maps[inputs[0]] == self.maps[inputs[1]] == self.maps[output]:
            raise UnsupportedError(f"{node.name} adds maps of different shapes")
        self.layers.append(layer)

    def _new_map(self, node: fx.Node) -> int:
        shape = tuple(node.meta["tensor_meta"].shape)[1:]
        if len(shape) not in (1, 3):
            raise UnsupportedError(f"{node.name} has the shape {shape}")
        channels, *sides = shape
        self.maps.append(Map(channels, *(sides or [1, 1])))
        self.known[node] = len(self.maps) - 1
        return self.known[node]

    def _kind(self, node: fx.Node) -> tuple[int | None, dict[str, Any]]:
        """The node's operation and its settings; None where it changes no number."""
        if node.op == "call_module":
            layer = self.graph.get_submodule(str(node.target))
            return self._kind_of_module(layer, node)
        name: Any = node.target if node.op == "call_method" else FUNCTIONS.get(node.target)
        plain = all(not isinstance(a, fx.Node) for a in node.kwargs.values())
        match name:
            case "add" if len(_nodes(node)) == 2 and len(node.args) == 2:
                return ADD, {}
            case "relu" if plain:
                return RELU, {"relu": 1}
            case "cat" if len(_nodes(node)) == 2 and {*node.args[1:], *node.kwargs.values()} == {1}:
                return CONCAT, {}
            case "flatten" | "view" | "reshape" if len(node.meta["tensor_meta"].shape) == 2:
                return None, {}
        raise UnsupportedError(f"{node.name}: {node.target}")

    def _kind_of_module(self, layer: nn.Module, node: fx.Node) -> tuple[int | None, dict[str, Any]]:
        match layer:
            case nn.Conv2d():
                return CONVOLUTION, self._convolution(layer)
            case nn.Linear():
                return LINEAR, self._weights(layer)
            case nn.BatchNorm2d() if layer.momentum is not None and layer.track_running_stats:
                return NORM, self._weights(layer) | {
                    "statistics": self._place(layer.running_mean),
                    "number": layer.eps,
                    "momentum": layer.momentum,
                }
            case nn.ReLU():
                return RELU, {"relu": 1}
            case nn.LeakyReLU() if layer.negative_slope >= 0:
                return RELU, {"relu": 1, "slope": layer.negative_slope}
            case nn.MaxPool2d() | nn.AvgPool2d() if _is_plain_pool(layer):
                high, wide = _pair(layer.kernel_size)
                kind = MAX_POOL if isinstance(layer, nn.MaxPool2d) else MEAN_POOL
                return kind, {"kernel_height": high, "kernel_width": wide}
            case nn.AdaptiveAvgPool2d() if _pair(layer.output_size) == (1, 1):
                shape = _nodes(node)[0].meta["tensor_meta"].shape
                return MEAN_POOL, {"kernel_height": shape[2], "kernel_width": shape[3]}
            case nn.Dropout():
                return (DROPOUT, {"number": layer.p}) if layer.p else (None, {})
            case nn.Flatten() | nn.Identity():
                return None, {}
        raise UnsupportedError(f"{node.name}: {layer}")

    def _convolution(self, layer: nn.Conv2d) -> dict[str, Any]:
        square = layer.stride[0] == layer.stride[1] and set(layer.dilation) == {1}
        if isinstance(layer.padding, str) or layer.padding_mode != "zeros" or not square:
            raise UnsupportedError(str(layer))
        return {
            "kernel_height": layer.kernel_size[0],
            "kernel_width": layer.kernel_size[1],
            "stride": layer.stride[0],
            "groups": layer.groups,
            "pad_height": layer.padding[0],
            "pad_width": layer.padding[1],
            **self._weights(layer),
        }

    def _weights(self, layer: Any) -> dict[str, int]:
        return {"weight": self._place(layer.weight), "bias": self._place(layer.bias)}

    def _place(self, tensor: Tensor | None) -> int:
        return -1 if tensor is None else self.places[id(tensor)]


FUNCTIONS: dict[Any, str] = {
    operator.add: "add",
    operator.iadd: "add",
    torch.add: "add",
    torch.relu: "relu",
    F.relu: "relu",
    torch.cat: "cat",
    torch.flatten: "flatten",
}


def _with_relu(layers: list[Layer]) -> list[Layer]:
    """The layers with each ReLU made part of what it follows, where nothing else reads that."""
    readers: dict[int, int] = {}
    for layer in layers:
        for tensor in (layer.source, layer.other):
            readers[tensor] = readers.get(tensor, 0) + 1
    joined: list[Layer] = []
    for layer in layers:
        before = joined[-1] if joined else None
        if (
            layer.operation == RELU
            and before is not None
            and before.output == layer.source
            and before.operation in ENDS_IN_RELU
            and not before.relu
            and readers[layer.source] == 1
        ):
            joined[-1] = replace(before, relu=1, slope=layer.slope, output=layer.output)
        else:
            joined.append(layer)
    return joined


def _finish(maps: list[Map], layers: list[Layer]) -> Plan:
    """Halos for what reads each map, and which gradients are added to what is there already."""
    for layer in layers:
        if layer.operation != CONVOLUTION:
            continue
        padding = max(layer.pad_height, layer.pad_width)
        maps[layer.source].halo = max(maps[layer.source].halo, padding)
        if layer.source:
            if layer.stride > 1:
                raise UnsupportedError("a stride above 1 after the first layer")
            high = layer.kernel_height - layer.pad_height - 1
            wide = layer.kernel_width - layer.pad_width - 1
            maps[layer.output].halo = max(maps[layer.output].halo, high, wide)
    seen: set[int] = set()
    finished = []
    for layer in reversed(layers):
        add_source = layer.source in seen
        seen.add(layer.source)
        add_other = layer.other in seen
        seen.add(layer.other)
        finished.append(replace(layer, add_source=int(add_source), add_other=int(add_other)))
    if not layers or maps[layers[-1].output].height != 1:
        raise UnsupportedError("it does not end in logits")
    return Plan(maps, finished[::-1], _gradients(maps, layers))


def _gradients(maps: list[Map], layers: list[Layer]) -> list[int]:
    """Where each gradient lies. The maps that share memory get the same halo.

    A layer that works number by number may write over the gradient it comes from, and a sum may
    leave its own to its branches, as long as nobody has yet to read what is written over.
    """
    gradients = list(range(len(maps)))
    producers = {layer.output: i for i, layer in enumerate(layers)}
    readers: dict[int, list[int]] = {}
    for i, layer in enumerate(layers):
        for source in {layer.source, layer.other} - {-1}:
            readers.setdefault(source, []).append(i)
    for i, layer in reversed(list(enumerate(layers))):
        place = gradients[layer.output]
        if any(gradients[map] == place and maker < i for map, maker in producers.items()):
            continue  # another map's gradient is there, and its producer has yet to read it
        if layer.operation in (NORM, RELU, DROPOUT):
            takers = [layer.source] if readers[layer.source] == [i] else []
        elif layer.operation == ADD and layer.source != layer.other:
            takers = _heirs(i, (layer.source, layer.other), producers, readers)
        else:
            takers = []
        for map in takers:
            gradients[map] = place if map else 0
    for i, place in enumerate(gradients):
        maps[place].halo = max(maps[place].halo, maps[i].halo)
    for i, place in enumerate(gradients):
        maps[i].halo = maps[place].halo
    return gradients


def _heirs(
    i: int, branches: tuple[int, int], producers: dict[int, int], readers: dict[int, list[int]]
) -> list[int]:
    """The branches of sum i that may take over its gradient: those that nobody reads after it.

    Both may only if each has been read for its producer before what else reads the other adds to
    the gradient they share.
    """
    heirs = [map for map in branches if map and readers[map][-1] == i]
    if len(heirs) == 2:
        one, other = heirs
        apart = [r < producers[other] for r in readers[one][:-1]]
        apart += [r < producers[one] for r in readers[other][:-1]]
        return heirs if all(apart) else heirs[:1]
    return heirs


def _places(tensors: Sequence[Tensor]) -> dict[int, int]:
    places, start = {}, 0
    for tensor in tensors:
        places[id(tensor)] = start
        start += tensor.numel()
    return places


def _nodes(node: fx.Node) -> list[fx.Node]:
    """The nodes that are read, in the order of the arguments and as often."""
    found: list[fx.Node] = []
    fx.map_arg((node.args, node.kwargs), lambda argument: found.append(argument))
    return found


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _is_plain_pool(layer: nn.MaxPool2d | nn.AvgPool2d) -> bool:
    whole = _pair(layer.kernel_size) == _pair(layer.stride) and not layer.ceil_mode
    return whole and _pair(layer.padding) == (0, 0) and getattr(layer, "dilation", 1) == 1

"""The stages of an integer graph: what computes the rows of each of its tensors."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import assert_never

from smidgen.quantize import graph as G


@dataclass(frozen=True, eq=False)
class Stage:
    """What computes rows of one tensor: a node, a convolution together with the max pool that
    alone reads it, or one input's part of a concatenation.

    It needs `steps` steps for a row of the output: a step is a row of the convolution before its
    pool, or a row of the input of a max pool or of a global average. Tensor 0 is the image. A sum
    may have its output as an input: it is then computed in place.
    """

    node: G.Node
    inputs: tuple[int, ...]
    output: int
    kernel: G.Pair = (1, 1)
    stride: G.Pair = (1, 1)
    padding: G.Pair = (0, 0)
    pool: G.Pair = (1, 1)
    steps: int = 1
    channel: int = 0  # the first that it writes

    def window(self, row: int, step: int) -> tuple[int, int]:
        """The first and the last input row that a step reads, where the input has them."""
        if isinstance(self.node, G.Conv):
            first = (row * self.steps + step) * self.stride[0] - self.padding[0]
            return first, first + self.kernel[0] - 1
        if isinstance(self.node, G.AveragePool) and self.steps == 1:
            return row * self.stride[0], row * self.stride[0] + self.kernel[0] - 1
        return row * self.stride[0] + step, row * self.stride[0] + step


def make_stages(graph: G.Graph) -> tuple[list[Stage], list[G.Shape]]:
    """The stages of a graph, and the shapes of their tensors, the image first."""
    readers = [index for node in graph.nodes for index in node.inputs]
    tensor_of = {0: 0}  # the graph's tensor numbers to the stages'
    shapes, stages = [graph.input], list[Stage]()
    for number, node in enumerate(graph.nodes, start=1):
        before = graph.nodes[number - 2] if number > 1 else None
        if (
            isinstance(node, G.MaxPool)
            and isinstance(before, G.Conv)
            and node.inputs == (number - 1,)
            and readers.count(number - 1) == 1
            and node.kernel == node.stride
        ):
            stages[-1] = dataclasses.replace(stages[-1], pool=node.kernel, steps=node.kernel[0])
            shapes[-1] = node.shape
        else:
            inputs = tuple(tensor_of[index] for index in node.inputs)
            same = [i for i in node.inputs if shapes[tensor_of[i]] == node.shape]
            replaced = [i for i in same if i > 0 and readers.count(i) == 1]
            output = len(shapes)
            if isinstance(node, G.Add | G.Multiply | G.Table) and replaced:
                output = tensor_of[replaced[-1]]
            else:
                shapes.append(node.shape)
            stages += _stages_of(node, inputs, output, graph, [shapes[i] for i in inputs])
        tensor_of[number] = stages[-1].output
    return stages, shapes


def _stages_of(
    node: G.Node, inputs: tuple[int, ...], output: int, graph: G.Graph, shapes: list[G.Shape]
) -> list[Stage]:
    match node:
        case G.Conv():
            kernel = graph.weights[node.weights].values.shape[1:3]
            return [Stage(node, inputs, output, kernel, node.stride, node.padding)]
        case G.AveragePool() if node.kernel == shapes[0][:2]:
            return [Stage(node, inputs, output, steps=shapes[0][0])]
        case G.MaxPool():
            return [Stage(node, inputs, output, node.kernel, node.stride, steps=node.kernel[0])]
        case G.AveragePool():
            return [Stage(node, inputs, output, node.kernel, node.stride)]
        case G.Concat():
            channels = itertools.accumulate([0, *(shape[2] for shape in shapes)])
            return [
                Stage(node, (tensor,), output, channel=channel)
                for tensor, channel in zip(inputs, channels, strict=False)
            ]
        case G.Add() | G.Multiply() | G.Table():
            return [Stage(node, inputs, output)]
        case _:
            assert_never(node)

"""The order in which the rows of all layers are computed, and where in memory they lie.

Few tensors are ever complete in memory. A 3 × 3 convolution reads three rows of its input, so
three rows are kept, in a ring buffer. `plan_memory` simulates the computation row by row; each step
is one of the deepest layer whose input is ready. The simulation shows how many rows each ring must
hold and when it is in use, and therefore which rings can share memory.
"""

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


@dataclass(frozen=True)
class Ring:
    """The last `rows` rows of a tensor (H, W, C), from `offset` on: row y at y % rows."""

    shape: G.Shape
    rows: int
    offset: int

    @property
    def row_bytes(self) -> int:
        return self.shape[1] * self.shape[2]

    @property
    def size_bytes(self) -> int:
        return self.rows * self.row_bytes


@dataclass(frozen=True, eq=False)
class Schedule:
    """The stages, the order of their steps, and the rings; the image and the logits have none."""

    stages: tuple[Stage, ...]
    order: tuple[int, ...]
    rings: tuple[Ring, ...]
    size_bytes: int


def plan_memory(graph: G.Graph) -> Schedule:
    """The schedule that needs the least memory, of those with at most two waits.

    A wait is a stage that starts only when all stages before it are complete, so that their rings
    are free and its input is complete in memory.
    """
    stages, shapes = make_stages(graph)
    best = _schedule(stages, shapes, ())
    waits = [w for w in range(1, len(stages)) if _whole(w, stages, shapes) < best.size_bytes]
    for chosen in [*itertools.combinations(waits, 1), *itertools.combinations(waits, 2)]:
        best = min(best, _schedule(stages, shapes, chosen), key=lambda plan: plan.size_bytes)
    return best


def _whole(wait: int, stages: list[Stage], shapes: list[G.Shape]) -> int:
    """The bytes of the tensors that are complete in memory when a stage starts after a wait."""
    made = {stage.output for stage in stages[:wait]}
    read = {tensor for stage in stages[wait:] for tensor in stage.inputs}
    return sum(shapes[t][0] * shapes[t][1] * shapes[t][2] for t in made & read)


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


def _schedule(stages: list[Stage], shapes: list[G.Shape], waits: tuple[int, ...]) -> Schedule:
    """The schedule of the deepest stage first; stages in `waits` wait for all before them."""
    progress = _Progress(stages, shapes)
    order = []
    while (stage := progress.deepest(waits)) is not None:
        progress.step(stage)
        order.append(stage)
    sizes = [rows * shape[1] * shape[2] for rows, shape in zip(progress.rows, shapes, strict=True)]
    kept = range(1, len(shapes) - 1)  # the image and the logits are the caller's
    offsets = _place({t: (sizes[t], progress.in_use[t]) for t in kept})
    rings = tuple(Ring(shapes[t], progress.rows[t], offsets.get(t, 0)) for t in range(len(shapes)))
    size_bytes = max((offsets[t] + sizes[t] for t in kept), default=0)
    return Schedule(tuple(stages), tuple(order), rings, size_bytes)


class _Progress:
    """A computation in progress: how far each stage is, and how many rows each ring needs."""

    def __init__(self, stages: list[Stage], shapes: list[G.Shape]) -> None:
        tensors = range(len(shapes))
        self.stages, self.shapes = stages, shapes
        self.writers = [[s for s, stage in enumerate(stages) if stage.output == t] for t in tensors]
        self.readers = [[s for s, stage in enumerate(stages) if t in stage.inputs] for t in tensors]
        self.total = [shapes[stage.output][0] * stage.steps for stage in stages]
        self.done = [0] * len(stages)  # steps
        self.clock = 0
        self.rows = [0] * len(shapes)  # that a ring must hold
        self.in_use = [0] * len(shapes)  # bit i: the ring holds something during step i

    def deepest(self, waits: tuple[int, ...]) -> int | None:
        """The last of the stages that can make a step; None at the end."""
        unfinished = [s for s, total in enumerate(self.total) if self.done[s] < total]
        if not unfinished:
            return None
        limit = min((s for s in waits if s > unfinished[0]), default=len(self.stages))
        return max(s for s in unfinished if s < limit and self._is_ready(s))

    def step(self, number: int) -> None:
        stage = self.stages[number]
        row = self.done[number] // stage.steps
        rows = row + 1 - min(self._oldest(stage.output), row)
        self.rows[stage.output] = max(self.rows[stage.output], rows)
        self.done[number] += 1
        for tensor in range(1, len(self.shapes)):
            begun = max(-(-self.done[s] // self.stages[s].steps) for s in self.writers[tensor])
            waiting = self._oldest(tensor) < begun
            if waiting or tensor in (*stage.inputs, stage.output):
                self.in_use[tensor] |= 1 << self.clock
        self.clock += 1

    def _is_ready(self, number: int) -> bool:
        stage = self.stages[number]
        _, last = stage.window(*divmod(self.done[number], stage.steps))
        for tensor in stage.inputs:
            before = [s for s in self.writers[tensor] if s < number]
            made = [self.done[s] // self.stages[s].steps for s in before]
            height = self.shapes[tensor][0]
            if min(last, height - 1) >= min(made, default=height):
                return False
        return True

    def _oldest(self, tensor: int) -> int:
        """The first row of a tensor that is yet to be read, or written by one of its parts."""
        rows = [self.shapes[tensor][0]]
        for s in self.readers[tensor]:
            if self.done[s] < self.total[s]:
                stage = self.stages[s]
                row, step = divmod(self.done[s], stage.steps)
                # Windows may overlap: the next row's first step can reach further back.
                rows += [stage.window(row, step)[0], stage.window(row + 1, 0)[0]]
                if isinstance(stage.node, G.Multiply) and self.shapes[tensor][0] == 1:
                    rows.append(0)  # every row is multiplied by it
        for s in self.writers[tensor]:
            if len(self.writers[tensor]) > 1 and self.done[s] < self.total[s]:
                rows.append(self.done[s] // self.stages[s].steps)
        return max(min(rows), 0)


def _place(uses: dict[int, tuple[int, int]]) -> dict[int, int]:
    """An offset for each (size, use as a bit per step), so that nothing in use at once overlaps.

    The largest first, each at the lowest place that is free (Pisarchyk & Lee 2020, greedy by
    size).
    """
    placed: dict[int, int] = {}
    for key in sorted(uses, key=lambda key: -uses[key][0]):
        size, use = uses[key]
        taken = sorted(
            (placed[other], placed[other] + uses[other][0])
            for other in placed
            if uses[other][1] & use
        )
        offset = 0
        for start, end in taken:
            if offset + size <= start:
                break
            offset = max(offset, end)
        placed[key] = offset
    return placed

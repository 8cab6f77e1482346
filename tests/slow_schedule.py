"""Schedules by the plain method: every choice of waits, simulated step by step from the start."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from smidgen.export.schedule import Ring, place
from smidgen.export.stages import Stage, make_stages
from smidgen.quantize import graph as G


def plan_slowly(graph: G.Graph, waits: int = 2) -> tuple[int, tuple[int, ...], tuple[Ring, ...]]:
    """The bytes, the order and the rings of the best of schedules with at most so many waits."""
    stages, shapes = make_stages(graph)
    numbers = range(1, len(stages))
    plans = [
        _schedule(stages, shapes, chosen)
        for count in range(waits + 1)
        for chosen in itertools.combinations(numbers, count)
    ]
    return min(plans, key=lambda plan: plan[0])


def _schedule(
    stages: list[Stage], shapes: list[G.Shape], waits: tuple[int, ...]
) -> tuple[int, tuple[int, ...], tuple[Ring, ...]]:
    progress = Progress(stages, shapes)
    order = []
    while (stage := progress.deepest(waits)) is not None:
        progress.step(stage)
        order.append(stage)
    sizes = [rows * shape[1] * shape[2] for rows, shape in zip(progress.rows, shapes, strict=True)]
    kept = range(1, len(shapes) - 1)
    offsets = place({t: (sizes[t], progress.in_use[t]) for t in kept})
    rings = tuple(Ring(shapes[t], progress.rows[t], offsets.get(t, 0)) for t in range(len(shapes)))
    return max((offsets[t] + sizes[t] for t in kept), default=0), tuple(order), rings


class Progress:
    """A computation in progress: how far each stage is, and how many rows each ring needs."""

    def __init__(self, stages: Sequence[Stage], shapes: list[G.Shape]) -> None:
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

"""The order in which the rows of all layers are computed, and where in memory they lie.

Few tensors are ever complete in memory. A 3 × 3 convolution reads three rows of its input, so
three rows are kept, in a ring buffer. `plan_memory` simulates the computation row by row; each step
is one of the deepest layer whose input is ready. The simulation shows how many rows each ring must
hold and when it is in use, and therefore which rings can share memory.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from smidgen.export.progress import Flow, Part
from smidgen.export.stages import Stage, make_stages
from smidgen.quantize import graph as G


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


def plan_memory(graph: G.Graph, enough_bytes: int = 0) -> Schedule:
    """The schedule that needs the least memory, of those with at most two waits.

    A wait is a stage that starts only when all stages before it are complete, so that their rings
    are free and its input is complete in memory. The first that needs no more than `enough_bytes`
    is taken, of which that without waits is tried first.
    """
    stages, shapes = make_stages(graph)
    flow, end = Flow(stages, shapes), len(stages)
    part = functools.cache(flow.simulate)
    best = _join(stages, shapes, [part(0, end)])

    def is_hopeless(*bounds: tuple[int, int]) -> bool:
        return any(part(*each).peak_bytes >= best.size_bytes for each in bounds)

    waits = [w for w in range(1, end) if _whole(w, stages, shapes) < best.size_bytes]
    for wait in waits:
        if best.size_bytes <= enough_bytes:
            return best
        if not is_hopeless((0, wait), (wait, end)):
            plan = _join(stages, shapes, [part(0, wait), part(wait, end)])
            best = min(best, plan, key=lambda plan: plan.size_bytes)
    for one, other in itertools.combinations(waits, 2):
        if best.size_bytes <= enough_bytes:
            return best
        if not is_hopeless((0, one), (other, end), (one, other)):
            plan = _join(stages, shapes, [part(0, one), part(one, other), part(other, end)])
            best = min(best, plan, key=lambda plan: plan.size_bytes)
    return best


def _whole(wait: int, stages: list[Stage], shapes: list[G.Shape]) -> int:
    """The bytes of the tensors that are complete in memory when a stage starts after a wait."""
    made = {stage.output for stage in stages[:wait]}
    read = {tensor for stage in stages[wait:] for tensor in stage.inputs}
    return sum(shapes[t][0] * shapes[t][1] * shapes[t][2] for t in made & read)


def _join(stages: list[Stage], shapes: list[G.Shape], parts: Sequence[Part]) -> Schedule:
    """The schedule of one part after the other."""
    rows = [max(column) for column in zip(*(part.rows for part in parts), strict=True)]
    in_use, begin = [0] * len(shapes), 0  # bit i: the ring holds something during step i
    for part in parts:
        for tensor, first, last in part.uses:
            in_use[tensor] |= ((1 << (last - first + 1)) - 1) << (begin + first)
        begin += len(part.order)
    sizes = [count * shape[1] * shape[2] for count, shape in zip(rows, shapes, strict=True)]
    kept = range(1, len(shapes) - 1)  # the image and the logits are the caller's
    offsets = place({t: (sizes[t], in_use[t]) for t in kept})
    rings = tuple(Ring(shapes[t], rows[t], offsets.get(t, 0)) for t in range(len(shapes)))
    size_bytes = max((offsets[t] + sizes[t] for t in kept), default=0)
    order = tuple(itertools.chain.from_iterable(part.order for part in parts))
    return Schedule(tuple(stages), order, rings, size_bytes)


def place(uses: dict[int, tuple[int, int]]) -> dict[int, int]:
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

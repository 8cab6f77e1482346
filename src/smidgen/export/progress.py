"""The computation of a network's rows, simulated: how many rows each ring must hold, and when.

Stages that wait cut the computation into parts, of which each is complete before the next begins.
A part is simulated alone, so that the search for the best waits simulates none of them twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from smidgen.export.stages import Stage
from smidgen.quantize import graph as G


@dataclass(frozen=True)
class Part:
    """The steps of some stages, one after the other, while the stages before them are complete.

    `rows` is what each tensor's ring must hold for them. A tensor is in use from the first to the
    last step of each of its `uses` (tensor, first, last).
    """

    order: tuple[int, ...]
    rows: tuple[int, ...]
    uses: tuple[tuple[int, int, int], ...]
    peak_bytes: int  # the least that all tensors in use at once take


class Flow:
    """What follows from the stages alone: what each step needs, and what each still reads."""

    def __init__(self, stages: Sequence[Stage], shapes: Sequence[G.Shape]) -> None:
        tensors = range(len(shapes))
        self.shapes = shapes
        self.heights = [shape[0] for shape in shapes]
        self.row_bytes = [shape[1] * shape[2] for shape in shapes]
        self.row_bytes[-1] = 0  # the logits are the caller's
        self.steps = [stage.steps for stage in stages]
        self.output = [stage.output for stage in stages]
        self.total = [shapes[stage.output][0] * stage.steps for stage in stages]
        self.writers = [[s for s, stage in enumerate(stages) if stage.output == t] for t in tensors]
        self.is_in_parts = [len(writers) > 1 for writers in self.writers]
        reading = [[s for s, stage in enumerate(stages) if t in stage.inputs] for t in tensors]
        # By tensor: its readers, each with the first row that it still reads after so many steps.
        self.readers = [[(s, self._first_rows(stages[s], t)) for s in reading[t]] for t in tensors]
        self.deeper = [
            [r for r in reversed(reading[stage.output]) if r > s] for s, stage in enumerate(stages)
        ]
        self.touched = [sorted({*stage.inputs, stage.output} - {0}) for stage in stages]
        # By stage: the writers that it waits for, each with the steps that it must have made.
        self.needs = [
            [(w, self._steps_needed(stage, t, w)) for t in stage.inputs for w in self.writers[t]
             if w < s]
            for s, stage in enumerate(stages)
        ]  # fmt: skip

    def _first_rows(self, stage: Stage, tensor: int) -> list[int]:
        total = self.total_of(stage)
        if isinstance(stage.node, G.Multiply) and self.heights[tensor] == 1:
            return [0] * total + [1]  # every row is multiplied by it
        rows = [stage.window(*divmod(done, stage.steps))[0] for done in range(total)]
        # Windows may overlap: the next row's first step can reach further back.
        after = [stage.window(done // stage.steps + 1, 0)[0] for done in range(total)]
        height = self.heights[tensor]
        return [*(max(min(each), 0) for each in zip(rows, after, strict=True)), height]

    def _steps_needed(self, stage: Stage, tensor: int, writer: int) -> list[int]:
        last = self.heights[tensor] - 1
        windows = (stage.window(*divmod(done, stage.steps)) for done in range(self.total_of(stage)))
        return [(min(window[1], last) + 1) * self.steps[writer] for window in windows]

    def total_of(self, stage: Stage) -> int:
        return self.heights[stage.output] * stage.steps

    def simulate(self, begin: int, end: int) -> Part:
        """The steps of the stages from `begin` to before `end`, the deepest that is ready first."""
        done = self.total[:begin] + [0] * (len(self.total) - begin)
        oldest = [self._oldest(t, done) for t in range(len(self.shapes))]
        held = [t > 0 and oldest[t] < self._begun(t, done) for t in range(len(self.shapes))]
        since = [0 if each else -1 for each in held]
        rows = [0] * len(self.shapes)
        order, uses = list[int](), list[tuple[int, int, int]]()
        stage = self._last_ready(end, begin, done)
        while stage >= begin:
            output, clock = self.output[stage], len(order)
            row = done[stage] // self.steps[stage]
            rows[output] = max(rows[output], row + 1 - min(oldest[output], row))
            done[stage] += 1
            order.append(stage)
            for tensor in self.touched[stage]:
                oldest[tensor] = self._oldest(tensor, done)
                if since[tensor] < 0:
                    since[tensor] = clock
                if oldest[tensor] >= self._begun(tensor, done):  # no row of it is to be read again
                    uses.append((tensor, since[tensor], clock))
                    since[tensor] = -1
            for reader in self.deeper[stage]:
                if reader < end and self._is_ready(reader, done):
                    stage = reader
                    break
            else:
                stage = self._last_ready(stage + 1, begin, done)
        uses += [(t, first, len(order) - 1) for t, first in enumerate(since) if first >= 0]
        whole = [self.heights[t] if held[t] else rows[t] for t in range(len(rows))]
        return Part(tuple(order), tuple(rows), tuple(uses), self._peak(whole, uses, len(order)))

    def _last_ready(self, end: int, begin: int, done: list[int]) -> int:
        """The last stage before `end` that can make a step; less than `begin` if none can."""
        stage = end - 1
        while stage >= begin and not self._is_ready(stage, done):
            stage -= 1
        return stage

    def _is_ready(self, stage: int, done: list[int]) -> bool:
        step = done[stage]
        if step == self.total[stage]:
            return False
        for writer, steps in self.needs[stage]:  # noqa: SIM110, all() takes twice the time
            if done[writer] < steps[step]:
                return False
        return True

    def _oldest(self, tensor: int, done: list[int]) -> int:
        """The first row of a tensor that is yet to be read, or written by one of its parts."""
        row = self.heights[tensor]
        for reader, rows in self.readers[tensor]:
            if rows[done[reader]] < row:
                row = rows[done[reader]]
        if self.is_in_parts[tensor]:
            for s in self.writers[tensor]:
                row = min(row, done[s] // self.steps[s])  # of a complete one: the height
        return row

    def _begun(self, tensor: int, done: list[int]) -> int:
        """How many rows of a tensor have been begun."""
        begun = 0
        for writer in self.writers[tensor]:
            rows = -(-done[writer] // self.steps[writer])
            if rows > begun:
                begun = rows
        return begun

    def _peak(self, rows: list[int], uses: list[tuple[int, int, int]], clocks: int) -> int:
        """The most bytes that are in use at once."""
        change = [0] * (clocks + 1)
        for tensor, first, last in uses:
            size = rows[tensor] * self.row_bytes[tensor]
            change[first] += size
            change[last + 1] -= size
        return max(itertools.accumulate(change))

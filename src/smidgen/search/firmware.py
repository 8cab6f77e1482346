"""Flash and RAM of a network as its C export will have them, without building it.

All constants, tables and static memory are counted exactly, from the graph and the schedule that
the export will have. What the compiler makes of the code, and the deepest stack, are linear in
what the code contains; the coefficients are fitted to real builds by `benchmarks/firmware.py`,
which docs/search.md is written by.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from smidgen.export.c import write_code
from smidgen.export.schedule import Schedule, plan_memory
from smidgen.export.tables import INTEGERS, count_runs, size_of_tables
from smidgen.quantize import graph as G

Features = Mapping[str, int]


@dataclass(frozen=True)
class Contents:
    """What a firmware holds: bytes that are known, and features of what must be estimated."""

    constant_bytes: int  # of flash: weights, multipliers, biases and tables
    static_bytes: int  # of RAM
    features: Features


@dataclass(frozen=True)
class Footprint:
    """Flash and RAM of the firmware on Cortex-M0+ at -Os, in bytes, as `export.footprint` says."""

    flash_bytes: int
    ram_bytes: int


@dataclass(frozen=True)
class Bounds:
    """Between what the estimate lies, as one plain schedule tells; its RAM is `most.ram_bytes`."""

    least_flash_bytes: int
    most: Footprint
    size_bytes: int  # of the plain schedule's rings
    is_certain: bool  # no other schedule takes other sums


def estimate(graph: G.Graph, schedule: Schedule | None = None) -> Footprint:
    """The footprint of a graph's C export, of which the numbers may be made up.

    The schedule is the best one, if none is given.
    """
    contents, fitted = examine(graph, schedule or plan_memory(graph)), coefficients()
    code, stack = (_sum(contents.features, fitted[name]) for name in ("code", "stack"))
    return Footprint(contents.constant_bytes + code, contents.static_bytes + stack)


def bound(graph: G.Graph) -> Bounds:
    """Bounds of the estimate, after one simulation where the best schedule takes dozens.

    Schedules differ in RAM, of which the best one has least, and in two tables: that of steps has a
    line for each step at most, and those of rings have columns as wide as their numbers.
    """
    plain = plan_memory(graph, sys.maxsize)
    known, runs, rings = estimate(graph, plain), count_runs(plain), 4 * len(plain.rings)
    line = 2 if len(plain.stages) <= 256 else 4
    most = known.flash_bytes + line * (len(plain.order) - runs) + rings
    averages = sum(isinstance(node, G.AveragePool) for node in graph.nodes)
    return Bounds(
        known.flash_bytes - line * runs - rings,
        Footprint(most, known.ram_bytes),
        plain.size_bytes,
        averages <= 1,
    )


def plan_within(graph: G.Graph, bounds: Bounds, ram_bytes: int) -> tuple[bool, Schedule]:
    """Whether a schedule keeps that limit of RAM, and the schedule; if none does, the best one."""
    spare = (ram_bytes - bounds.most.ram_bytes) // 4 * 4  # the rings' bytes are rounded up to 4
    enough = -(-bounds.size_bytes // 4) * 4 + spare
    schedule = plan_memory(graph, enough)
    return schedule.size_bytes <= enough, schedule


def examine(graph: G.Graph, schedule: Schedule) -> Contents:
    """What the firmware of a graph holds, with its rows computed by the schedule."""
    arrays = _lengths(graph, schedule)
    code = write_code(graph, schedule, arrays)
    tables = size_of_tables(schedule, code.rows, code.kept)
    sizes = {"weights": 1, "multipliers": 1, "biases": 2, "tables": 1}
    numbers = {name: sum(map(len, parts.values())) for name, parts in arrays.items()}
    constants = sum(sizes[name] * count for name, count in numbers.items())
    operations = {str(row["operation"]) for row in code.rows}
    static = _static_bytes(graph, schedule, code.values, "GLOBAL_AVERAGE" in operations)
    features = dict.fromkeys((*operations, *code.kept), 1)
    kernel = max(int(row["kernel_height"]) for row in code.rows)
    return Contents(constants + tables, static, features | {"always": 1, "kernel": kernel})


def _lengths(graph: G.Graph, schedule: Schedule) -> dict[str, dict[int, range]]:
    """The C arrays' parts, as `export.c` has them, of which only the lengths are known."""
    arrays: dict[str, dict[int, range]] = {
        "weights": {i: range(w.size_bytes) for i, w in enumerate(graph.weights)},
        "multipliers": {},
        "biases": {},
        "tables": {},
    }
    first: dict[int, int] = {}  # the stage of each node; the parts of a concatenation share one
    for number, stage in enumerate(schedule.stages):
        first.setdefault(id(stage.node), number)
    for stage in schedule.stages:
        node, number = stage.node, first[id(stage.node)]
        if isinstance(node, G.MaxPool | G.Table):
            arrays["biases"][number] = range(1)
            if isinstance(node, G.Table):
                arrays["tables"][number] = range(len(node.values))
        else:
            arrays["biases"][number] = range(node.rescale.bias.size)
            terms = len(node.factors) if isinstance(node, G.Add) else node.rescale.multiplier.size
            arrays["multipliers"][number] = range(terms)
    return arrays


def _static_bytes(
    graph: G.Graph, schedule: Schedule, values: Mapping[str, object], has_sums: bool
) -> int:
    """The rings, the progress of the layers, two pointers, the sums of averages, the logits."""
    sums = INTEGERS[str(values["sum_type"])][1].bit_length() // 8 * int(str(values["sums"]))
    sizes = (
        max(schedule.size_bytes, 1),
        2 * len(schedule.stages),
        sums if has_sums else 0,
        8,
        4 * len(graph.classes),
    )
    return sum(-(-size // 4) * 4 for size in sizes)


def _sum(features: Features, fitted: Mapping[str, float]) -> int:
    return round(sum(fitted.get(name, 0.0) * value for name, value in features.items()))


@functools.cache
def coefficients() -> dict[str, dict[str, float]]:
    """The bytes of code and of stack for each feature."""
    path = resources.files("smidgen") / "search" / "firmware.json"
    fitted: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
    return fitted

"""The integer graph as a pair of C99 files, `model.h` and `model.c`.

The code in `templates/` reads one table with a row for each layer. A column with the same value in
every row is not stored: the value is written into the code, where the compiler can use it. So a
network without strides needs no code for strides.

A template holds all the C code of one operation: its function, followed by sections, each under a
comment, which are inserted into end.c.
"""

from __future__ import annotations

import functools
import itertools
import re
import textwrap
from collections import ChainMap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import assert_never

import numpy as np

from smidgen.escape import c_comment, c_string
from smidgen.export.schedule import Schedule, place, plan_memory
from smidgen.export.stages import Stage
from smidgen.export.tables import Row, narrowest_type, write_tables
from smidgen.export.toolchain import TEMPLATES
from smidgen.quantize import graph as G

ABOUT = "$about"  # the place in the files' comments for what they are
SECTION = re.compile(r"\n?^/\* @(\w+): .*\*/\n", re.MULTILINE)
UNCHANGED = G.Rescale(np.ones(1, np.int32), np.zeros(1, np.int32), shift=0)
LANES, TAPS = 16, 4  # what conv_fast.c rounds up to, at most
LEVELS = {1: "one byte, its level of grey", 3: "three bytes: red, green, blue"}


@dataclass(frozen=True)
class Code:
    """The functions of `model.c` and the table that they read, of which `kept` are the columns."""

    values: Mapping[str, object]  # of the templates' placeholders
    rows: Sequence[Row]
    kept: Sequence[str]
    text: str


def write_c(graph: G.Graph) -> dict[str, str]:
    """The text of `model.h` and `model.c`, by file name; `with_about` fills in their comments."""
    schedule = plan_memory(graph)
    arrays = _arrays(graph, schedule)
    code = write_code(graph, schedule, arrays)
    constants = [_array(name, parts, graph, schedule) for name, parts in arrays.items() if parts]
    tables = write_tables(schedule, code.rows, code.kept)
    parts = [_fill("begin.c", code.values), *constants, tables, code.text]
    return {"model.h": _fill("model.h", code.values), "model.c": "\n".join(parts)}


def write_code(
    graph: G.Graph, schedule: Schedule, arrays: Mapping[str, Mapping[int, Sequence[int]]]
) -> Code:
    """The functions for a graph whose constants are in these arrays."""
    starts = {name: _starts(parts) for name, parts in arrays.items()}
    sums = _places_of_sums(schedule)
    rows = [
        _row(stage, graph, schedule, starts) | ({"sums": sums[i]} if i in sums else {})
        for i, stage in enumerate(schedule.stages)
    ]
    operations = list(dict.fromkeys(str(row["operation"]).lower() for row in rows))
    values = {
        **_sizes(graph, schedule),
        **_pieces(operations, len(rows)),
        "title": f"{c_comment(graph.name)}, written by smidgen",
        "about": ABOUT,
        "kernel_height": max(int(row["kernel_height"]) for row in rows),
    }
    names = ["core", *operations, "end"]
    if "conv" in operations:
        names.insert(names.index("conv") + 1, "conv_fast")
    code = "\n".join(_fill(f"{name}.c", values) for name in names)
    folded, kept = _fold(rows, set(re.findall(r"layer->(\w+)", code)))
    text = re.sub(r"layer->(\w+)", lambda found: folded.get(found[1], found[0]), code)
    return Code(values, rows, kept, text)


def with_about(files: Mapping[str, str], about: Sequence[str]) -> dict[str, str]:
    """The files of `write_c` with these lines in their comments."""
    lines = "\n".join(f" * {c_comment(line)}" for line in about)
    return {name: text.replace(f"\n{ABOUT}\n", f"\n{lines}\n", 1) for name, text in files.items()}


def _fill(name: str, values: Mapping[str, object]) -> str:
    """A template's own code, its placeholders replaced."""
    return Template(_sections(name)["code"]).substitute(values)


@functools.cache
def _sections(name: str) -> dict[str, str]:
    """A template by its sections, each headed by a comment; `code` is what precedes them."""
    code, *rest = SECTION.split((TEMPLATES / name).read_text("utf-8"))
    return {"code": code} | dict(zip(rest[::2], rest[1::2], strict=True))


def _pieces(operations: Sequence[str], layers: int) -> dict[str, str]:
    """The code to insert into end.c, from the sections of the operations and its own."""
    end = _sections("end.c")
    own = [_sections(f"{name}.c") for name in operations]
    branches = [
        Template(end["branch"]).substitute(operation=name.upper(), channel=sections["channel"])
        for name, sections in zip(operations, own, strict=True)
    ]
    first = ChainMap(*own, end)  # sections of operations replace those of end.c
    return {
        "row": "".join(sections.get("row", "") for sections in own),
        "pixel": "".join(sections.get("pixel", "") for sections in own),
        "branches": " else ".join(branch.strip() for branch in branches),
        "channels": first["channels"].strip(),
        "stride": first["stride"].strip(),
        "cases": "".join(Template(end["case"]).substitute(number=i) for i in range(layers)),
    }


def _sizes(graph: G.Graph, schedule: Schedule) -> dict[str, object]:
    """The values in the templates that concern the whole network."""
    stages, sums = schedule.stages, _places_of_sums(schedule)
    averages = [node for node in graph.nodes if isinstance(node, G.AveragePool)]
    areas = [node.kernel[0] * node.kernel[1] for node in averages]
    fast = [_fast_sizes(stage, graph, schedule) for stage in schedule.stages]
    slack = TAPS * max(s["lanes"] for s in fast)  # vectors and pointers reach past the end
    reordered = itertools.accumulate([0, *(s["reordered"] for s in fast[:-1])])
    lanes = itertools.accumulate([0, *(s["lanes"] for s in fast[:-1])])
    return {
        "height": graph.input[0],
        "width": graph.input[1],
        "input_channels": graph.input[2],
        "levels": LEVELS[graph.input[2]],
        "pixels": graph.input[0] * graph.input[1] * graph.input[2],
        "classes": len(graph.classes),
        "names": "\n".join(f"        {c_string(name)}," for name in graph.classes),
        "logit_scale": f"{graph.logit_scale:.9g}",
        "layers": len(schedule.stages),
        "memory": max(schedule.size_bytes, 1),
        "sums": max((at + stages[i].node.shape[2] for i, at in sums.items()), default=1),
        "sum_type": narrowest_type([255 * area for area in areas]),
        **{name: max(s[name] for s in fast) for name in ("padding_row", "products")},
        "lines": max(s["lines"] for s in fast) + slack,
        "reordered": sum(s["reordered"] for s in fast) + slack,
        "lanes": sum(s["lanes"] for s in fast),
        "reordered_at": "\n".join(
            f"    {{{weight}, {lane}}}," for weight, lane in zip(reordered, lanes, strict=True)
        ),
    }


def _fast_sizes(stage: Stage, graph: G.Graph, schedule: Schedule) -> dict[str, int]:
    """The sizes of the arrays in conv_fast.c that a stage needs."""
    node = stage.node
    if not isinstance(node, G.Conv):
        return dict.fromkeys(("padding_row", "lines", "products", "reordered", "lanes"), 0)
    _, width, inputs = schedule.rings[stage.inputs[0]].shape
    columns = schedule.rings[stage.output].shape[1] * stage.pool[1]
    outputs, rows, kernel_width, depth = graph.weights[node.weights].values.shape
    taps, lanes = _round_up(kernel_width * inputs, TAPS), _round_up(outputs, LANES)
    if depth == 1 and outputs == node.groups > 1:  # rows are interleaved
        rows, taps = _round_up(rows, TAPS), kernel_width
    return {
        "padding_row": width * inputs,
        "lines": rows * (width + 2 * stage.padding[1]) * inputs,
        "products": columns * lanes,
        "reordered": rows * taps * lanes,
        "lanes": lanes,
    }


def _round_up(number: int, unit: int) -> int:
    return -(-number // unit) * unit


def _row(
    stage: Stage, graph: G.Graph, schedule: Schedule, starts: Mapping[str, Mapping[int, int]]
) -> Row:
    """The table's row of a stage."""
    node, number = stage.node, _number(stage, schedule)
    rescale = _rescale(node)
    biases, bias_shift = rescale.short_bias()
    bias_stride = int(len(biases) > 1)
    bias = starts["biases"][number] + bias_stride * stage.channel
    row: Row = {"operation": node.op.upper(), "input": stage.inputs[0], "output": stage.output}
    row |= {"channel": stage.channel, "channels": node.shape[2], "shift": rescale.shift}
    row |= {"bias_shift": bias_shift, "bias": bias, "bias_stride": bias_stride}
    # Where two maps are added, the code looks up a second input for every stage: one that exists.
    row["other"] = stage.output
    row |= _window(stage, schedule)
    if number in starts["multipliers"]:
        row["multiplier"] = starts["multipliers"][number] + stage.channel
    if number in starts["tables"]:
        row["table"] = starts["tables"][number]
    return row | _own_columns(stage, graph, schedule, starts["weights"])


def _own_columns(
    stage: Stage, graph: G.Graph, schedule: Schedule, weight_starts: Mapping[int, int]
) -> Row:
    """The columns of a row that depend on its operation."""
    match node := stage.node:
        case G.Add():
            return {"other": stage.inputs[1]}
        case G.Multiply():
            is_map = schedule.rings[stage.inputs[1]].shape == node.shape
            row: Row = {"other": stage.inputs[1], "other_moves": int(is_map)}
            return row | {"zero": node.zeros[0], "other_zero": node.zeros[1]}
        case G.AveragePool():
            return {"operation": "GLOBAL_AVERAGE"} if _is_global(stage, schedule) else {}
        case G.Concat():
            return {"channels": schedule.rings[stage.inputs[0]].shape[2]}
        case G.Conv():
            weights = graph.weights[node.weights]
            row = {"weight": weight_starts[node.weights], "bits": weights.bits}
            row |= {"depth": weights.values.shape[3]}
            row |= {"per_group": len(weights.values) // node.groups}
            return row | {"outside": node.outside} if any(stage.padding) else row
        case G.Table() | G.MaxPool():
            return {}
        case _:
            assert_never(node)


def _window(stage: Stage, schedule: Schedule) -> Row:
    """The columns that say which part of its input a stage reads for a pixel of its output."""
    source = schedule.rings[stage.inputs[0]].shape
    height, width, _ = schedule.rings[stage.output].shape
    parts, step, kernel = stage.pool[1], stage.stride, stage.kernel
    across = (stage.steps * step[0], parts * step[1])
    if not isinstance(stage.node, G.Conv):
        across, step = stage.stride, (1, 1)
    if isinstance(stage.node, G.MaxPool):
        parts, kernel = kernel[1], (1, 1)
    if _is_global(stage, schedule):
        parts = source[1]
    row: Row = {"steps": stage.steps, "parts": parts, "part_stride": step[1]}
    row |= {"kernel_height": kernel[0], "kernel_width": kernel[1]}
    row |= {"padding_y": stage.padding[0], "padding_x": stage.padding[1]}
    strides = {  # and how often they are taken
        "row_stride": (across[0], height),
        "column_stride": (across[1], width),
        "step_stride": (step[0], stage.steps),
    }
    return row | {name: stride for name, (stride, count) in strides.items() if count > 1}


def _places_of_sums(schedule: Schedule) -> dict[int, int]:
    """Where the sums of each global average begin, by the number of its stage. Averages whose
    steps alternate have places of their own; others share theirs."""
    uses = {}
    for number, stage in enumerate(schedule.stages):
        if _is_global(stage, schedule):
            steps = [step for step, at in enumerate(schedule.order) if at == number]
            in_use = ((1 << (steps[-1] - steps[0] + 1)) - 1) << steps[0]
            uses[number] = (stage.node.shape[2], in_use)
    return place(uses)


def _is_global(stage: Stage, schedule: Schedule) -> bool:
    """Whether a stage is an average of its whole input."""
    node = stage.node
    whole = schedule.rings[stage.inputs[0]].shape[:2]
    return isinstance(node, G.AveragePool) and node.kernel == whole


def _rescale(node: G.Node) -> G.Rescale:
    return UNCHANGED if isinstance(node, G.MaxPool | G.Table) else node.rescale


def _fold(rows: Sequence[Row], read: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """The code that replaces each column that is not stored, and the names of the stored columns.

    `read` are the columns that the code reads. A column is not stored where it has the same number
    in all rows that have it, or in every row the number of another column. A single row stores all
    its columns, so that the struct has members.
    """
    folded = dict.fromkeys(read, "0")  # for columns that no row has, and therefore no layer reads
    kept: list[str] = []
    for name in dict.fromkeys(name for row in rows for name in row if name in read):
        having = [row for row in rows if name in row]
        given = {row[name] for row in having}
        twin = next((k for k in kept if all(row.get(k) == row[name] for row in having)), None)
        number = given.pop() if len(given) == 1 and len(rows) > 1 else None
        if isinstance(number, int):
            folded[name] = str(number)
        elif twin:
            folded[name] = f"layer->{twin}"
        else:
            kept.append(name)
            del folded[name]
    return folded, kept


def _number(stage: Stage, schedule: Schedule) -> int:
    """The first stage of a node: the parts of a concatenation share their constants."""
    return [other.node for other in schedule.stages].index(stage.node)


def _arrays(graph: G.Graph, schedule: Schedule) -> dict[str, dict[int, Sequence[int]]]:
    """The parts of every C array: packed weights by their position in the graph, and multipliers,
    biases and tables by the number of the stage."""
    packed = [b"".join(G.pack(row, w.bits) for row in w.values) for w in graph.weights]
    arrays: dict[str, dict[int, Sequence[int]]] = {
        "weights": dict(enumerate(np.frombuffer(part, np.int8).tolist() for part in packed)),
        "multipliers": {},
        "biases": {},
        "tables": {},
    }
    for stage in schedule.stages:
        number, node = _number(stage, schedule), stage.node
        arrays["biases"][number] = _rescale(node).short_bias()[0].tolist()
        if isinstance(node, G.Table):
            arrays["tables"][number] = node.values
        elif isinstance(node, G.Add):
            arrays["multipliers"][number] = node.factors
        elif not isinstance(node, G.MaxPool):
            arrays["multipliers"][number] = node.rescale.multiplier.tolist()
    return arrays


def _starts(parts: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """Where in an array each of its parts begins."""
    ends = itertools.accumulate(len(part) for part in parts.values())
    return dict(zip(parts, (0, *ends), strict=False))


def _array(
    name: str, parts: Mapping[int, Sequence[int]], graph: G.Graph, schedule: Schedule
) -> str:
    """The definition of a C array, with a comment for each part."""
    indent = " " * 4
    lines = []
    for number, part in parts.items():
        lines.append(f"{indent}/* {c_comment(_owner(name, number, graph, schedule))} */")
        text = ", ".join(map(str, part)) + ","
        lines += textwrap.wrap(text, 98, initial_indent=indent, subsequent_indent=indent)
    numbers = [number for part in parts.values() for number in part]
    signed = f"{G.narrowest(np.array(numbers)).name}_t"
    kind = {"weights": "int8_t", "tables": "uint8_t"}.get(name, signed)
    body = "\n".join(lines)
    return f"static const {kind} {name}[{len(numbers)}] = {{\n{body}\n}};"


def _owner(name: str, number: int, graph: G.Graph, schedule: Schedule) -> str:
    """What a part of an array belongs to: the paths of modules."""
    if name != "weights":
        return schedule.stages[number].node.name
    weights = graph.weights[number]
    users = [n.name for n in graph.nodes if isinstance(n, G.Conv) and n.weights == number]
    shape = " x ".join(map(str, weights.values.shape))
    return f"{', '.join(dict.fromkeys(users))}: {shape}, {weights.bits} bits"

"""The integer graph as a pair of C99 files, `model.h` and `model.c`.

The code in `templates/` reads one table with a row per layer. A column that is the same in every
row is left out of the table, and its value stands in the code instead, so that the compiler can
work with it: a network without strides pays nothing for strides.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from string import Template

import numpy as np

from smidgen.export.schedule import Schedule, Stage, plan_memory
from smidgen.quantize import graph as G

Row = dict[str, int | str]  # a line of a table: numbers, and names of C, by column

SLACK, CHANNELS, COLUMNS = 32, 8, 7  # what begin.c and conv_fast.c round up to, at most
INTEGERS = {
    "uint8_t": (0, 2**8),
    "int8_t": (-(2**7), 2**7),
    "uint16_t": (0, 2**16),
    "int16_t": (-(2**15), 2**15),
    "int32_t": (-(2**31), 2**31),
}


def write_c(graph: G.Graph, about: Sequence[str]) -> dict[str, str]:
    """The text of `model.h` and `model.c`, by file name; `about` are lines for their comments."""
    schedule = plan_memory(graph)
    arrays = _arrays(graph, schedule)
    starts = {name: _starts(parts) for name, parts in arrays.items()}
    rows = [_row(stage, graph, schedule, starts) for stage in schedule.stages]
    folded, kept = _fold(rows)
    operations = list(dict.fromkeys(str(row["operation"]).lower() for row in rows))
    numbers = _sizes(graph, schedule) | {
        "title": f"{graph.name}, written by smidgen",
        "about": "\n".join(f" * {line}" for line in about),
        "calls": _calls(operations),
        "cases": "\n".join(
            f"            case {i}:\n                advance({i});\n                break;"
            for i in range(len(rows))
        ),
    }
    names = ["core", *(["conv_fast"] if "conv" in operations else []), *operations, "end"]
    code = "\n".join(_template(f"{name}.c") for name in names)
    # What no row has is not read: it may stand there as any number.
    unread = dict.fromkeys(re.findall(r"layer->(\w+)", code), "0") | {k: f"layer->{k}" for k in kept}
    code = re.sub(r"layer->(\w+)", lambda found: (unread | folded)[found[1]], code)
    constants = [_array(name, parts, graph, schedule) for name, parts in arrays.items() if parts]
    tables = _tables(schedule, rows, kept)
    parts = [_template("begin.c"), *constants, tables, code]
    return {
        "model.h": Template(_template("model.h")).substitute(numbers),
        "model.c": Template("\n".join(parts)).substitute(numbers),
    }


def _calls(operations: Sequence[str]) -> str:
    """The call of a layer's operation; with `if`, which takes less code than a `switch`."""
    branches = [
        f"if (layer->operation == {name.upper()}) {{\n        {name}(layer, at);\n    }}"
        for name in operations
    ]
    return "    " + " else ".join(branches)


def _template(name: str) -> str:
    return (resources.files("smidgen") / "export" / "templates" / name).read_text("utf-8")


def _sizes(graph: G.Graph, schedule: Schedule) -> dict[str, object]:
    """What the templates need to know of the network as a whole."""
    convs = [stage for stage in schedule.stages if isinstance(stage.node, G.Conv)]
    averages = [node for node in graph.nodes if isinstance(node, G.AveragePool)]
    areas = [node.kernel[0] * node.kernel[1] for node in averages]
    woven = [_woven_bytes(stage, graph) for stage in schedule.stages]
    rings = schedule.rings
    columns = [_round_up(rings[s.output].shape[1] * s.pool[1], COLUMNS) for s in convs]
    windows = [_round_up(_taps(s, graph), SLACK) for s in convs]
    channels = [_round_up(rings[s.output].shape[2], CHANNELS) for s in convs]
    lines = [(rings[s.inputs[0]].shape[1] + 2 * s.padding[1]) * rings[s.inputs[0]].shape[2]
             for s in convs]  # fmt: skip
    return {
        "height": graph.input[0],
        "width": graph.input[1],
        "pixels": graph.input[0] * graph.input[1] * graph.input[2],
        "classes": len(graph.classes),
        "logit_scale": f"{graph.logit_scale:.9g}",
        "layers": len(schedule.stages),
        "memory": max(schedule.size_bytes, 1),
        "kernel_height": max((stage.kernel[0] for stage in convs), default=1),
        "sums": max((node.shape[2] for node in averages), default=1),
        "sum_type": _narrowest([255 * area for area in areas]),
        "line": max(lines, default=1),
        "windows": max((c * w for c, w in zip(columns, windows, strict=True)), default=1),
        "products": max((c * o for c, o in zip(columns, channels, strict=True)), default=1),
        "woven": max(sum(woven), 1),
        "woven_at": ", ".join(map(str, itertools.accumulate([0, *woven[:-1]]))),
    }


def _taps(stage: Stage, graph: G.Graph) -> int:
    """The number of products in a sum of a convolution."""
    return graph.weights[stage.node.weights].values[0].size if isinstance(stage.node, G.Conv) else 0


def _woven_bytes(stage: Stage, graph: G.Graph) -> int:
    return _round_up(_taps(stage, graph), 4) * _round_up(stage.node.shape[2], CHANNELS)


def _round_up(number: int, unit: int) -> int:
    return -(-number // unit) * unit


def _row(
    stage: Stage, graph: G.Graph, schedule: Schedule, starts: Mapping[str, Mapping[int, int]]
) -> Row:
    """The table's row of a stage."""
    node = stage.node
    number = _number(stage, schedule)
    row: Row = {"operation": node.op.upper(), "steps": stage.steps}
    row |= {"input": stage.inputs[0], "output": stage.output}
    if isinstance(node, G.Table):
        return row | {"table": starts["tables"][number]}
    if isinstance(node, G.MaxPool):
        return row | _window(stage)
    biases, bias_shift = node.rescale.short_bias()
    row |= {"shift": node.rescale.shift, "bias_shift": bias_shift}
    row |= {"multiplier": starts["multipliers"][number], "bias": starts["biases"][number]}
    match node:
        case G.Add():
            row["other"] = stage.inputs[1]
        case G.Conv():
            row |= {"bias_stride": int(len(biases) > 1), "weight": starts["weights"][node.weights]}
            row |= _conv_row(stage, node, graph)
        case G.AveragePool() if node.kernel == schedule.rings[stage.inputs[0]].shape[:2]:
            row["operation"] = "GLOBAL_AVERAGE"
        case G.AveragePool():
            row |= _window(stage)
        case G.Concat():
            row |= {"bias_stride": int(len(biases) > 1), "channel": stage.channel}
    return row


def _window(stage: Stage) -> Row:
    return {
        "pool_height": stage.kernel[0],
        "pool_width": stage.kernel[1],
        "pool_stride_y": stage.stride[0],
        "pool_stride_x": stage.stride[1],
    }


def _conv_row(stage: Stage, node: G.Conv, graph: G.Graph) -> Row:
    weights = graph.weights[node.weights]
    row: Row = {
        "kernel_height": stage.kernel[0],
        "kernel_width": stage.kernel[1],
        "stride_y": stage.stride[0],
        "stride_x": stage.stride[1],
        "padding_y": stage.padding[0],
        "padding_x": stage.padding[1],
        "pool_x": stage.pool[1],
        "bits": weights.bits,
        "depth": weights.values.shape[3],
        "per_group": len(weights.values) // node.groups,
    }
    return row | {"outside": node.outside} if any(stage.padding) else row


def _fold(rows: Sequence[Row]) -> tuple[dict[str, str], list[str]]:
    """What to write for each column that says nothing of its own, and the columns to keep.

    A column is dropped where it has one number in all the rows that have it, or the number of
    another column in each. A single row keeps its columns, or functions would have nothing to read.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    folded: dict[str, str] = {}
    kept: list[str] = []
    for name in columns:
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
    return folded, kept


def _number(stage: Stage, schedule: Schedule) -> int:
    """The first stage of a node: the parts of a concatenation share their constants."""
    return [other.node for other in schedule.stages].index(stage.node)


def _arrays(graph: G.Graph, schedule: Schedule) -> dict[str, dict[int, Sequence[int]]]:
    """The parts of every C array: the packed weights by their place in the graph, and what
    rescales and looks up by the number of the stage."""
    packed = [b"".join(G.pack(row, w.bits) for row in w.values) for w in graph.weights]
    arrays: dict[str, dict[int, Sequence[int]]] = {
        "weights": dict(enumerate(np.frombuffer(part, np.int8).tolist() for part in packed)),
        "multipliers": {},
        "biases": {},
        "tables": {},
    }
    for stage in schedule.stages:
        number = _number(stage, schedule)
        match stage.node:
            case G.MaxPool():
                continue
            case G.Table(values=values):
                arrays["tables"][number] = values
                continue
            case G.Add(factors=factors):
                arrays["multipliers"][number] = factors
            case node:
                arrays["multipliers"][number] = node.rescale.multiplier.tolist()
        arrays["biases"][number] = stage.node.rescale.short_bias()[0].tolist()
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
        lines.append(f"{indent}/* {_comment(name, number, graph, schedule)} */")
        text = ", ".join(map(str, part)) + ","
        lines += textwrap.wrap(text, 98, initial_indent=indent, subsequent_indent=indent)
    numbers = [number for part in parts.values() for number in part]
    signed = f"{G.narrowest(np.array(numbers)).name}_t"
    kind = {"weights": "int8_t", "tables": "uint8_t"}.get(name, signed)
    slack = " + SLACK" if name == "weights" else ""
    body = "\n".join(lines)
    return f"static const {kind} {name}[{len(numbers)}{slack}] = {{\n{body}\n}};"


def _comment(name: str, number: int, graph: G.Graph, schedule: Schedule) -> str:
    """What a part of an array belongs to: the paths of modules."""
    if name != "weights":
        return schedule.stages[number].node.name
    weights = graph.weights[number]
    users = [n.name for n in graph.nodes if isinstance(n, G.Conv) and n.weights == number]
    shape = " x ".join(map(str, weights.values.shape))
    return f"{', '.join(dict.fromkeys(users))}: {shape}, {weights.bits} bits"


def _tables(schedule: Schedule, rows: Sequence[Row], kept: Sequence[str]) -> str:
    """The definitions of the tensors, the layers, and the order of their steps."""
    rings: list[Row] = []
    for ring in schedule.rings:
        height, width, channels = ring.shape
        rings.append({"offset": ring.offset, "rows": ring.rows, "height": height, "width": width,
                      "channels": channels})  # fmt: skip
    operations = dict.fromkeys(str(row["operation"]) for row in rows)
    return "\n".join(
        [
            f"enum {{ LOGITS = {len(rings) - 1} }};",
            f"enum {{ {', '.join(operations)} }};",
            _table("tensor", "tensors", list(rings[0]), rings),
            _table("layer", "layers", kept, rows),
            "/* Each line is a step of every layer from the first to the last. */",
            _table("run", "schedule", ["first", "last"], _runs(schedule.order)),
        ]
    )


def _runs(order: Sequence[int]) -> list[Row]:
    """The order of steps as runs of layers, each of which follows the one before."""
    runs: list[Row] = []
    for before, number in itertools.pairwise((-1, *order)):
        if runs and number == before + 1:
            runs[-1]["last"] = number
        else:
            runs.append({"first": number, "last": number})
    return runs


def _table(struct: str, name: str, columns: Sequence[str], rows: Sequence[Row]) -> str:
    """A struct with these columns, the widest first, and the array of all rows."""
    typed: dict[str, str] = {}
    for column in columns:
        numbers = [value for row in rows if isinstance(value := row.get(column, 0), int)]
        typed[column] = _narrowest(numbers)
    order = sorted(columns, key=lambda column: INTEGERS[typed[column]][1], reverse=True)
    members = [f"    {typed[column]} {column};" for column in order]
    lines = [f"    {{{', '.join(str(row.get(c, 0)) for c in order)}}}," for row in rows]
    return "\n".join(
        [
            f"struct {struct} {{",
            *members,
            "};",
            f"static const struct {struct} {name}[{len(rows)}] = {{",
            *lines,
            "};",
        ]
    )


def _narrowest(numbers: Sequence[int]) -> str:
    """The narrowest C type for all the numbers, unsigned where none is negative."""
    fits = (kind for kind, (low, end) in INTEGERS.items() if all(low <= n < end for n in numbers))
    return next(fits)

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

Row = dict[str, int | str]  # one layer: numbers, and names of C arrays, by column

CALLS = {
    "conv": "conv(layer, row, step)",
    "max_pool": "max_pool(layer, row, step)",
    "average_pool": "average_pool(layer, row)",
    "global_average": "global_average(layer, step)",
    "add": "add(layer, row)",
    "concat": "concat(layer, row)",
    "table": "table(layer, row)",
}
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
    rows = [_row(stage, graph, schedule) for stage in schedule.stages]
    folded, kept = _fold(rows)
    operations = list(dict.fromkeys(str(row["operation"]).lower() for row in rows))
    numbers = _sizes(graph, schedule) | {
        "title": f"{graph.name}, written by smidgen",
        "about": "\n".join(f" * {line}" for line in about),
        "calls": "\n".join(
            f"    case {name.upper()}:\n        {CALLS[name]};\n        break;"
            for name in operations
        ),
        "cases": "\n".join(
            f"        case {i}:\n            advance({i});\n            break;"
            for i in range(len(rows))
        ),
    }
    names = ["core", *(["conv_fast"] if "conv" in operations else []), *operations, "end"]
    code = "\n".join(_template(f"{name}.c") for name in names)
    for name, value in folded.items():
        code = re.sub(rf"layer->{name}\b", value, code)
    constants, kinds = _constants(graph, schedule)
    tables = _tables(schedule, rows, kept, kinds)
    parts = [_template("begin.c"), *constants, tables, code]
    return {
        "model.h": Template(_template("model.h")).substitute(numbers),
        "model.c": Template("\n".join(parts)).substitute(numbers),
    }


def _template(name: str) -> str:
    return (resources.files("smidgen") / "export" / "templates" / name).read_text("utf-8")


def _sizes(graph: G.Graph, schedule: Schedule) -> dict[str, object]:
    """What the templates need to know of the network as a whole."""
    convs = [stage for stage in schedule.stages if isinstance(stage.node, G.Conv)]
    gathered = [_taps(s, graph) for s in convs if not _is_direct(s, graph, schedule)]
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
        "window": max(gathered, default=1),
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


def _is_direct(stage: Stage, graph: G.Graph, schedule: Schedule) -> bool:
    """Whether what lies under the kernel is contiguous in the input, and need not be gathered."""
    height, width, _ = schedule.rings[stage.inputs[0]].shape
    groups = stage.node.groups if isinstance(stage.node, G.Conv) else 1
    return groups == 1 and stage.padding == (0, 0) and stage.kernel in ((1, 1), (height, width))


def _row(stage: Stage, graph: G.Graph, schedule: Schedule) -> Row:
    """The table's row of a stage."""
    node = stage.node
    nodes = [other.node for other in schedule.stages]
    number = nodes.index(node)  # the parts of a concatenation share their constants
    row: Row = {"operation": node.op.upper(), "steps": stage.steps}
    row |= {"input": stage.inputs[0], "output": stage.output}
    if isinstance(node, G.Table):
        return row | {"table": f"table_{number}"}
    if isinstance(node, G.MaxPool):
        return row | _window(stage)
    bias_shift = node.rescale.short_bias()[1]
    row |= {"shift": node.rescale.shift, "bias_shift": bias_shift, "biases": f"biases_{number}"}
    match node:
        case G.Add(factors=(left, right)):
            return row | {"other": stage.inputs[1], "left_factor": left, "right_factor": right}
        case G.Conv():
            row |= _window(stage) | _conv_row(stage, node, graph, schedule)
        case G.AveragePool() if node.kernel == schedule.rings[stage.inputs[0]].shape[:2]:
            row["operation"] = "GLOBAL_AVERAGE"
        case G.AveragePool():
            row |= _window(stage)
        case G.Concat():
            row["channel"] = stage.channel
    return row | {"multipliers": f"multipliers_{number}"}


def _window(stage: Stage) -> Row:
    return {
        "kernel_height": stage.kernel[0],
        "kernel_width": stage.kernel[1],
        "stride_y": stage.stride[0],
        "stride_x": stage.stride[1],
    }


def _conv_row(stage: Stage, node: G.Conv, graph: G.Graph, schedule: Schedule) -> Row:
    weights = graph.weights[node.weights]
    return {
        "weights": f"weights_{node.weights}",
        "bits": weights.bits,
        "depth": weights.values.shape[3],
        "padding_y": stage.padding[0],
        "padding_x": stage.padding[1],
        "pool_x": stage.pool[1],
        "groups": node.groups,
        "per_group": len(weights.values) // node.groups,
        "outside": node.outside,
        "direct": int(_is_direct(stage, graph, schedule)),
    }


def _fold(rows: Sequence[Row]) -> tuple[dict[str, str], list[str]]:
    """What to write for each column that says nothing of its own, and the columns to keep.

    A column is dropped where it has one number in all the rows that have it, or is the same as
    another column. A single row keeps its columns, or functions would have nothing to read.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    folded: dict[str, str] = {}
    kept: list[str] = []
    for name in columns:
        values = [row.get(name) for row in rows]
        given = {value for value in values if value is not None}
        twin = next((k for k in kept if [row.get(k) for row in rows] == values), None)
        number = given.pop() if len(given) == 1 and len(rows) > 1 else None
        if isinstance(number, int):
            folded[name] = str(number)
        elif twin:
            folded[name] = f"layer->{twin}"
        else:
            kept.append(name)
    return folded, kept


def _constants(graph: G.Graph, schedule: Schedule) -> tuple[list[str], dict[str, str]]:
    """The definitions of all weights, multipliers, biases and tables, and the types of pointers
    to them."""
    parts = []
    for place, weights in enumerate(graph.weights):
        users = [n.name for n in graph.nodes if isinstance(n, G.Conv) and n.weights == place]
        packed = b"".join(G.pack(row, weights.bits) for row in weights.values)
        shape = " x ".join(map(str, weights.values.shape))
        parts.append(f"/* {', '.join(users)}: {shape}, {weights.bits} bits */")
        values = np.frombuffer(packed, dtype=np.int8)
        parts.append(_array("int8_t", f"weights_{place}", values, slack=" + SLACK"))
    kinds = {"weights": "const int8_t *", "table": "const uint8_t *"}
    nodes = [stage.node for stage in schedule.stages]
    rescales = {nodes.index(n): n.rescale for n in nodes if not isinstance(n, G.MaxPool | G.Table)}
    for name, arrays in {
        "multipliers": {
            i: r.multiplier for i, r in rescales.items() if not isinstance(nodes[i], G.Add)
        },
        "biases": {i: r.short_bias()[0] for i, r in rescales.items()},
    }.items():
        kind = f"{G.narrowest(np.concatenate(list(arrays.values()))).name}_t"
        kinds[name] = f"const {kind} *"
        parts += [_array(kind, f"{name}_{i}", values) for i, values in arrays.items()]
    for i, node in enumerate(nodes):
        if isinstance(node, G.Table):
            parts.append(_array("uint8_t", f"table_{i}", node.values))
    return parts, kinds


def _array(kind: str, name: str, values: Iterable[int], slack: str = "") -> str:
    """A C array; `slack` adds zeros after it, as a C expression."""
    numbers = [str(int(value)) for value in values]
    indent = " " * 4
    body = textwrap.fill(", ".join(numbers), 98, initial_indent=indent, subsequent_indent=indent)
    return f"static const {kind} {name}[{len(numbers)}{slack}] = {{\n{body}\n}};"


def _tables(
    schedule: Schedule, rows: Sequence[Row], kept: Sequence[str], kinds: Mapping[str, str]
) -> str:
    """The definitions of the tensors, the layers, and the order of their steps."""
    rings: list[Row] = []
    for ring in schedule.rings:
        height, width, channels = ring.shape
        rings.append({"offset": ring.offset, "rows": ring.rows, "height": height, "width": width,
                      "channels": channels})  # fmt: skip
    operations = dict.fromkeys(str(row["operation"]) for row in rows)
    order = _array("uint8_t", "schedule", schedule.order)
    return "\n".join(
        [
            f"enum {{ LOGITS = {len(rings) - 1} }};",
            f"enum {{ {', '.join(operations)} }};",
            _table("tensor", "tensors", list(rings[0]), rings, {}),
            _table("layer", "layers", kept, rows, kinds),
            order,
        ]
    )


def _table(
    struct: str, name: str, columns: Sequence[str], rows: Sequence[Row], kinds: Mapping[str, str]
) -> str:
    """A struct with these columns, the widest first, and the array of all rows."""
    typed: dict[str, str] = {}
    for column in columns:
        numbers = [value for row in rows if isinstance(value := row.get(column, 0), int)]
        typed[column] = kinds.get(column) or f"{_narrowest(numbers)} "
    order = sorted(columns, key=lambda column: _width(typed[column]), reverse=True)
    members = [f"    {typed[column]}{column};" for column in order]
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


def _width(kind: str) -> int:
    return next((w for w in (8, 16, 32) if f"int{w}_t " == kind.removeprefix("u")), 64)


def _narrowest(numbers: Sequence[int]) -> str:
    """The narrowest C type for all the numbers, unsigned where none is negative."""
    fits = (kind for kind, (low, end) in INTEGERS.items() if all(low <= n < end for n in numbers))
    return next(fits)

"""The tables of a C export: its tensors, its layers, and the order of their steps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from smidgen.export.schedule import Schedule

Row = dict[str, int | str]  # a line of a table: numbers, and names of C, by column

INTEGERS = {
    "uint8_t": (0, 2**8),
    "int8_t": (-(2**7), 2**7),
    "uint16_t": (0, 2**16),
    "int16_t": (-(2**15), 2**15),
    "int32_t": (-(2**31), 2**31),
}


def write_tables(schedule: Schedule, rows: Sequence[Row], kept: Sequence[str]) -> str:
    """The definitions of the tensors, the layers, and the order of their steps."""
    operations = dict.fromkeys(str(row["operation"]) for row in rows)
    tensors, layers, steps = _tables(schedule, rows, kept)
    return "\n".join(
        [
            f"enum {{ LOGITS = {len(schedule.rings) - 1} }};",
            f"enum {{ {', '.join(operations)} }};",
            _table("tensor", "tensors", *tensors),
            _table("layer", "layers", *layers),
            "/* Each line is a step of every layer from the first to the last. */",
            _table("run", "schedule", *steps),
        ]
    )


def count_runs(schedule: Schedule) -> int:
    """The lines of the table of steps."""
    return len(_runs(schedule.order))


def size_of_tables(schedule: Schedule, rows: Sequence[Row], kept: Sequence[str]) -> int:
    """The bytes of the three tables that `write_tables` defines."""
    total = 0
    for columns, lines in _tables(schedule, rows, kept):
        sizes = [
            INTEGERS[kind][1].bit_length() // 8 for kind in column_types(columns, lines).values()
        ]
        widest = max(sizes)
        total += -(-sum(sizes) // widest) * widest * len(lines)
    return total


def _tables(
    schedule: Schedule, rows: Sequence[Row], kept: Sequence[str]
) -> list[tuple[Sequence[str], Sequence[Row]]]:
    """The columns and the lines of each table."""
    rings: list[Row] = []
    for ring in schedule.rings:
        height, width, channels = ring.shape
        rings.append({"offset": ring.offset, "rows": ring.rows, "height": height, "width": width,
                      "channels": channels})  # fmt: skip
    return [(list(rings[0]), rings), (kept, rows), (["first", "last"], _runs(schedule.order))]


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
    typed = column_types(columns, rows)
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


def column_types(columns: Sequence[str], rows: Sequence[Row]) -> dict[str, str]:
    """The C type of each column of a table; names of C are small numbers."""
    return {
        column: narrowest_type([v for row in rows if isinstance(v := row.get(column, 0), int)])
        for column in columns
    }


def narrowest_type(numbers: Sequence[int]) -> str:
    """The narrowest C type for all the numbers, unsigned where none is negative."""
    fits = (kind for kind, (low, end) in INTEGERS.items() if all(low <= n < end for n in numbers))
    return next(fits)

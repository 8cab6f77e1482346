"""The model in plain text, layer by layer."""

from __future__ import annotations

from smidgen.anatomy import Anatomy
from smidgen.escape import plain


def summary(anatomy: Anatomy) -> str:
    """The layer table in columns, with its totals below."""
    rows = [[plain(cell) for cell in row] for row in anatomy.rows()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if index < 3 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    table = [lines[0], rule, *lines[1:-1], rule, lines[-1]]
    return "\n".join([plain(anatomy.model), "", *table, "", *anatomy.facts()]) + "\n"

"""What results look like in a notebook: tables and curves as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from smidgen.escape import html_text

COLOURS = ("#0072B2", "#E69F00", "#009E73")  # of Okabe and Ito, for all eyes
WIDTH, HEIGHT, MARGIN = 360, 160, 24  # pixels


def html_table(
    rows: Iterable[Sequence[str]], heading: Sequence[str] = (), caption: str = ""
) -> str:
    """The rows as a table; the texts may hold anything."""
    lines = [f"<caption>{html_text(caption)}</caption>"] if caption else []
    if heading:
        lines.append("".join(f"<th>{html_text(cell)}</th>" for cell in heading))
    lines += ["".join(f"<td>{html_text(cell)}</td>" for cell in row) for row in rows]
    lines = [line if line.startswith("<caption>") else f"<tr>{line}</tr>" for line in lines]
    return f"<table>{''.join(lines)}</table>"


def html_curves(title: str, curves: Mapping[str, Sequence[float | None]]) -> str:
    """Curves of percentages over the epochs as SVG, the fractions' names beside their colours.

    A curve without a figure is left out, as is all of it where there is none.
    """
    known = {name: values for name, values in curves.items() if any(v is not None for v in values)}
    every = [value for values in known.values() for value in values if value is not None]
    if not every:
        return ""
    low, high = min(every), max(every)
    parts = []
    for index, (name, values) in enumerate(known.items()):
        points = " ".join(
            f"{_scaled(epoch, 0, len(values) - 1, MARGIN, WIDTH - MARGIN):.1f},"
            f"{_scaled(value, low, high, HEIGHT - MARGIN, MARGIN):.1f}"
            for epoch, value in enumerate(values)
            if value is not None
        )
        colour = COLOURS[index % len(COLOURS)]
        marks = "".join(
            f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>'
            for x, y in (point.split(",") for point in points.split())
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}"/>{marks}'
            f'<text x="{MARGIN + 110 * index}" y="{HEIGHT - 4}" fill="{colour}">'
            f"{html_text(name)}</text>"
        )
    heading = f"{html_text(title)}: {100 * low:.2f} to {100 * high:.2f} %"
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" font-size="12" font-family="sans-serif">'
        f'<text x="{MARGIN}" y="14" fill="currentColor">{heading}</text>{"".join(parts)}</svg>'
    )


def _scaled(value: float, low: float, high: float, first: float, last: float) -> float:
    """Where a value from low to high lies between two pixels; in the middle if there is one value.

    >>> _scaled(1, 0, 4, 100, 200)
    125.0
    """
    return first + (last - first) * ((value - low) / (high - low) if high > low else 0.5)

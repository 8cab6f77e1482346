"""The charts of a search's page, as SVG that a browser stretches: lengths across are in percent.

Letters and marks keep their size at any width of the window. What a link opens, and every name, is
written by `escape`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from smidgen.escape import html_text
from smidgen.search.axes import Axis, Line, Tick, axis_of, percent, whole

HEIGHT = 340  # pixels of the front's chart
ROW = 62  # pixels between two lines of the parallel coordinates


class Point(NamedTuple):
    """A trained network: its quantity, its validation error, and how it is drawn.

    `mark` is "rung0" for the last rung, "rung1" for the one before, and so on.
    """

    link: str
    title: str
    quantity: float
    error: float
    mark: str


def front(points: Sequence[Point], best: Sequence[Point], name: str, limit: float | None) -> str:
    """The chart of errors against a quantity; `best` is the front, from small to accurate.

    A limit of the quantity is a line of its own.
    """
    across = axis_of([p.quantity for p in points] + ([limit] if limit else []))
    up = axis_of([p.error for p in points])

    def place(point: Point) -> tuple[str, str]:
        return f"{across.place(point.quantity)}%", f"{100 - up.place(point.error):.2f}%"

    def drawn(point: Point, mark: str, radius: float) -> str:
        x, y = place(point)
        shape = f'<circle cx="{x}" cy="{y}" r="{radius}" class="{mark}"/>'
        return _link(point, shape)

    x = f"{across.place(limit)}%" if limit else "100%"
    parts = [*_grid(across, up), *_staircase(best, place, x)]
    if limit:
        parts.append(f'<line x1="{x}" x2="{x}" y1="0" y2="100%" class="limit"/>')
        parts.append(_text(x, "-8", f"limit {limit:,.0f}", _anchor(across.place(limit)), "name"))
    shown = {point.link for point in best}
    parts += [drawn(p, p.mark, 4) for p in reversed(points) if p.link not in shown]
    parts += [drawn(point, "front", 6) for point in best]
    if best:
        x, y = place(best[-1])
        anchor = _anchor(across.place(best[-1].quantity), 60)
        parts.append(
            f'<text x="{x}" y="{y}" dy="-13" text-anchor="{anchor}" class="best">'
            f"{html_text(percent(best[-1].error))}</text>"
        )
    label = f"validation error against {name}"
    parts.append(_text("50%", "100%", name, "middle", "name", 'dy="44"'))
    return (
        f'<svg class="plot" height="{HEIGHT}" role="group" aria-label="{html_text(label)}">'
        f"{''.join(parts)}</svg>"
    )


def parallel(lines: Sequence[Line], titles: Sequence[tuple[str, str, str]]) -> str:
    """Parallel coordinates, one axis below the other; a trial is a line through all of them.

    `titles` has the link, the title and the class of each trial; the last is drawn on top.
    """
    height = ROW * (len(lines) - 1)
    paths = []
    for trial, (link, title, mark) in enumerate(titles):
        points = " ".join(f"{line.places[trial]:g},{ROW * n}" for n, line in enumerate(lines))
        shape = f'<polyline points="{points}" class="{mark}"/>'
        paths.append(_link(Point(link, title, 0, 0, mark), shape))
    scales = []
    for number, line in enumerate(lines):
        y = ROW * number
        scales.append(f'<line x1="0" x2="100%" y1="{y}" y2="{y}" class="scale"/>')
        scales.append(_text("0", str(y - 24), line.name, "start", "name"))
        scales += list(_ticks(line.ticks, y))
    return (
        f'<svg class="parallel" height="{height}" role="group" aria-label="parallel coordinates">'
        f'<svg width="100%" height="{height}" viewBox="0 0 100 {height}" '
        f'preserveAspectRatio="none" overflow="visible">{"".join(paths)}</svg>'
        f"{''.join(scales)}</svg>"
    )


def bars(shares: Mapping[str, float]) -> str:
    """A bar for each name, as long as its share of the largest; shares are fractions."""
    most = max(shares.values()) or 1.0
    rows = "".join(
        f"<li><span>{html_text(name)}</span><b>{100 * share:.0f} %</b>"
        f'<svg height="8"><rect width="100%" height="8" rx="4" class="back"/>'
        f'<rect width="{100 * share / most:.1f}%" height="8" rx="4"/></svg></li>'
        for name, share in shares.items()
    )
    return f'<ul class="bars">{rows}</ul>'


def _grid(across: Axis, up: Axis) -> Iterator[str]:
    for tick in across.ticks(whole):
        x = f"{tick.place}%"
        yield f'<line x1="{x}" x2="{x}" y1="0" y2="100%" class="grid"/>'
        yield _text(x, "100%", tick.label, "middle", "tick", 'dy="20"')
    for tick in up.ticks(percent, apart=6):
        y = f"{100 - tick.place:.2f}%"
        yield f'<line x1="0" x2="100%" y1="{y}" y2="{y}" class="grid"/>'
        yield _text("-8", y, tick.label, "end", "tick", 'dy="4"')


def _staircase(
    best: Sequence[Point], place: Callable[[Point], tuple[str, str]], right: str
) -> Iterator[str]:
    """From each network of the front to the right, until a better one is reached, or `right`."""
    places = [place(point) for point in best]
    for (x, y), after in zip(places, [*places[1:], None], strict=True):
        end = after[0] if after else right
        yield f'<line x1="{x}" x2="{end}" y1="{y}" y2="{y}" class="stair"/>'
        if after:
            yield f'<line x1="{end}" x2="{end}" y1="{y}" y2="{after[1]}" class="stair"/>'


def _ticks(ticks: Sequence[Tick], y: int) -> Iterator[str]:
    for tick in ticks:
        x = f"{tick.place}%"
        yield f'<line x1="{x}" x2="{x}" y1="{y - 3}" y2="{y + 3}" class="scale"/>'
        yield _text(x, str(y - 8), tick.label, _anchor(tick.place, 95, 5), "tick")


def _anchor(place: float, right: float = 80, left: float = 20) -> str:
    """How a text at a place is aligned, so that it does not leave the chart."""
    return "end" if place > right else "start" if place < left else "middle"


def _text(x: str, y: str, text: str, anchor: str, mark: str, more: str = "") -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" class="{mark}" {more}>'
        f"{html_text(text)}</text>"
    )


def _link(point: Point, shape: str) -> str:
    """The shape as a link; the table has the same links for the keyboard."""
    link, title = html_text(point.link), html_text(point.title)
    return f'<a href="{link}" tabindex="-1"><title>{title}</title>{shape}</a>'

"""What the commands print: one JSON document on stdout, or tables and progress for people."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from smidgen.escape import json_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDTH_OF_FILES = 120  # of output that is piped or captured, and so has no terminal's width


def console(json_: bool = False, quiet: bool = False) -> Console:
    """The console for people: stdout, or stderr when stdout is kept for JSON. A quiet one prints
    nothing.

    What it prints may hold names from outside, so that it knows no marks of rich's own.
    """
    from rich.console import Console

    out = Console(stderr=json_, highlight=False, markup=False, emoji=False, quiet=quiet)
    if not out.is_terminal:
        out.width = WIDTH_OF_FILES
    return out


@contextmanager
def interruptible(advice: Callable[[], str]) -> Iterator[None]:
    """Says in one line how to go on after Ctrl-C, which then exits with 130."""
    import typer

    try:
        yield
    except KeyboardInterrupt:
        print(f"\nsmidgen: interrupted; {advice()}", file=sys.stderr)
        raise typer.Exit(130) from None


def emit(document: Any) -> None:
    """Prints one JSON document on stdout, at once; a number that JSON cannot hold becomes null."""
    print(json_text(_finite(document)), flush=True)


def table(
    heading: Iterable[str],
    rows: Iterable[Sequence[str]],
    title: str | None = None,
    right: Iterable[int] = (),
) -> Table:
    """A table of text. Names in its first column stay whole, and so do numbers, in the columns
    `right`, which are aligned so; where there is no room, the others are folded.
    """
    from rich.table import Table

    made = Table(*heading, title=title)
    for column in made.columns:
        column.overflow = "fold"
    made.columns[0].no_wrap = True
    for position in right:
        made.columns[position].justify = "right"
        made.columns[position].no_wrap = True
    for row in rows:
        made.add_row(*row)
    return made


def percent(fraction: float | None, digits: int = 2) -> str:
    """A fraction as people read it.

    >>> percent(0.9943)
    '99.43 %'
    """
    return "–" if fraction is None else f"{100 * fraction:.{digits}f} %"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

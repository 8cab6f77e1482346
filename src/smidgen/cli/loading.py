"""Loads data for a command, and shows a bar on stderr for what takes more than a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from smidgen.cli.output import console

if TYPE_CHECKING:
    from smidgen.data import Data


def load_shown(name: str, data_dir: Path | None, quiet: bool = False) -> Data:
    """The data set of that name; on a terminal, stderr shows how many pictures are decoded,
    unless it is quiet.
    """
    from smidgen.data import load_data

    with counting("decoding pictures", quiet) as watch:
        return load_data(name, data_dir, watch=watch)


@contextmanager
def counting(title: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """What is called with how many are done, of how many: a bar on stderr, if that is a terminal.

    The bar is seen from the first call on.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    screen = console(json_=True)  # stderr, whether or not stdout is kept for JSON
    if quiet or not screen.is_terminal:
        yield lambda done, total: None
        return
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("", total=None, visible=False)

        def watch(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield watch

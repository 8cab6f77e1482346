"""Loads data for a command: a bar on stderr while pictures are decoded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from smidgen.cli.output import console

if TYPE_CHECKING:
    from smidgen.data import Data


def load_shown(name: str, data_dir: Path | None) -> Data:
    """The data set of that name; on a terminal, stderr shows how many pictures are decoded."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from smidgen.data import load_data

    screen = console(json_=True)  # stderr, whether or not stdout is kept for JSON
    if not screen.is_terminal:
        return load_data(name, data_dir)
    columns = (TextColumn("decoding pictures"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("", total=None, visible=False)

        def watch(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        return load_data(name, data_dir, watch=watch)

"""`smidgen data`: what is in a data set and where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from smidgen.cli.options import DataDir, Json
from smidgen.cli.output import console, emit

if TYPE_CHECKING:
    from rich.table import Table


def data(
    name: Annotated[
        str, typer.Argument(help="mnist, fashion_mnist, kmnist, digits, idx:DIR or folder:DIR.")
    ] = "mnist",
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Show what is in a data set and where it lies; download it if it is nowhere."""
    from smidgen.data import find_data, load_data

    loaded = load_data(name, data_dir)
    fit, val = loaded.fit_split()
    path = find_data(name, data_dir)
    counts = {
        split: images.labels.bincount(minlength=len(loaded.classes)).tolist()
        for split, images in {"fit": fit, "val": val, "test": loaded.test}.items()
    }
    if json_:
        return emit(
            {
                "data": loaded.name,
                "path": str(path) if path else None,
                "classes": loaded.classes,
                "counts": counts,
                "mean": loaded.mean,
                "std": loaded.std,
            }
        )
    screen = console()
    screen.print(_table(f"{loaded.name}, {path or 'built in'}", loaded.classes, counts))
    return screen.print(
        f"mean {loaded.mean:.4f}, standard deviation {loaded.std:.4f} (of pixels / 255)"
    )


def _table(title: str, classes: Sequence[str], counts: dict[str, list[int]]) -> Table:
    """How many images of each class every split holds, with the totals below."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("class", *counts, title=escape(title))
    for column in table.columns[1:]:
        column.justify = "right"
    for label, class_name in enumerate(classes):
        table.add_row(escape(class_name), *(f"{split[label]:,}" for split in counts.values()))
    table.add_section()
    table.add_row("all", *(f"{sum(split):,}" for split in counts.values()))
    return table

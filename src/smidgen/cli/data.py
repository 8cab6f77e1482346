"""`smidgen data`: what is in a data set and where it lies."""

from __future__ import annotations

from typing import Annotated

import typer

from smidgen.cli.options import DataDir, Json
from smidgen.cli.output import console, emit


def data(
    name: Annotated[
        str, typer.Argument(help="mnist, fashion_mnist, kmnist, digits, idx:DIR or folder:DIR.")
    ] = "mnist",
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Show what is in a data set and where it lies; download it if it is nowhere."""
    from rich.markup import escape
    from rich.table import Table

    from smidgen.data import find_data, load_data

    loaded = load_data(name, data_dir)
    fit, val = loaded.fit_split()
    path = find_data(name, data_dir)
    splits = {"fit": fit, "val": val, "test": loaded.test}
    counts = {
        split: images.labels.bincount(minlength=len(loaded.classes)).tolist()
        for split, images in splits.items()
    }
    if json_:
        emit(
            {
                "data": loaded.name,
                "path": str(path) if path else None,
                "classes": loaded.classes,
                "counts": counts,
                "mean": loaded.mean,
                "std": loaded.std,
            }
        )
        return
    table = Table("class", *splits, title=escape(f"{loaded.name}, {path or 'built in'}"))
    for column in table.columns[1:]:
        column.justify = "right"
    for label, class_name in enumerate(loaded.classes):
        table.add_row(escape(class_name), *(f"{counts[split][label]:,}" for split in splits))
    table.add_section()
    table.add_row("all", *(f"{sum(counts[split]):,}" for split in splits))
    screen = console()
    screen.print(table)
    screen.print(f"mean {loaded.mean:.4f}, standard deviation {loaded.std:.4f} (of pixels / 255)")

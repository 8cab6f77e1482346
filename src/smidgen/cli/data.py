"""`smidgen data`: what is in a data set and where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def data(
    name: Annotated[
        str,
        typer.Argument(help="mnist, fashion_mnist, kmnist, digits, idx:DIR or folder:DIR."),
    ] = "mnist",
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where data lies, else $SMIDGEN_DATA, ./data, cache."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Show what is in a data set and where it lies; download it if it is nowhere."""
    from rich.table import Table

    from smidgen.cli.output import console, emit
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
    table = Table("class", *splits, title=f"{loaded.name}, {path or 'built in'}")
    for column in table.columns[1:]:
        column.justify = "right"
    for label, class_name in enumerate(loaded.classes):
        table.add_row(class_name, *(f"{counts[split][label]:,}" for split in splits))
    table.add_section()
    table.add_row("all", *(f"{sum(counts[split]):,}" for split in splits))
    screen = console()
    screen.print(table)
    screen.print(f"mean {loaded.mean:.4f}, standard deviation {loaded.std:.4f} (of pixels / 255)")

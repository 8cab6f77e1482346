"""`smidgen data`: what is in a data set and where it lies."""

from __future__ import annotations

from typing import Annotated

import typer

from smidgen.cli.options import DataDir, Json
from smidgen.cli.output import console, emit, table


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
        where = {"data": loaded.name, "path": str(path) if path else None}
        what = {"classes": loaded.classes, "counts": counts}
        return emit(where | what | loaded.preprocess.document())
    rows = [
        (name, *(f"{count[label]:,}" for count in counts.values()))
        for label, name in enumerate(loaded.classes)
    ]
    right = range(1, len(counts) + 1)
    shown = table(("class", *counts), rows, f"{loaded.name}, {path or 'built in'}", right)
    shown.add_section()
    shown.add_row("all", *(f"{sum(count):,}" for count in counts.values()))
    console().print(shown)
    facts = loaded.preprocess
    mean, std = (
        ", ".join(f"{each:.4f}" for each in sorted(set(v))) for v in (facts.mean, facts.std)
    )
    return console().print(
        f"{facts.kind}, {facts.shape}; mean {mean}, deviation {std} (of pixels / 255)"
    )

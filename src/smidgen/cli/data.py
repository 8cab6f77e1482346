"""`smidgen data`: what is in a data set and where it lies."""

from __future__ import annotations

from typing import Annotated

import typer

from smidgen.cli.loading import load_shown
from smidgen.cli.options import DATA_NAMES, DataDir, Glyph, Grey, Json, Size, SkipBad
from smidgen.cli.output import console, emit, table


def data(
    name: Annotated[str, typer.Argument(help=DATA_NAMES)] = "mnist",
    data_dir: DataDir = None,
    size: Size = None,
    grey: Grey = False,
    glyph: Glyph = False,
    skip_bad: SkipBad = False,
    json_: Json = False,
) -> None:
    """Show what is in a data set and where it lies; download it if it is nowhere."""
    from smidgen.data import find_data, with_options

    name = with_options(name, size=size, grey=grey, glyph=glyph, skip_bad=skip_bad)
    loaded = load_shown(name, data_dir)
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

"""`smidgen data`: what is in a data set and where it lies."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smidgen.cli.loading import load_shown
from smidgen.cli.options import DATA_NAMES, DataDir, Glyph, Grey, Json, Size, SkipBad, complete_data
from smidgen.cli.output import console, emit, table
from smidgen.errors import DataError

if TYPE_CHECKING:
    from smidgen.data import Data, Origin

SIZES = 5  # of the pictures, that are shown


def data(
    name: Annotated[str, typer.Argument(help=DATA_NAMES, autocompletion=complete_data)] = "mnist",
    data_dir: DataDir = None,
    size: Size = None,
    grey: Grey = False,
    glyph: Glyph = False,
    skip_bad: SkipBad = False,
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Draw the first images of each class, as fed."),
    ] = None,
    json_: Json = False,
) -> None:
    """Show what is in a data set and where it lies; download it if it is nowhere."""
    from smidgen.data import find_data, with_options
    from smidgen.data.findings import find_problems

    name = with_options(name, size=size, grey=grey, glyph=glyph, skip_bad=skip_bad)
    loaded = load_shown(name, data_dir)
    _refuse_changed(loaded.origin)
    place = find_data(name, data_dir)
    fit, val = loaded.fit_split()
    counts = {
        split: images.labels.bincount(minlength=len(loaded.classes)).tolist()
        for split, images in {"fit": fit, "val": val, "test": loaded.test}.items()
    }
    problems = find_problems(loaded)
    if sheet is not None:
        _draw_sheet(loaded, sheet)
    if json_:
        return emit(_document(loaded, counts, place, problems))
    for problem in problems:
        warnings.warn(problem, stacklevel=1)
    return _show(loaded, counts, place)


def _show(loaded: Data, counts: Mapping[str, list[int]], place: Path | None) -> None:
    people = console()
    rows = [
        (name, *(f"{count[label]:,}" for count in counts.values()))
        for label, name in enumerate(loaded.classes)
    ]
    right = range(1, len(counts) + 1)
    shown = table(("class", *counts), rows, f"{loaded.name}, {place or 'built in'}", right)
    shown.add_section()
    shown.add_row("all", *(f"{sum(count):,}" for count in counts.values()))
    people.print(shown)
    facts = loaded.preprocess
    mean, std = (
        ", ".join(f"{each:.4f}" for each in sorted(set(v))) for v in (facts.mean, facts.std)
    )
    lines = [f"{facts.kind}, {facts.shape}; mean {mean}, deviation {std} (of pixels / 255)"]
    if loaded.origin is not None:
        lines += [loaded.origin.treatment, _sizes(loaded.origin), f"kept in {loaded.origin.cache}"]
    people.print(*lines, sep="\n", soft_wrap=True)


def _sizes(origin: Origin) -> str:
    """The sizes of the pictures that were read, the most frequent first."""
    counts = list(origin.sizes.items())
    named = [f"{count:,} of {size}" for size, count in counts[:SIZES]]
    others = len(counts) - len(named)
    more = [f"{sum(count for _, count in counts[SIZES:]):,} of {others} other sizes"]
    return f"pictures found: {', '.join(named + more * bool(others))}"


def _document(
    loaded: Data, counts: Mapping[str, list[int]], place: Path | None, problems: list[str]
) -> dict[str, Any]:
    origin = loaded.origin
    return {
        "data": loaded.name,
        "path": str(place) if place else None,
        "classes": loaded.classes,
        "counts": counts,
        "pictures": origin
        and {
            "treatment": origin.treatment,
            "sizes": origin.sizes,
            "skipped": origin.skipped,
            "cache": str(origin.cache),
        },
        "notes": problems,
        **loaded.preprocess.document(),
    }


def _draw_sheet(loaded: Data, path: Path) -> None:
    from smidgen.report import save
    from smidgen.report.plots import examples

    save(examples(loaded.train, loaded.classes, max(100, len(loaded.classes))), path)


def _refuse_changed(origin: Origin | None) -> None:
    from smidgen.data.kept import is_intact

    if origin is not None and not is_intact(origin.cache):
        raise DataError(
            f"the images kept in {str(origin.cache)!r} were changed or damaged; remove that folder "
            "to have the pictures decoded anew"
        )

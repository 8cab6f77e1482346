"""A folder of pictures as a data set; decoded once, then mapped to memory."""

from __future__ import annotations

import itertools
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smidgen.data.dataset import Data, Origin, Split, mean_and_std
from smidgen.data.kept import Writer, keep
from smidgen.data.options import PictureOptions
from smidgen.data.scan import Listing, scan
from smidgen.errors import DataError
from smidgen.inputs import LARGEST, SMALLEST, InputShape, Preprocess
from smidgen.mnist import GLYPH
from smidgen.preprocess.many import Glance, glance_at, read_batches, side_by_side

LOOKED_AT = 1000  # pictures, evenly spaced, from which shape and colour are chosen
USUAL_SIZE = (32, 32)  # where the pictures have several sizes
NAMED = 3  # pictures that cannot be read, in a warning

Watch = Callable[[int, int], None]  # pictures read so far, and in all


def load_picture_folder(
    name: str,
    directory: Path,
    options: PictureOptions,
    shape: InputShape | None = None,
    watch: Watch = lambda done, total: None,
) -> Data:
    """The data set of that name: the pictures that `scan` finds in the folder.

    They are photos, unless the options ask for glyphs. What the options leave open, size and
    channels, is chosen from the pictures, unless `shape` says it. Raises DataError for a picture
    that cannot be read, unless it is to be skipped, and for a class with too few of them. Warns of
    a size that was not asked for and of pictures that were skipped.
    """
    listing = scan(directory)
    source = f"{directory.resolve()}?{options} {shape}"

    def build(writer: Writer) -> dict[str, Any]:
        return _read(listing, options, shape, writer, watch)

    kept, about, folder = keep(source, listing.digest, build)
    for warning in about["warnings"]:
        warnings.warn(f"{name}: {warning}", stacklevel=2)
    skipped = {int(place): problem for place, problem in about["skipped"].items()}
    labels = torch.from_numpy(np.delete(listing.labels, list(skipped)))
    whole = Split(torch.from_numpy(kept), labels)
    fit, val, _ = _counts(listing, skipped)
    return Data(
        name,
        whole.rows(slice(0, fit + val)),
        whole.rows(slice(fit + val, None)),
        listing.classes,
        Preprocess.from_document(about["preprocess"]),
        fit_images=fit,
        origin=Origin(about["treatment"], about["sizes"], tuple(skipped.values()), folder),
    )


def _read(
    listing: Listing,
    options: PictureOptions,
    shape: InputShape | None,
    writer: Writer,
    watch: Watch,
) -> dict[str, Any]:
    """Writes the images of a listing, and says what is known about them."""
    _refuse_small_classes(listing, {})
    paths = [listing.directory / file for file in listing.files]
    choice = _choose(paths, options, shape)
    sizes: Counter[tuple[int, int]] = Counter()
    skipped: dict[int, str] = {}
    done = 0
    for batch in read_batches(paths, choice.preprocess):
        if batch.problems and not options.skip_bad:
            raise _unreadable(next(iter(batch.problems.values())))
        skipped |= {done + place: problem for place, problem in batch.problems.items()}
        writer.write(batch.images)
        sizes.update(batch.sizes)
        done += len(batch.sizes) + len(batch.problems)
        watch(done, len(paths))
    _refuse_small_classes(listing, skipped)
    writer.file.flush()
    images = np.memmap(writer.file.name, np.uint8, "c", 128, (writer.rows, *writer.shape))
    fit, val, _ = _counts(listing, skipped)
    mean, std = mean_and_std(torch.from_numpy(images)[: fit + val])
    if std == 0:
        raise DataError(
            f"every pixel of the training pictures in {str(listing.directory)!r} has the same "
            "level; there is nothing to learn from"
        )
    return {
        "preprocess": choice.preprocess.with_statistics(mean, std).document(),
        "treatment": _describe(choice, sizes),
        "sizes": {f"{high}x{wide}": count for (high, wide), count in sizes.most_common()},
        "skipped": skipped,
        "warnings": [*choice.warnings, *_warn_of(skipped, len(paths))],
    }


@dataclass(frozen=True)
class _Choice:
    """What becomes of the pictures, why, and what should be said aloud about it."""

    preprocess: Preprocess
    why: str
    warnings: tuple[str, ...] = ()


def _choose(paths: Sequence[Path], options: PictureOptions, shape: InputShape | None) -> _Choice:
    if options.glyph:
        return _Choice(GLYPH, "as asked")
    if shape is not None:
        return _photos(shape, "as the data set has it")
    asked = "as asked"
    glances = [] if options.size and options.grey else _look(paths, options.skip_bad)
    channels, why_channels = (1, asked) if options.grey else _channels_of(glances)
    size, why_size = (options.size, asked) if options.size else _size_of(glances)
    why = f"the size: {why_size}; the channels: {why_channels}"
    if size is not None:
        return _photos(InputShape(channels, *size), why)
    warned = f"{why_size}; they become 32x32, or choose with --size HEIGHTxWIDTH"
    return _photos(InputShape(channels, *USUAL_SIZE), why, warned)


def _photos(shape: InputShape, why: str, *warnings: str) -> _Choice:
    return _Choice(Preprocess("photo", shape, (0.0,), (1.0,)), why, warnings)


def _describe(choice: _Choice, sizes: Collection[tuple[int, int]]) -> str:
    """What was done to pictures of these sizes, in one sentence."""
    channels, height, width = choice.preprocess.shape
    if choice.preprocess.kind == "glyph":
        done = "glyphs, light on black, scaled to a box of 20 pixels and centred in 28x28"
    elif set(sizes) == {(height, width)}:
        done = f"photos, taken as they are, {height}x{width}"
    else:
        done = (
            f"photos, the largest part in the middle with the shape {height}x{width}, scaled to it "
            "by area averaging"
        )
    return f"{done}, {'grey' if channels == 1 else 'RGB'} ({choice.why})"


def _look(paths: Sequence[Path], skip_bad: bool) -> list[Glance]:
    """What some of the pictures are, evenly spaced among all."""
    places = np.unique(np.linspace(0, len(paths) - 1, LOOKED_AT).round().astype(int))
    found = itertools.chain(*side_by_side(glance_at, [paths[place] for place in places]))
    glances = []
    for each in found:
        if isinstance(each, Glance):
            glances.append(each)
        elif not skip_bad:
            raise _unreadable(each)
    if not glances:
        raise DataError(f"none of {len(places):,} pictures can be read; the first: {paths[0]}")
    return glances


def _channels_of(glances: Sequence[Glance]) -> tuple[int, str]:
    coloured = sum(each.has_colour for each in glances)
    of = f"of {len(glances):,} pictures looked at"
    return (3, f"{coloured:,} {of} have a colour") if coloured else (1, f"none {of} has a colour")


def _size_of(glances: Sequence[Glance]) -> tuple[tuple[int, int] | None, str]:
    """The one size of the pictures, None where there are several or it is not allowed; and why."""
    sizes = {each.size for each in glances}
    high, wide = glances[0].size
    if len(sizes) > 1:
        return None, f"the {len(glances):,} pictures looked at have {len(sizes):,} sizes"
    if min(high, wide) < SMALLEST or max(high, wide) > LARGEST:
        return None, f"the pictures are {high}x{wide}, beyond {SMALLEST} to {LARGEST} a side"
    return (high, wide), f"that of all {len(glances):,} pictures looked at"


def _warn_of(skipped: Mapping[int, str], pictures: int) -> list[str]:
    if not skipped:
        return []
    first = "; ".join(list(skipped.values())[:NAMED])
    return [f"{len(skipped):,} of {pictures:,} pictures were left out: {first}"]


def _unreadable(problem: str) -> DataError:
    return DataError(f"{problem} (or leave out what cannot be read with --skip-bad)")


def _counts(listing: Listing, skipped: Mapping[int, str]) -> tuple[int, ...]:
    """How many pictures are to fit, to validate and to test, without those that were skipped."""
    return tuple(len(part) for part in _parts(listing, skipped))


def _parts(listing: Listing, skipped: Mapping[int, str]) -> list[NDArray[np.int64]]:
    """The labels of the three parts, without those of the pictures that were skipped."""
    read = np.ones(len(listing.labels), dtype=bool)
    read[list(skipped)] = False
    cuts = np.cumsum(listing.counts)[:-1]
    parts = zip(np.split(listing.labels, cuts), np.split(read, cuts), strict=True)
    return [labels[there] for labels, there in parts]


def _refuse_small_classes(listing: Listing, skipped: Mapping[int, str]) -> None:
    counts = [
        np.bincount(labels, minlength=len(listing.classes)) for labels in _parts(listing, skipped)
    ]
    for label, name in enumerate(listing.classes):
        fit, val, test = (int(part[label]) for part in counts)
        if not (fit and val and test):
            raise DataError(
                f"the class {name!r} in {str(listing.directory)!r} has too few pictures: {fit} to "
                f"fit, {val} to validate, {test} to test; each part needs at least one"
            )

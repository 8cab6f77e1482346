"""Many pictures at once, read by processes side by side.

Decoding a small picture is mostly Python's own work, which threads take turns at: two threads are
slower than one. Processes import no more than this module needs, which is not torch.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from smidgen.errors import DataError
from smidgen.inputs import Preprocess
from smidgen.preprocess.decode import decode
from smidgen.preprocess.glyph import glyph
from smidgen.preprocess.photo import photo

PICTURES = 64  # in one task of a process
FEW = 1000  # pictures that one process reads before others would have started

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Batch:
    """The images of some pictures, uint8 (N, C, H, W), without those that cannot be read.

    `sizes` are (height, width) of each picture that was read, upright; `problems` says for the
    others, by their place in the batch, why they were not.
    """

    images: NDArray[np.uint8]
    sizes: list[tuple[int, int]]
    problems: dict[int, str]


def read_batch(paths: Sequence[Path], preprocess: Preprocess) -> Batch:
    """The images of these pictures, as the network takes them."""
    images, sizes, problems = [], [], {}
    for place, path in enumerate(paths):
        name = repr(str(path))
        try:
            rgba, size = decode(path, name)
            if preprocess.kind == "glyph":
                images.append(glyph(rgba, name)[None])
            else:
                images.append(photo(rgba, preprocess.shape))
        except DataError as problem:
            problems[place] = str(problem)
        else:
            sizes.append(size)
    stacked = np.stack(images) if images else np.zeros((0, *preprocess.shape), np.uint8)
    return Batch(stacked, sizes, problems)


def read_batches(paths: Sequence[Path], preprocess: Preprocess) -> Iterator[Batch]:
    """The batches of all these pictures, in their order."""
    return side_by_side(read_batch, paths, preprocess)


@dataclass(frozen=True)
class Glance:
    """What a picture is: its (height, width), upright, and whether any pixel has a colour."""

    size: tuple[int, int]
    has_colour: bool


def glance_at(paths: Sequence[Path]) -> list[Glance | str]:
    """What each of these pictures is, or why it cannot be read."""
    found: list[Glance | str] = []
    for path in paths:
        try:
            rgba, size = decode(path, repr(str(path)))
        except DataError as problem:
            found.append(str(problem))
        else:
            visible = rgba[rgba[..., 3] > 0][:, :3]
            found.append(Glance(size, bool((visible != visible[:, :1]).any())))
    return found


def side_by_side(
    task: Callable[..., Result], paths: Sequence[Path], *arguments: Any
) -> Iterator[Result]:
    """What a task makes of each 64 paths, in their order; not in this process where they are many.

    The results of a few tasks are kept at a time.
    """
    pieces = (paths[start : start + PICTURES] for start in range(0, len(paths), PICTURES))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if len(paths) <= FEW or cores == 1:
        return (task(piece, *arguments) for piece in pieces)
    from joblib import Parallel, delayed

    calls: Iterable[Any] = (delayed(task)(piece, *arguments) for piece in pieces)
    results: Iterator[Result] = Parallel(
        n_jobs=-1, return_as="generator", batch_size=1, pre_dispatch="4 * n_jobs"
    )(calls)
    return itertools.chain(results)

"""Four IDX files of the user's as a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smidgen.data.dataset import Data, Split, mean_and_std
from smidgen.data.idx import read_split
from smidgen.data.published import FILES, find_file
from smidgen.errors import DataError
from smidgen.inputs import InputShape, Preprocess
from smidgen.mnist import GLYPH

MIN_TRAINING = 2  # of every class: one to fit, one to validate


def load_idx_folder(name: str, directory: Path) -> Data:
    """The data set of that name in a folder's four IDX files, named as MNIST's, raw or gzipped.

    The images are taken as they lie, grey, with sides from 8 to 128 pixels: as glyphs where they
    are 28 × 28, else as photos. Labels count from 0; the classes are as many as the training labels
    need, and all of them must occur. Raises DataError for a file that is missing or damaged, and
    for images or labels that do not fit.
    """
    files = [find_file(directory, name) for name in FILES]
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise DataError(
            f"no file {str(missing[0].with_suffix(''))!r}, raw or .gz; idx:DIR reads "
            f"{', '.join(FILES)} from DIR"
        )
    train, test = read_split(files[:2]), read_split(files[2:])
    shapes = [InputShape(*split.images.shape[1:]) for split in (train, test)]
    if shapes[0] != shapes[1]:
        raise DataError(
            f"the training images in {str(directory)!r} are {shapes[0]} and the test images "
            f"{shapes[1]}; do the files belong together?"
        )
    count = int(train.labels.max()) + 1
    if count * MIN_TRAINING > len(train):
        raise DataError(
            f"{str(files[1])!r} holds the label {count - 1} and only {len(train):,} labels; "
            "number the classes from 0, without gaps"
        )
    if test.labels.max() >= count:
        raise DataError(
            f"{str(files[3])!r} holds the label {test.labels.max()}; the training labels go "
            f"from 0 to {count - 1}; do the files belong together?"
        )
    classes = tuple(str(label) for label in range(count))
    _refuse_small_classes(train, classes, directory, MIN_TRAINING)
    known = GLYPH if shapes[0] == GLYPH.shape else Preprocess("photo", shapes[0], (0.0,), (1.0,))
    preprocess = known.with_statistics(*_statistics(train, directory))
    return Data(name, train, test, classes, preprocess)


def _refuse_small_classes(split: Split, classes: Sequence[str], source: Path, least: int) -> None:
    counts = split.labels.bincount(minlength=len(classes)).tolist()
    for name, count in zip(classes, counts, strict=True):
        if count < least:
            raise DataError(
                f"the class {name!r} in {str(source)!r} has too few images, {count}; every class "
                f"needs at least {least}"
            )


def _statistics(split: Split, source: Path) -> tuple[float, float]:
    """The mean and the deviation of the images, which must not all be one level."""
    mean, std = mean_and_std(split.images)
    if std == 0:
        raise DataError(
            f"every pixel of the training images in {str(source)!r} has the same level; there is "
            "nothing to learn from"
        )
    return mean, std

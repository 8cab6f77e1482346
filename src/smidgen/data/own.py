"""Data sets of the user: four IDX files, or a folder of pictures for each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from smidgen.data.dataset import TEST_ONE_IN, Data, Split, mean_and_std, stratified_mask
from smidgen.data.idx import read_split
from smidgen.data.published import FILES, find_file
from smidgen.errors import DataError
from smidgen.mnist import GLYPH
from smidgen.preprocess import read_image

MIN_TRAINING = 2  # of every class: one to fit, one to validate


def load_idx_folder(directory: Path) -> Data:
    """The data set in a folder's four IDX files, named as MNIST's are, each raw or gzipped.

    Labels count from 0; the classes are as many as the training labels need, and all of them
    must occur. Raises DataError for a file that is missing or damaged, and for labels that do not
    fit.
    """
    files = [find_file(directory, name) for name in FILES]
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise DataError(
            f"no file {str(missing[0].with_suffix(''))!r}, raw or .gz; idx:DIR reads "
            f"{', '.join(FILES)} from DIR"
        )
    train, test = read_split(files[:2]), read_split(files[2:])
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
    preprocess = GLYPH.with_statistics(*mean_and_std(train.images))
    return Data(f"idx:{directory}", train, test, classes, preprocess)


def load_picture_folder(directory: Path) -> Data:
    """The data set in a folder of pictures: one subfolder a class, named as the class is.

    With subfolders train and test, each holds the same classes; without them one picture in six
    of every class is held out as the test set, the same ones every time. Every picture is read
    as `predict` reads it: 28 × 28 on a dark background as it is, all others scaled and centred.
    Raises DataError for what is not a picture, and for a class with too few of them.
    """
    classes = _folders(directory)
    if "train" in classes or "test" in classes:
        train_folder, test_folder = directory / "train", directory / "test"
        classes = _folders(train_folder)
        odd = set(classes) ^ set(_folders(test_folder))
        if odd:
            raise DataError(
                f"{str(directory)!r} must hold the same classes in train and in test; only one of "
                f"them has {', '.join(sorted(odd))}"
            )
        train = _read_pictures(train_folder, classes)
        test = _read_pictures(test_folder, classes)
        _refuse_small_classes(train, classes, train_folder, MIN_TRAINING)
    else:
        whole = _read_pictures(directory, classes)
        _refuse_small_classes(whole, classes, directory, MIN_TRAINING + 1)
        held_out = stratified_mask(whole.labels.numpy(), TEST_ONE_IN)
        train, test = whole.take(~held_out), whole.take(held_out)
    preprocess = GLYPH.with_statistics(*mean_and_std(train.images))
    return Data(f"folder:{directory}", train, test, tuple(classes), preprocess)


def _read_pictures(directory: Path, classes: Sequence[str]) -> Split:
    if len(classes) < 2:
        raise DataError(
            f"{str(directory)!r} holds {len(classes)} class folders; make one for each of at least "
            "two classes, with its pictures inside"
        )
    images, labels = [], []
    for label, name in enumerate(classes):
        pictures = _visible(directory / name)
        if not pictures:
            raise DataError(
                f"the class folder {str(directory / name)!r} is empty; put pictures into it or "
                "remove it"
            )
        images += [read_image(directory / name / picture, GLYPH) for picture in pictures]
        labels += [label] * len(pictures)
    return Split(torch.from_numpy(np.stack(images)), torch.tensor(labels))


def _refuse_small_classes(split: Split, classes: Sequence[str], source: Path, least: int) -> None:
    counts = split.labels.bincount(minlength=len(classes)).tolist()
    for name, count in zip(classes, counts, strict=True):
        if count < least:
            raise DataError(
                f"the class {name!r} in {str(source)!r} has too few images, {count}; every class "
                f"needs at least {least}"
            )


def _folders(directory: Path) -> list[str]:
    return [name for name in _visible(directory) if (directory / name).is_dir()]


def _visible(directory: Path) -> list[str]:
    """The names in a folder, sorted, without the hidden ones that file managers leave."""
    try:
        return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
    except OSError as problem:
        raise DataError(f"cannot read the folder {str(directory)!r}: {problem.strerror}") from None

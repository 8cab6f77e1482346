"""CIFAR-10 (Krizhevsky 2009): as it was published, in binary, and as JPEG copies.

Format: https://www.cs.toronto.edu/~kriz/cifar.html, section "Binary version".
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from smidgen.data.dataset import Data, Split, mean_and_std
from smidgen.data.download import download_files
from smidgen.data.options import PictureOptions
from smidgen.data.pictures import Watch, load_picture_folder
from smidgen.data.places import download_root, roots
from smidgen.errors import DataError
from smidgen.inputs import InputShape, Preprocess

SHAPE = InputShape(3, 32, 32)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer",
           "dog", "frog", "horse", "ship", "truck")  # fmt: skip
ARCHIVE = "cifar-10-binary.tar.gz"
ARCHIVE_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
FOLDER = "cifar-10-batches-bin"  # in the archive, or beside it
JPEG_FOLDER = "cifar10-jpeg"
MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST = ("test_batch.bin",)
RECORDS = 10_000  # in each file
RECORD_BYTES = 1 + 3 * 32 * 32  # the label, then the planes of red, green and blue


def load_cifar10(directory: Path | None, download: bool) -> Data:
    """CIFAR-10's 50,000 and 10,000 pictures as published, found on this machine or downloaded.

    One mean and one deviation for all channels, of all pixels of the training images. Raises
    DataError where it is not found and may not or cannot be downloaded, and where it is not what
    was published.
    """
    place = find_cifar10("cifar10", directory)
    if place is None:
        folder = download_root(directory)
        if not download:
            raise DataError(
                "'cifar10' is not on this machine; run `smidgen data cifar10` to download it to "
                f"{str(folder)!r}, or name the folder of {ARCHIVE} with --data-dir"
            )
        download_files({ARCHIVE: _refuse_other_archive}, MIRRORS, folder)
        place = folder / ARCHIVE
    contents = _read_folder(place) if place.is_dir() else _read_archive(place)
    train = _split([contents[name] for name in TRAIN], place)
    test = _split([contents[name] for name in TEST], place)
    preprocess = Preprocess("photo", SHAPE, (0.0,), (1.0,))
    return Data(
        "cifar10", train, test, CLASSES, preprocess.with_statistics(*mean_and_std(train.images))
    )


def load_cifar10_jpeg(directory: Path | None, watch: Watch) -> Data:
    """The same pictures as lossy copies: JPEG files in cifar10-jpeg/train/CLASS and test/CLASS.

    Figures on them are not figures on CIFAR-10. Raises DataError where they are not found.
    """
    folder = find_cifar10("cifar10_jpeg", directory)
    if folder is None:
        raise DataError(
            f"'cifar10_jpeg' is not on this machine; put its pictures into {JPEG_FOLDER}/train and "
            f"{JPEG_FOLDER}/test, one folder for each class, in {str(download_root(directory))!r}, "
            "or name the folder that holds them with --data-dir"
        )
    data = load_picture_folder("cifar10_jpeg", folder, PictureOptions(), SHAPE, watch)
    if data.classes != CLASSES:
        raise DataError(
            f"{str(folder)!r} holds the classes {', '.join(data.classes)}; those of CIFAR-10 are "
            f"{', '.join(CLASSES)}"
        )
    return data


def find_cifar10(name: str, directory: Path | None) -> Path | None:
    """The folder or the archive that would be read: in `directory`, or else in the usual places."""
    names = (JPEG_FOLDER,) if name == "cifar10_jpeg" else (FOLDER, ARCHIVE)
    places = (root / each for root in roots(directory) for each in names)
    return next((place for place in places if place.exists()), None)


def _read_folder(folder: Path) -> dict[str, bytes]:
    try:
        return {name: _read_file(folder / name) for name in (*TRAIN, *TEST)}
    except OSError as problem:
        raise DataError(
            f"cannot read {problem.filename!r}: {problem.strerror}; unpack {ARCHIVE} again"
        ) from None


def _read_file(path: Path) -> bytes:
    """The content, or the first byte too many of it."""
    with path.open("rb") as file:
        return file.read(RECORDS * RECORD_BYTES + 1)


def _read_archive(archive: Path) -> dict[str, bytes]:
    _refuse_other_archive(archive)
    contents = {}
    try:
        with tarfile.open(archive) as tar:
            for name in (*TRAIN, *TEST):
                file = tar.extractfile(f"{FOLDER}/{name}")
                if file is None:
                    raise KeyError(f"{name} is no file")
                contents[name] = file.read()
    except (OSError, EOFError, KeyError, zlib.error, tarfile.TarError) as problem:
        reason = " ".join(str(problem).split())
        raise DataError(f"cannot read {str(archive)!r}: {reason}; get it anew") from None
    return contents


def _refuse_other_archive(archive: Path) -> None:
    try:
        with archive.open("rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
    except OSError as problem:
        raise DataError(f"cannot read {str(archive)!r}: {problem.strerror}") from None
    if found != ARCHIVE_MD5:
        raise DataError(
            f"{str(archive)!r} is not the file that was published, its MD5 is {found}; delete it "
            "to have it downloaded anew"
        )


def _split(contents: Sequence[bytes], place: Path) -> Split:
    """The images and labels in the records of some files."""
    for content in contents:
        if len(content) != RECORDS * RECORD_BYTES:
            found = min(len(content), RECORDS * RECORD_BYTES)
            raise DataError(
                f"a file of {str(place)!r} has {'more than ' * (len(content) > found)}{found:,} "
                f"bytes, not {RECORDS * RECORD_BYTES:,}; unpack {ARCHIVE} again"
            )
    records = np.frombuffer(b"".join(contents), np.uint8).reshape(-1, RECORD_BYTES)
    labels = records[:, 0].astype(np.int64)
    if labels.max() >= len(CLASSES):
        raise DataError(f"{str(place)!r} holds the label {labels.max()}; they go from 0 to 9")
    images = records[:, 1:].reshape(-1, *SHAPE).copy()
    return Split(torch.from_numpy(images), torch.from_numpy(labels))

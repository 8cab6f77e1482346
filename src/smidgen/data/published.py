"""MNIST and the two data sets made in its shape, found where torchvision would have put them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from smidgen.data.dataset import Data, Split
from smidgen.data.idx import read_split
from smidgen.errors import DataError

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class Published:
    """What is known about a data set; `sha256` is of the uncompressed FILES, in their order."""

    folder: str
    classes: tuple[str, ...]
    mean: float
    std: float
    mirrors: tuple[str, ...]
    sha256: tuple[str | None, ...]


PUBLISHED = {
    "mnist": Published(
        folder="MNIST",
        classes=tuple("0123456789"),
        mean=0.1307,  # as the field prints it; 0.13066 and 0.30811 to five digits
        std=0.3081,
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        sha256=(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
}


def load_published(name: str, directory: Path | None, download: bool) -> Data:
    """The published data set of that name, found on this machine or downloaded.

    Raises DataError where it is not found and may not or cannot be downloaded, and where a file
    is not what was published.
    """
    known = PUBLISHED[name]
    folders = [root / known.folder / "raw" for root in search_path(directory)]
    found = next((files for files in map(find_files, folders) if files), None)
    if found is None:
        raise DataError(
            f"{name!r} is not in {' or '.join(repr(str(folder)) for folder in folders)}; "
            f"run `smidgen data {name}` to download it, or choose --data digits"
        )
    return Data(name, *_read_splits(found, known), known.classes, known.mean, known.std)


def search_path(directory: Path | None) -> list[Path]:
    """Where data sets are looked for: `directory`, or else the usual places in their order."""
    if directory is not None:
        return [directory]
    import pooch

    named = os.environ.get("SMIDGEN_DATA")
    return [*([Path(named)] if named else []), Path("data"), Path(pooch.os_cache("smidgen"))]


def find_files(folder: Path) -> list[Path] | None:
    """The four files in a folder, each raw or gzipped, or None where one is missing."""
    files = [
        next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
        for name in FILES
    ]
    return None if None in files else [path for path in files if path]


def _read_splits(files: list[Path], known: Published) -> tuple[Split, Split]:
    train_images, train_labels, test_images, test_labels = zip(files, known.sha256, strict=True)
    splits = []
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        split = read_split(images[0], labels[0], (images[1], labels[1]))
        splits.append(split)
    return splits[0], splits[1]

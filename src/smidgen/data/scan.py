"""What lies in a folder of pictures: a subfolder for each class, in parts or not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smidgen.data.dataset import TEST_ONE_IN, VALIDATION_ONE_IN, stratified_mask
from smidgen.errors import DataError
from smidgen.inputs import class_names

PARTS = ("train", "val", "test")
MOST_FILES = 5_000_000

Labels = NDArray[np.int64]
Files = tuple[list[str], Labels]  # and their labels


@dataclass(frozen=True, eq=False)
class Listing:
    """The pictures of a data set in their order: those to fit, to validate, to test.

    `files` are relative to the directory, with a label each; `counts` is how many of them each of
    the three parts has. `digest` is of the files' names, sizes and times of their last change.
    """

    directory: Path
    classes: tuple[str, ...]
    files: list[str]
    labels: Labels
    counts: tuple[int, int, int]
    digest: str


def scan(directory: Path) -> Listing:
    """The pictures in a folder with subfolders train, test and, if there is one, val.

    Each holds one folder for each class, the same ones. Without val, one in twelve of every class
    of train is to validate; without any of them, the folder holds the class folders itself, and one
    in six of every class is to test. The choice depends on the names of the files alone. Hidden
    files are left out. Raises DataError for folders that make no data set.
    """
    digest = hashlib.sha256()
    folders = _folders(directory)
    if set(folders) & set(PARTS):
        _refuse_parts(directory, folders)
        classes = _folders(directory / "train")
        files = {}
        for part in folders:
            odd = set(classes) ^ set(_folders(directory / part))
            if odd:
                raise DataError(
                    f"{str(directory)!r} must hold the same classes in train and in {part}; only "
                    f"one of them has {', '.join(sorted(odd))}"
                )
            files[part] = _list_files(directory, f"{part}/", classes, digest)
        fit, val = files["train"], files.get("val") or ([], np.zeros(0, np.int64))
        if "val" not in files:
            fit, val = _cut(fit, VALIDATION_ONE_IN)
        parts = (fit, val, files["test"])
    else:
        whole = _list_files(directory, "", folders, digest)
        classes = folders
        train, test = _cut(whole, TEST_ONE_IN)
        parts = (*_cut(train, VALIDATION_ONE_IN), test)
    class_names(classes)
    counts = (len(parts[0][0]), len(parts[1][0]), len(parts[2][0]))
    names = [name for files_there, _ in parts for name in files_there]
    labels = np.concatenate([labels_there for _, labels_there in parts])
    return Listing(directory, tuple(classes), names, labels, counts, digest.hexdigest())


def _refuse_parts(directory: Path, folders: Sequence[str]) -> None:
    missing = {"train", "test"} - set(folders)
    odd = [name for name in folders if name not in PARTS]
    if missing:
        raise DataError(
            f"no folder {str(directory / missing.pop())!r}; train and test go together, val may "
            "stand beside them; or put the class folders into one folder without any of the three"
        )
    if odd:
        raise DataError(
            f"{str(directory / odd[0])!r} lies beside train and test and would not be read; only "
            "val may; rename it or move it away"
        )


def _list_files(directory: Path, part: str, classes: Sequence[str], digest: hashlib._Hash) -> Files:
    """The files of the classes, sorted, and their labels; each is added to the digest."""
    if len(classes) < 2:
        raise DataError(
            f"{str(directory / part)!r} holds {len(classes)} class folders; make one for each of "
            "at least two classes, with its pictures inside"
        )
    files: list[str] = []
    counts = []
    for name in classes:
        entries = _entries(directory / part / name, MOST_FILES - len(files))
        if not entries:
            raise DataError(
                f"the class folder {str(directory / part / name)!r} is empty; put pictures into it "
                "or remove it"
            )
        for entry in entries:
            stat = entry.stat()
            file = f"{part}{name}/{entry.name}"
            files.append(file)
            digest.update(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode(errors="replace"))
        counts.append(len(entries))
    return files, np.repeat(np.arange(len(classes), dtype=np.int64), counts)


def _cut(files: Files, one_in: int) -> tuple[Files, Files]:
    """The files without one in so many of every class, and those."""
    names, labels = files
    chosen = stratified_mask(labels, one_in)

    def those(mask: NDArray[np.bool_]) -> Files:
        return [names[place] for place in np.flatnonzero(mask)], labels[mask]

    return those(~chosen), those(chosen)


def _folders(directory: Path) -> list[str]:
    return [entry.name for entry in _entries(directory) if entry.is_dir()]


def _entries(directory: Path, most: int = MOST_FILES) -> list[os.DirEntry[str]]:
    """What is in a folder, sorted, without the hidden files that file managers leave."""
    found = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    found.append(entry)
                if len(found) > most:
                    raise DataError(
                        f"more than {MOST_FILES:,} files at {str(directory)!r}; so many are not "
                        "read; is it the right folder?"
                    )
    except OSError as problem:
        raise DataError(
            f"cannot read the folder {str(directory)!r}: {problem.strerror}; check the path"
        ) from None
    return sorted(found, key=lambda entry: entry.name)

"""Data sets as uint8 tensors, their splits, and where they come from.

    data = load_data("mnist")
    fit, val = data.fit_split()        # 55,000 and 5,000, the same in every run
    batch = normalise(fit.images[:64], data.preprocess)

Names: mnist, fashion_mnist, kmnist, digits, cifar10, cifar10_jpeg, idx:DIR (four IDX files) and
folder:DIR (pictures), which takes options: folder:DIR?size=48x64&grey.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from smidgen.data.dataset import Data, Origin, Split, normalise, standardise
from smidgen.data.options import split_name, with_options
from smidgen.data.published import PUBLISHED, find_published, load_published
from smidgen.errors import DataError, did_you_mean

__all__ = [
    "Data",
    "Origin",
    "Split",
    "find_data",
    "load_data",
    "normalise",
    "standardise",
    "with_options",
]

CIFAR10 = ("cifar10", "cifar10_jpeg")
NAMES = (*PUBLISHED, *CIFAR10, "digits", "idx:DIR", "folder:DIR")


def _silent(done: int, total: int) -> None:
    pass


def load_data(
    name: str = "mnist",
    directory: Path | str | None = None,
    download: bool = True,
    watch: Callable[[int, int], None] = _silent,
    **options: Any,
) -> Data:
    """The data set of that name: in memory, or, of pictures, mapped to it.

    A published set is looked for in `directory`, or else in $SMIDGEN_DATA, ./data and the user's
    cache folder, in torchvision's layout (DIR/MNIST/raw), and downloaded if `download` allows it:
    to `directory`, or else to $SMIDGEN_DATA or the cache folder.

    `options` are those of a folder of pictures and go into its name: `size`, (height, width),
    `grey`, `glyph`, `skip_bad`. `watch` is called with how many pictures are decoded, of how many.
    Raises DataError for an unknown name or option, and for data that cannot be found, read or
    trusted.
    """
    name = with_options(name, **options)
    root = Path(directory) if directory else None
    if name in PUBLISHED:
        return load_published(name, root, download)
    # The other sources need Pillow, which is slow to import.
    if name == "digits":
        from smidgen.data.digits import load_digits

        return load_digits()
    if name in CIFAR10:
        from smidgen.data.cifar import load_cifar10, load_cifar10_jpeg

        is_published = name == "cifar10"
        return load_cifar10(root, download) if is_published else load_cifar10_jpeg(root, watch)
    own = _own_folder(name)
    if name.startswith("idx:"):
        from smidgen.data.own import load_idx_folder

        return load_idx_folder(name, own)
    from smidgen.data.pictures import load_picture_folder

    return load_picture_folder(name, own, split_name(name)[1], watch=watch)


def find_data(name: str = "mnist", directory: Path | str | None = None) -> Path | None:
    """The folder that `load_data` would read, or None where it would read none, or download.

    Raises DataError for an unknown name.
    """
    root = Path(directory) if directory else None
    if name in PUBLISHED:
        return find_published(name, root)
    if name in CIFAR10:
        from smidgen.data.cifar import find_cifar10

        return find_cifar10(name, root)
    return None if name == "digits" else _own_folder(name)


def _own_folder(name: str) -> Path:
    kind, colon, folder = name.partition(":")
    if kind not in ("idx", "folder") or not colon:
        raise DataError(f"unknown data set {name!r}{did_you_mean(name, NAMES)}")
    if kind == "folder":
        folder, _ = split_name(name)
    if not folder:
        raise DataError(f"{name!r} names no folder; write {kind}:DIR")
    return Path(folder).expanduser()

"""Data sets as uint8 tensors, their splits, and where they come from.

    data = load_data("mnist")
    fit, val = data.fit_split()        # 55,000 and 5,000, the same in every run
    batch = normalise(fit.images[:64], data.preprocess)

Names: mnist, fashion_mnist, kmnist, digits, idx:DIR (four IDX files), folder:DIR (pictures).
"""

from __future__ import annotations

from pathlib import Path

from smidgen.data.dataset import Data, Split, normalise, standardise
from smidgen.data.published import PUBLISHED, find_published, load_published
from smidgen.errors import DataError, did_you_mean

__all__ = ["Data", "Split", "find_data", "load_data", "normalise", "standardise"]

NAMES = (*PUBLISHED, "digits", "idx:DIR", "folder:DIR")


def load_data(
    name: str = "mnist", directory: Path | str | None = None, download: bool = True
) -> Data:
    """The data set of that name, in memory.

    A published set is looked for in `directory`, or else in $SMIDGEN_DATA, ./data and the user's
    cache folder, in torchvision's layout (DIR/MNIST/raw), and downloaded if `download` allows it:
    to `directory`, or else to $SMIDGEN_DATA or the cache folder.

    Raises DataError for an unknown name, and for data that cannot be found, read or trusted.
    """
    if name in PUBLISHED:
        return load_published(name, Path(directory) if directory else None, download)
    # The other sources need Pillow or scikit-learn, which are slow to import.
    if name == "digits":
        from smidgen.data.digits import load_digits

        return load_digits()
    from smidgen.data.own import load_idx_folder, load_picture_folder

    own = _own_folder(name)
    return load_idx_folder(own) if name.startswith("idx:") else load_picture_folder(own)


def find_data(name: str = "mnist", directory: Path | str | None = None) -> Path | None:
    """The folder that `load_data` would read, or None where it would read none, or download.

    Raises DataError for an unknown name.
    """
    if name in PUBLISHED:
        return find_published(name, Path(directory) if directory else None)
    return None if name == "digits" else _own_folder(name)


def _own_folder(name: str) -> Path:
    kind, colon, folder = name.partition(":")
    if kind not in ("idx", "folder") or not colon:
        raise DataError(f"unknown data set {name!r}{did_you_mean(name, NAMES)}")
    if not folder:
        raise DataError(f"{name!r} names no folder; write {kind}:DIR")
    return Path(folder).expanduser()

"""Data sets as uint8 tensors, their splits, and where they come from.

data = load_data("mnist")          # also fashion_mnist, kmnist, digits, idx:DIR, folder:DIR
fit, val = data.fit_split()        # 55,000 and 5,000, the same in every run
batch = normalise(fit.images[:64], data.mean, data.std)
"""

from __future__ import annotations

from pathlib import Path

from smidgen.data.dataset import Data, Split, normalise, standardise
from smidgen.data.published import PUBLISHED, load_published
from smidgen.errors import DataError, did_you_mean

__all__ = ["Data", "Split", "load_data", "normalise", "standardise"]


def load_data(
    name: str = "mnist", directory: Path | str | None = None, download: bool = True
) -> Data:
    """The data set of that name, in memory.

    Named sets are looked for in `directory`, or else in $SMIDGEN_DATA, ./data and the user's
    cache folder, in torchvision's layout (DIR/MNIST/raw), and downloaded if `download` allows it.

    Raises DataError for an unknown name, and for data that cannot be found, read or trusted.
    """
    if name in PUBLISHED:
        return load_published(name, Path(directory) if directory is not None else None, download)
    if name == "digits":
        from smidgen.data.digits import load_digits

        return load_digits()
    raise DataError(f"unknown data set {name!r}{did_you_mean(name, [*PUBLISHED, 'digits'])}")

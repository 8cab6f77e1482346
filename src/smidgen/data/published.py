"""MNIST and the two data sets made in its shape, found where torchvision would have put them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from smidgen.data.dataset import Data
from smidgen.data.download import download_files
from smidgen.data.idx import read_idx, read_split
from smidgen.data.places import download_root, roots
from smidgen.errors import DataError
from smidgen.inputs import Preprocess
from smidgen.mnist import CLASSES, GLYPH

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
           "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")  # fmt: skip


@dataclass(frozen=True)
class Published:
    """What is known about a data set; `digests` are of the uncompressed FILES, in their order."""

    folder: str
    classes: tuple[str, ...]
    preprocess: Preprocess
    mirrors: tuple[str, ...]
    digests: tuple[str, str, str, str]


PUBLISHED = {
    "mnist": Published(
        folder="MNIST",
        classes=CLASSES,
        preprocess=GLYPH,
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        digests=(
            "sha256:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "sha256:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "sha256:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "sha256:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    # https://github.com/zalandoresearch/fashion-mnist
    "fashion_mnist": Published(
        folder="FashionMNIST",
        classes=FASHION,
        preprocess=GLYPH.with_statistics(0.2860, 0.3530),
        mirrors=(
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        digests=(
            "sha256:c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "sha256:bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "sha256:5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "sha256:0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    # https://github.com/rois-codh/kmnist
    "kmnist": Published(
        folder="KMNIST",
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        preprocess=GLYPH.with_statistics(0.1918, 0.3483),
        mirrors=(
            "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            "https://storage.googleapis.com/kuzushiji-mnist/",
        ),
        digests=(
            "md5:92be26ec9822e900ac425d0a0aa84ced",  # the one file whose SHA-256 we do not know
            "sha256:2a16eeae62da984b8bd24fa32e31d47291f01dac3fe84d5594f304f71e7d374b",
            "sha256:76fbd229ce87db80dd281af5e6670de4ad0e42fb30a7bd643972994c47c1f42e",
            "sha256:a11dc742be8e781a40a92f53d6a4957e7b7d36df2faa097659131ebfd8fd60c6",
        ),
    ),
}


def load_published(name: str, directory: Path | None, download: bool) -> Data:
    """The published data set of that name, found on this machine or downloaded.

    Raises DataError where it is not found and may not or cannot be downloaded, and where a file
    is not what was published.
    """
    known = PUBLISHED[name]
    folder = find_published(name, directory)
    if folder is None:
        folder = download_root(directory) / known.folder / "raw"
        if not download:
            raise DataError(
                f"{name!r} is not on this machine; run `smidgen data {name}` to download it to "
                f"{str(folder)!r}, name its folder with --data-dir, or choose --data digits"
            )
        checks = {
            f"{name}.gz": partial(read_idx, digest=digest)
            for name, digest in zip(FILES, known.digests, strict=True)
            if not find_file(folder, name).is_file()
        }
        download_files(checks, known.mirrors, folder)
    files = [find_file(folder, name) for name in FILES]
    train = read_split((files[0], files[1]), known.digests[:2])
    test = read_split((files[2], files[3]), known.digests[2:])
    return Data(name, train, test, known.classes, known.preprocess)


def find_published(name: str, directory: Path | None) -> Path | None:
    """The folder that holds the four files: in `directory`, or else in the usual places."""
    folders = (root / PUBLISHED[name].folder / "raw" for root in roots(directory))
    whole = (folder for folder in folders if all(find_file(folder, f).is_file() for f in FILES))
    return next(whole, None)


def find_file(folder: Path, name: str) -> Path:
    """The path of a file that may be gzipped; whether or not either exists."""
    return folder / name if (folder / name).is_file() else folder / f"{name}.gz"

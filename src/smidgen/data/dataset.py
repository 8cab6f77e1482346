"""Images in memory, and the split that everything is chosen on.

N images of C channels, H × W pixels; they stay uint8 until a batch is normalised. Of a glyph, 0 is
background.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smidgen.errors import DataError
from smidgen.inputs import InputShape, Preprocess

VALIDATION_ONE_IN = 12  # 5,000 of MNIST's 60,000
TEST_ONE_IN = 6  # 10,000 of MNIST's 70,000, where a data set has no test images of its own
SPLIT_SEED = 28


@dataclass(frozen=True, eq=False)
class Split:
    """Images uint8 (N, C, H, W) with their labels int64 (N,); `len` is N.

    `soft` are the probabilities, float32 (N, classes), that a teacher gives them, if there is one.
    """

    images: Tensor
    labels: Tensor
    soft: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Split:
        """The same on that device."""
        soft = None if self.soft is None else self.soft.to(device)
        return Split(self.images.to(device), self.labels.to(device), soft)

    def rows(self, chosen: Tensor | slice) -> Split:
        """What is at these places, in their order."""
        soft = None if self.soft is None else _rows(self.soft, chosen)
        return Split(_rows(self.images, chosen), _rows(self.labels, chosen), soft)

    def take(self, mask: NDArray[np.bool_]) -> Split:
        """The images where the mask, bool (N,), is true, in their own order."""
        return self.rows(torch.from_numpy(np.flatnonzero(mask)))


def _rows(tensor: Tensor, chosen: Tensor | slice) -> Tensor:
    """`tensor[chosen]`, which copies by numbers where `index_select` copies by images."""
    return tensor[chosen] if isinstance(chosen, slice) else tensor.index_select(0, chosen)


@dataclass(frozen=True)
class Origin:
    """Where the images of a folder of pictures come from.

    `treatment` says in one sentence what was done to the pictures, `sizes` how many there are of
    each HEIGHTxWIDTH, the most frequent first, and `skipped` why some were left out; `cache` is the
    folder where the images are kept.
    """

    treatment: str
    sizes: Mapping[str, int]
    skipped: tuple[str, ...]
    cache: Path


@dataclass(frozen=True, eq=False)
class Data:
    """A data set: training and test images, class names, and how its pictures become images.

    Where `fit_images` is known, the first so many training images are to fit and the others to
    validate.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    preprocess: Preprocess
    fit_images: int | None = None
    origin: Origin | None = None

    @property
    def input_shape(self) -> InputShape:
        """The shape of one image."""
        return self.preprocess.shape

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the images, the labels, the classes, and how they are cut and fed.

        Mean and deviation follow from the images, to rounding, and are left out.
        """
        facts = [self.classes, self.fit_images, self.preprocess.kind, self.preprocess.shape]
        digest = hashlib.sha256(json.dumps(facts).encode())
        for tensor in (part for s in (self.train, self.test) for part in (s.images, s.labels)):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
            for chunk in tensor.split(4096):  # of what is mapped, little is in memory at a time
                digest.update(chunk.contiguous().numpy())
        return digest.hexdigest()

    def without_test(self) -> Data:
        """The same with no test images; a training on it has no test accuracy.

        Neither the test images nor their labels are read.
        """
        return replace(self, test=self.train.rows(slice(0)))

    def fit_split(self) -> tuple[Split, Split]:
        """The training images cut in two, those to fit and those to validate.

        1/12 of every class is to validate, where the data set has no validation images of its own.
        The cut never changes: 55,000 and 5,000 for MNIST, the same images in every run.
        """
        if self.fit_images is not None:  # slices, which copy nothing
            cut = self.fit_images
            return self.train.rows(slice(cut)), self.train.rows(slice(cut, None))
        held_out = stratified_mask(self.train.labels.numpy(), VALIDATION_ONE_IN)
        return self.train.take(~held_out), self.train.take(held_out)


def stratified_mask(labels: NDArray[np.int64], one_in: int) -> NDArray[np.bool_]:
    """A mask, bool (N,), of one in so many images of every class, at least one of each.

    It depends on the labels, int (N,), alone; the total is N / one_in, rounded.
    """
    counts = np.bincount(labels)
    shares = counts // one_in
    left_over = round(len(labels) / one_in) - shares.sum()
    largest_remainders = np.argsort(-(counts % one_in), kind="stable")[:left_over]
    shares[largest_remainders] += 1
    # NumPy promises that RandomState, unlike Generator, keeps its stream from version to version.
    order = np.random.RandomState(SPLIT_SEED).permutation(len(labels))
    by_class = np.split(order[np.argsort(labels[order], kind="stable")], np.cumsum(counts)[:-1])
    mask = np.zeros(len(labels), dtype=bool)
    for images, share in zip(by_class, np.maximum(shares, 1), strict=True):
        mask[images[:share]] = True
    return mask


def normalise(images: Tensor, preprocess: Preprocess) -> Tensor:
    """The images as a model takes them, (images / 255 - mean) / std: uint8 to float32 (N, C, H, W).

    Raises DataError for images that are not uint8, which would be scaled twice.
    """
    if images.dtype != torch.uint8:
        raise DataError(f"normalise takes uint8 images from 0 to 255, not {images.dtype}")
    return standardise(images.float(), preprocess)


def standardise(levels: Tensor, preprocess: Preprocess) -> Tensor:
    """Levels from 0 to 255, float32 (N, C, H, W), made (level / 255 - mean) / std in place."""
    mean, std = (
        (255 * torch.tensor(values, dtype=torch.float64)).to(levels).view(-1, 1, 1)
        for values in (preprocess.mean, preprocess.std)
    )
    return levels.sub_(mean).div_(std)


def mean_and_std(images: Tensor) -> tuple[float, float]:
    """The mean and the standard deviation of images / 255, over all pixels; images are uint8."""
    histogram = torch.zeros(256, dtype=torch.int64)
    rows = max(1, 2**22 // images[0].numel())
    for chunk in torch.split(images, rows):  # bincount widens its input, eight bytes a pixel
        histogram += chunk.flatten().bincount(minlength=256)
    levels = torch.arange(256, dtype=torch.float64) / 255
    shares = histogram.double() / histogram.sum()
    mean = (shares * levels).sum()
    variance = (shares * (levels - mean) ** 2).sum()
    return mean.item(), variance.sqrt().item()

"""What a data set's user should know before an accuracy on it is believed."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from smidgen.data.dataset import Data

IMBALANCE = 3  # training images of the largest class for each of the smallest
CHUNK = 4096  # images


def find_problems(data: Data) -> list[str]:
    """A sentence each on test images that are training images too, on classes, on their sizes."""
    classes = len(data.classes)
    train, test = (split.labels.bincount(minlength=classes) for split in (data.train, data.test))
    found = []
    known = np.isin(_hash(data.test.images), _hash(data.train.images)).sum()
    if known:
        found.append(
            f"{known:,} of {len(data.test):,} test images are training images too, byte for byte; "
            "an accuracy on them says little about new pictures"
        )
    least, most = int(train.argmin()), int(train.argmax())
    if train[most] > IMBALANCE * train[least]:
        found.append(
            f"{train[most]:,} training images of {data.classes[most]!r} and {train[least]:,} of "
            f"{data.classes[least]!r}; the accuracy hides how the small classes do"
        )
    absent = [name for name, count in zip(data.classes, test.tolist(), strict=True) if not count]
    if absent:
        found.append(f"no test image of {', '.join(absent)}; nothing will be known about it")
    return found


def _hash(images: Tensor) -> NDArray[np.uint64]:
    """64 bits of the BLAKE2b hash of each image's bytes."""
    hashes = bytearray()
    for chunk in images.split(CHUNK):
        for image in chunk.numpy():
            content = np.ascontiguousarray(image).data
            hashes += hashlib.blake2b(content, digest_size=8).digest()
    return np.frombuffer(bytes(hashes), np.uint64)

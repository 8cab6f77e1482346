"""The IDX file format of MNIST: two zero bytes, a type, a rank, the sizes, then big-endian data.

Format: http://yann.lecun.com/exdb/mnist/ (archived), section "The IDX file format".
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from smidgen.data.dataset import Split
from smidgen.errors import DataError
from smidgen.inputs import LARGEST, SMALLEST

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_DIMENSIONS = 4
MAX_BYTES = 2**30  # twenty times MNIST; a header with a larger size counts as damaged
GZIP_MAGIC = b"\x1f\x8b"
AGAIN = "get the file anew"

Array = NDArray[Any]


def read_idx(path: Path, digest: str | None = None) -> Array:
    """The array in an IDX file, raw or gzipped whatever its name, of the type it was written in.

    `digest` ("sha256:…" or "md5:…", in hexadecimal) is what the uncompressed content must have.
    No more is decompressed than the header says. Raises DataError for a file that is missing,
    damaged, or of another digest.
    """
    try:
        with path.open("rb") as file:
            if file.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC):
                with gzip.GzipFile(fileobj=file) as stream:
                    return _read(stream, path, digest)
            return _read(file, path, digest)
    except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
        raise DataError(f"{str(path)!r} is damaged: {problem}; {AGAIN}") from None
    except OSError as problem:
        raise DataError(f"cannot read {str(path)!r}: {problem.strerror or problem}") from None


def _read(stream: BinaryIO | gzip.GzipFile, path: Path, digest: str | None) -> Array:
    header = stream.read(4)
    if len(header) < 4 or header[:2] != b"\0\0" or header[2] not in DTYPES:
        raise DataError(f"{str(path)!r} is no IDX file: it starts with {header!r}; {AGAIN}")
    rank = header[3]
    if not 1 <= rank <= MAX_DIMENSIONS:
        raise DataError(
            f"{str(path)!r} announces {rank} dimensions; 1 to {MAX_DIMENSIONS} are allowed; {AGAIN}"
        )
    sizes = stream.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise DataError(f"{str(path)!r} ends inside its header; {AGAIN}")
    shape = struct.unpack(f">{rank}I", sizes)
    dtype = np.dtype(DTYPES[header[2]])
    size = math.prod(shape) * dtype.itemsize
    most = math.prod(max(1, side) for side in shape) * dtype.itemsize  # were no side 0
    if most > MAX_BYTES:
        raise DataError(
            f"{str(path)!r} announces {most:,} bytes; at most {MAX_BYTES:,} are read; {AGAIN}"
        )
    content = stream.read(size + 1)  # one more than there should be, to see the end
    if len(content) != size:
        found = "more" if len(content) > size else f"{len(content):,}"
        raise DataError(f"{str(path)!r} announces {size:,} bytes and holds {found}; {AGAIN}")
    if digest and not _matches(digest, header, sizes, content):
        raise DataError(
            f"{str(path)!r} is not the file that was published, its digest differs; delete it to "
            f"have it downloaded anew, or use it as data of your own, idx:{path.parent}"
        )
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def read_split(files: Sequence[Path], digests: Sequence[str | None] = (None, None)) -> Split:
    """The split in two IDX files, images and labels, which must fit each other.

    Raises DataError where the images are not uint8 (N, H, W) with sides from 8 to 128, the labels
    not N whole numbers from 0 up, or N is 0.
    """
    images_path, labels_path = files
    images, labels = read_idx(images_path, digests[0]), read_idx(labels_path, digests[1])
    sides = images.shape[1:]
    if images.dtype != np.uint8 or len(sides) != 2 or not _are_allowed(sides):
        raise DataError(
            f"{str(images_path)!r} holds {_describe(images)}; images are uint8 N × H × W, sides "
            f"from {SMALLEST} to {LARGEST}; are the files swapped?"
        )
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(
            f"{str(labels_path)!r} holds {_describe(labels)}; labels are N whole numbers; "
            "are the files swapped?"
        )
    if len(images) != len(labels) or len(images) == 0:
        raise DataError(
            f"{len(images):,} images in {str(images_path)!r} and {len(labels):,} labels in "
            f"{str(labels_path)!r}; there must be one label an image; do the files belong together?"
        )
    if labels.min() < 0:
        raise DataError(f"{str(labels_path)!r} holds the label {labels.min()}; count from 0")
    return Split(torch.from_numpy(images)[:, None], torch.from_numpy(labels.astype(np.int64)))


def _are_allowed(sides: Sequence[int]) -> bool:
    return all(SMALLEST <= side <= LARGEST for side in sides)


def _matches(digest: str, *parts: bytes) -> bool:
    algorithm, _, expected = digest.partition(":")
    found = hashlib.new(algorithm)
    for part in parts:
        found.update(part)
    return found.hexdigest() == expected


def _describe(array: Array) -> str:
    return f"{array.dtype} {' × '.join(str(size) for size in array.shape)}"

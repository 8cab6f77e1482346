"""IDX files for tests, written from the format's description and not by the code under test."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np

CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(">HBB", 0, CODES[array.dtype.name], array.ndim)
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return header + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def small_set(classes: int = 3, train: int = 24, test: int = 6) -> dict[str, bytes]:
    """Four IDX files by name; image i of each split is filled with the grey level i."""
    contents = []
    for count in (train, test):
        levels = np.arange(count, dtype=np.uint8)
        contents.append(idx_bytes(np.broadcast_to(levels[:, None, None], (count, 28, 28))))
        contents.append(idx_bytes(levels % classes))
    return dict(zip(NAMES, contents, strict=True))


def write_set(folder: Path, files: dict[str, bytes], zipped: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


def digests(files: dict[str, bytes]) -> tuple[str, ...]:
    return tuple(f"sha256:{hashlib.sha256(content).hexdigest()}" for content in files.values())

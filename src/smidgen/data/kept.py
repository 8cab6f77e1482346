"""Images that were decoded once, kept in the cache folder as a .npy file that is mapped to memory.

Each set is a folder of its own, images.npy and about.json, made under another name and renamed
when it is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from smidgen.errors import DataError
from smidgen.files import cache_folder

VERSION = 1  # of what lies in the cache, and of how pictures become images

Images = NDArray[np.uint8]
About = dict[str, Any]
Build = Callable[["Writer"], About]


class Writer:
    """Writes blocks of images, uint8 (N, C, H, W), one after the other into a .npy file.

    `rows` is how many there are so far, `digest` the SHA-256 of their bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest, self.shape, self.rows = file, hashlib.sha256(), (0, 0, 0), 0
        file.write(_header((0, 0, 0, 0)))

    def write(self, images: Images) -> None:
        """Adds a block; all blocks have images of one shape."""
        block = np.ascontiguousarray(images).data.cast("B") if len(images) else b""
        self.shape = images.shape[1:]
        self.rows += len(images)
        self.digest.update(block)
        self.file.write(block)

    def finish(self) -> About:
        """Completes the file; says how many bytes it has and what the digest of its images is."""
        self.file.seek(0)
        self.file.write(_header((self.rows, *self.shape)))
        self.file.seek(0, os.SEEK_END)
        return {"bytes": self.file.tell(), "sha256": self.digest.hexdigest()}


def keep(source: str, digest: str, build: Build) -> tuple[Images, About, Path]:
    """The images of a source that has this digest, what is known about them, and their folder.

    They are read from the cache, or else `build` writes them and says what is known. The images are
    mapped to memory: pages are read when they are needed, and changes stay in this process. What
    the cache held of another content of the source is removed. Of several processes one builds.
    Raises DataError where the cache cannot be written, and what `build` raises; it then keeps
    nothing.
    """
    from filelock import FileLock

    root = pictures_folder()
    place = f"{hashlib.sha256(source.encode(errors='replace')).hexdigest()[:16]}-"
    folder = root / (place + hashlib.sha256(f"{VERSION} {digest}".encode()).hexdigest()[:16])
    there = _open(folder)
    if there is None:
        with _explained(root):
            root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(root / f"{place}lock")
        with lock:
            there = _open(folder) or _build(folder, build)
            for old in root.glob(f"{place}*"):
                if old != folder and old.is_dir():
                    shutil.rmtree(old, ignore_errors=True)
    return (*there, folder)


def is_intact(folder: Path) -> bool:
    """Whether the images in a folder of the cache are those that were written: reads all."""
    images, about = _open(folder) or (np.zeros(0, np.uint8), {"sha256": ""})
    found = hashlib.sha256()
    for start in range(0, len(images), 4096):
        found.update(np.ascontiguousarray(images[start : start + 4096]).data.cast("B"))
    return bool(found.hexdigest() == about["sha256"])


def pictures_folder() -> Path:
    """Where decoded pictures are kept: in $SMIDGEN_CACHE, or else in the user's cache folder."""
    return cache_folder() / "pictures"


def _open(folder: Path) -> tuple[Images, About] | None:
    """What was kept, or None where it is not there or not complete."""
    try:
        about: About = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        path = folder / "images.npy"
        if path.stat().st_size != about["bytes"]:
            return None
        return np.load(path, mmap_mode="c", allow_pickle=False), about
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _build(folder: Path, build: Build) -> tuple[Images, About]:
    """Builds under another name, and renames; leaves nothing of what fails."""
    with _explained(folder.parent):
        making = Path(mkdtemp(prefix=".making-", dir=folder.parent))
        try:
            with (making / "images.npy").open("wb") as file:
                writer = Writer(file)
                about = build(writer) | writer.finish()
            (making / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)  # one that was cut short
            making.replace(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    made = _open(folder)
    if made is None:
        raise DataError(f"the cache {str(folder)!r} was changed while it was written; try again")
    return made


def _header(shape: Sequence[int]) -> bytes:
    """The 128 bytes before the numbers of a .npy file, format 1.0, of any shape.

    Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    what = {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + f"{what!s:117}\n".encode()


@contextmanager
def _explained(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise DataError(
            f"cannot keep the decoded pictures in {str(root)!r}: {problem.strerror or problem}; "
            "make room there, or name another folder in $SMIDGEN_CACHE"
        ) from None

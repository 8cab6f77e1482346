"""A copy of a submission that is bounded, whatever the submission is."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_MOST_FILES = 10_000
_MOST_FILES_LARGE = 16  # how many files of the largest size the copy may hold
_DEEPEST = 30  # folders inside folders


@dataclass
class Copied:
    """Where the copy lies, the digest of what is in it, and whether something was too much."""

    path: Path
    digest: str = ""
    left_out: int = 0
    files: int = 0
    size_bytes: int = field(default=0, repr=False)


def copy_submission(source: Path, folder: Path, file_mb: int) -> Copied:
    """A copy of a file or a folder, below `folder`: its ordinary files, and nothing else.

    Hidden files, links, devices and the like are left out; so are files of more than `file_mb`
    megabytes, and what goes beyond 16 times that or 10,000 files. A submission that is itself a
    link is followed. Raises OSError for what is neither a file nor a folder, or cannot be read.
    """
    largest = file_mb * 2**20
    copied = Copied(folder / source.name)
    digest = hashlib.sha256()
    if not source.is_dir():
        content = _read(source, largest, follow=True)
        if content is None:
            is_file = stat.S_ISREG(source.stat().st_mode)
            raise OSError(f"it is larger than {file_mb} MB" if is_file else "it is no file")
        copied.path.write_bytes(content)
        copied.digest = hashlib.sha256(content).hexdigest()
        return copied
    for path, name, is_folder in _walk(source, copied):
        if is_folder:
            (copied.path / name).mkdir(parents=True)
            continue
        content = _read(path, largest)
        room = _MOST_FILES_LARGE * largest - copied.size_bytes
        if content is None or copied.files == _MOST_FILES or len(content) > room:
            copied.left_out += 1
            continue
        copied.files, copied.size_bytes = copied.files + 1, copied.size_bytes + len(content)
        (copied.path / name).write_bytes(content)
        digest.update(b"%d %d " % (len(os.fsencode(name)), len(content)) + os.fsencode(name))
        digest.update(content)
    copied.digest = digest.hexdigest()
    return copied


def _walk(source: Path, copied: Copied) -> Iterator[tuple[Path, str, bool]]:
    """The files and folders below a folder, from the top down, with their names from there."""
    waiting = deque([(source, "", 0)])
    while waiting:
        folder, prefix, depth = waiting.popleft()
        yield folder, prefix, True
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            name = os.path.join(prefix, entry.name)
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False) and depth < _DEEPEST:
                waiting.append((Path(entry.path), name, depth + 1))
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path), name, False
            else:
                copied.left_out += 1


def _read(path: Path, largest: int, follow: bool = False) -> bytes | None:
    """What an ordinary file holds; None for anything else, and for more than `largest` bytes."""
    flags = os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    handle = os.open(path, flags)
    with contextlib.closing(os.fdopen(handle, "rb")) as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        content = file.read(largest + 1)
    return content if len(content) <= largest else None

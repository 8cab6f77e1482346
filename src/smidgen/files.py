"""Files that are whole or absent, whatever fails, and the folder of what can be made again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from smidgen.errors import RunError

BEGIN, END = ".smidgen-", ".part"  # of the names of files that are being written


def write_whole(path: Path, content: bytes | str) -> None:
    """Writes a file completely or not at all: first another one beside it, which is then renamed.

    A text is written as UTF-8. What has been written is on the disk, not in a buffer. Raises
    RunError where the disk is full or read-only, and for a text that UTF-8 does not have.
    """
    data = encoded(content, path) if isinstance(content, str) else content
    with explained(path, "write"):
        handle, name = tempfile.mkstemp(END, BEGIN, path.parent)
        try:
            with open(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(handle, 0o644)
                os.fsync(handle)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
        _sync_folder(path.parent)


def append_whole(path: Path, text: str) -> None:
    """Adds a text to a file completely or not at all. Raises RunError as `write_whole` does."""
    with explained(path, "write"), path.open("ab", buffering=0) as file:
        before, rest = file.tell(), encoded(text, path)
        try:
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except BaseException:
            file.truncate(before)
            raise


def make_folder(path: Path) -> None:
    """Makes a folder, and those above it, where there is none. Raises RunError if it cannot."""
    with explained(path, "write"):
        path.mkdir(parents=True, exist_ok=True)


def remove_parts(folder: Path) -> None:
    """Removes what a process that was killed had begun to write there."""
    for path in folder.glob(f"{BEGIN}*{END}"):
        path.unlink(missing_ok=True)


def sha256(content: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def encoded(text: str, path: Path) -> bytes:
    """The text in UTF-8. Raises RunError, which names the file, for half a surrogate pair."""
    try:
        return text.encode()
    except UnicodeEncodeError as problem:
        raise RunError(
            f"cannot write {str(path)!r}: {text[problem.start]!r} is no letter of UTF-8; rename "
            "what has it in its name"
        ) from None


def cache_folder() -> Path:
    """The folder of what can be made again: $SMIDGEN_CACHE, or else the user's cache folder."""
    import pooch  # a tenth of a second

    return Path(os.environ.get("SMIDGEN_CACHE") or pooch.os_cache("smidgen"))


@contextlib.contextmanager
def explained(path: Path, verb: str) -> Iterator[None]:
    """Makes an OSError a RunError, "cannot `verb` `path`", with the reason and what helps."""
    try:
        yield
    except OSError as problem:
        hint = "; free the space or choose another --out" if verb == "write" else ""
        reason = problem.strerror or str(problem)
        raise RunError(f"cannot {verb} {str(path)!r}: {reason}{hint}") from None


def _sync_folder(folder: Path) -> None:
    """Puts the names in a folder on the disk, so that a renamed file survives a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Downloads published files from one mirror after the other, and checks their content."""

from __future__ import annotations

import os
import queue
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from smidgen.errors import DataError

ANSWER_TIMEOUT_S = 6.0  # for the first answer; after that the network counts as missing
READ_TIMEOUT_S = 10.0  # without a byte during a download
CHUNK_BYTES = 2**16
PART = ".download-"  # begins the names of folders that hold what has not been checked yet


def download_files(
    checks: Mapping[str, Callable[[Path], object]], mirrors: Sequence[str], folder: Path
) -> None:
    """Downloads the files that a folder lacks; each has a check that raises DataError for others.

    `mirrors` end in "/". Of several processes one downloads, while the others wait. Raises
    DataError where no mirror answers (within 6 seconds), where none gives the right content, and
    where the folder cannot be written.
    """
    first = _first_to_answer(mirrors, next(iter(checks)), ANSWER_TIMEOUT_S)
    if first is None:
        raise DataError(
            f"cannot download: none of {', '.join(map(_host, mirrors))} answers; connect to the "
            f"network, put the files into {str(folder)!r} yourself, or choose --data digits"
        )
    from filelock import FileLock

    ordered = sorted(mirrors, key=lambda mirror: mirror != first)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            for left in folder.glob(f"{PART}*"):  # of a download that was killed
                shutil.rmtree(left)
            for name, check in checks.items():
                if not (folder / name).exists():
                    _download(folder / name, check, ordered)
    except OSError as problem:
        raise DataError(
            f"cannot write to {str(folder)!r}: {problem.strerror or problem}; make room there, or "
            "name another folder with --data-dir"
        ) from None


def _download(archive: Path, check: Callable[[Path], object], mirrors: Sequence[str]) -> None:
    """Writes one archive from the first mirror that gives the right content."""
    import pooch
    from requests import RequestException

    load = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(), chunk_size=CHUNK_BYTES, timeout=READ_TIMEOUT_S
    )
    failures = []
    for mirror in mirrors:
        with TemporaryDirectory(prefix=PART, dir=archive.parent) as scratch:
            part = Path(scratch) / archive.name
            try:
                load(mirror + archive.name, str(part), None)
                check(part)
            except RequestException as problem:
                failures.append(f"{_host(mirror)} failed ({type(problem).__name__})")
            except DataError:
                failures.append(f"{_host(mirror)} gave another content")
            else:
                os.replace(part, archive)
                return
    raise DataError(
        f"cannot download {archive.name!r}: {', '.join(failures)}; try again later, or put it into "
        f"{str(archive.parent)!r} yourself"
    )


def _first_to_answer(mirrors: Sequence[str], name: str, timeout_s: float) -> str | None:
    """The mirror that is first to answer that it has the file, or None after so many seconds.

    All are asked at once, in threads that are not joined: without a network, the resolution of a
    name can block for longer than the timeout.
    """
    import pooch
    from requests import RequestException

    answers: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()
    ask = pooch.HTTPDownloader(timeout=timeout_s)

    def put_answer(mirror: str) -> None:
        try:
            answers.put((mirror, ask(mirror + name, "", None, check_only=True)))
        except RequestException:
            answers.put((mirror, False))

    for mirror in mirrors:
        threading.Thread(target=put_answer, args=(mirror,), daemon=True).start()
    deadline = time.monotonic() + timeout_s
    for _ in mirrors:
        try:
            mirror, has_file = answers.get(timeout=max(deadline - time.monotonic(), 0))
        except queue.Empty:
            return None
        if has_file:
            return mirror
    return None


def _host(mirror: str) -> str:
    return urlsplit(mirror).hostname or mirror

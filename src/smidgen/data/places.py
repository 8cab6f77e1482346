"""Where published data sets lie, and where they are downloaded to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def roots(directory: Path | None) -> Iterator[Path]:
    """Where data sets are looked for: in `directory`, or else in the usual places, in order."""
    if directory is not None:
        yield directory
        return
    named = os.environ.get("SMIDGEN_DATA")
    if named:
        yield Path(named)
    yield Path("data")
    yield _cache()


def download_root(directory: Path | None) -> Path:
    """Where downloads go: to `directory`, or else to $SMIDGEN_DATA or the user's cache folder."""
    return directory or Path(os.environ.get("SMIDGEN_DATA") or _cache())


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("smidgen"))

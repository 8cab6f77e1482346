"""The epochs of a training as a run of TensorBoard, where that is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smidgen.errors import MissingExtraError
from smidgen.train.progress import Progress, Watch


def require_tensorboard() -> Any:
    """torch's writer. Raises MissingExtraError, which says how to install what it needs."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError(
            "--tensorboard needs tensorboard; install it with: pip install 'smidgen[tensorboard]'"
        ) from None
    return SummaryWriter


@contextmanager
def write_tensorboard(run: Path) -> Iterator[Watch]:
    """What a training calls with its progress: each epoch's figures go to `run`/tensorboard.

    The folder is made by the first epoch. Raises MissingExtraError at once.
    """
    make = require_tensorboard()
    writers: list[Any] = []

    def write(progress: Progress) -> None:
        if progress.row is None:
            return
        if not writers:  # epochs from here on, which were written before a kill, count no more
            writers.append(make(str(run / "tensorboard"), purge_step=progress.epoch))
        for name, value in progress.row.items():
            if value is not None and name != "epoch":
                writers[0].add_scalar(name, value, progress.epoch)
        writers[0].flush()

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()

"""A training as HTML while it runs: a page that loads itself again, or the cell of a notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from smidgen.files import write_whole
from smidgen.run import Run
from smidgen.train.progress import Progress, Watch

PAGE = "live.html"  # in the run's folder
_SECONDS = 1.0  # between two writings
_HEAD = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>a training</title>'
    '<meta name="color-scheme" content="light dark"><style>body{font-family:sans-serif}</style>'
)


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook, which shows HTML."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def watch_in_notebook(run: Path) -> Watch:
    """What a training calls with its progress: the cell shows it, and the curves so far."""
    from IPython.display import HTML, display

    cell = display(HTML(""), display_id=True)
    return _now_and_then(lambda progress: cell.update(HTML(html_progress(Run(run), progress))))


@contextmanager
def write_page(run: Path, opened: Callable[[str], object]) -> Iterator[Watch]:
    """What a training calls with its progress: `run`/live.html shows it, and loads itself again.

    `opened` is called once with the page's address. The page stays, at rest, when it ends.
    """
    path, last = run / PAGE, list[Progress]()

    def write(progress: Progress) -> None:
        refresh = f'<meta http-equiv="refresh" content="{_SECONDS:.0f}">'
        write_whole(path, (_HEAD + refresh + html_progress(Run(run), progress)).encode())
        if not last:
            opened(path.resolve().as_uri())
        last[:] = [progress]

    try:
        yield _now_and_then(write)
    finally:
        if last and run.is_dir():
            write_whole(path, (_HEAD + html_progress(Run(run), last[0])).encode())


def html_progress(run: Run, progress: Progress) -> str:
    """How far a training is, with the figures and curves of its epochs."""
    return (
        f'<p><progress max="{progress.images_total}" value="{progress.images_seen}"></progress> '
        f"epoch {progress.epoch} of {progress.epochs}, loss {progress.loss:.4f}, accuracy "
        f"{100 * progress.accuracy:.2f} %, {progress.seconds_left:.0f} s left</p>"
        f"{run._repr_html_()}"
    )


def _now_and_then(show: Watch) -> Watch:
    """Calls `show` once a second at most, and at the end of each epoch."""
    shown = [-_SECONDS]

    def watch(progress: Progress) -> None:
        if progress.finished_epoch or time.monotonic() - shown[0] >= _SECONDS:
            show(progress)
            shown[0] = time.monotonic()

    return watch

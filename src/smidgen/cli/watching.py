"""How a training is watched: on the terminal, in a browser, for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from smidgen.cli.output import console, interruptible, percent

if TYPE_CHECKING:
    from smidgen.train import Progress, Watch

BLOCKS = "▁▂▃▄▅▆▇█"
MOST_EPOCHS = 30  # in a sparkline


@contextmanager
def watching(
    folder: Path, json_: bool, quiet: bool = False, tensorboard: bool = False, open_: bool = False
) -> Iterator[Watch]:
    """What a training in that folder calls with its progress; it shows all that is asked for.

    Under torchrun one process does. Ctrl-C ends with the line that goes on.
    """
    import webbrowser

    from smidgen.train.distributed import is_main_process
    from smidgen.train.follow import write_page
    from smidgen.train.tensorboard import write_tensorboard

    with interruptible(lambda: _how_to_resume(folder)), ExitStack() as stack:
        if not is_main_process():
            yield lambda progress: None
            return
        watches = []
        if tensorboard:
            watches.append(stack.enter_context(write_tensorboard(folder)))
        if open_:

            def opened(address: str) -> None:
                console(json_, quiet).print(f"to follow it: {address}", soft_wrap=True)
                webbrowser.open(address)

            watches.append(stack.enter_context(write_page(folder, opened)))
        if not quiet:
            watches.append(stack.enter_context(_on_terminal(json_)))

        def watch(progress: Progress) -> None:
            for each in watches:
                each(progress)

        yield watch


def _how_to_resume(folder: Path) -> str:
    from smidgen.run import Run

    if Run(folder).has_checkpoint():
        return f"smidgen train --resume {folder} goes on after the last whole epoch"
    return "no epoch was finished, so that nothing is kept"


@contextmanager
def _on_terminal(json_: bool) -> Iterator[Watch]:
    """A live line on a terminal, one plain line an epoch elsewhere."""
    people = console(json_)

    def plain(progress: Progress) -> None:
        if progress.finished_epoch:
            people.print(f"{_described(progress)}  {progress.seconds_left:.0f} s left")

    if not people.is_terminal:
        yield plain
        return
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    accuracies: list[float] = []  # of the epochs, validated where that is known
    with Bar(BarColumn(20), TextColumn("{task.description}"), TimeRemainingColumn(),
             console=people) as bar:  # fmt: skip
        task = bar.add_task("starting", total=None)

        def live(progress: Progress) -> None:
            if progress.row:
                validated = progress.row["val_accuracy"]
                accuracies.append(progress.accuracy if validated is None else validated)
                bar.print(_described(progress))
            bar.update(task, total=progress.images_total, completed=progress.images_seen,
                       description=f"{_described(progress)} {sparkline(accuracies)}")  # fmt: skip

        yield live


def _described(progress: Progress) -> str:
    validated = (progress.row or {}).get("val_accuracy")
    validation = "" if validated is None else f"validation {percent(validated)}  "
    return (
        f"epoch {progress.epoch}/{progress.epochs}  loss {progress.loss:.4f}  "
        f"accuracy {percent(progress.accuracy)}  {validation}"
        f"{progress.images_per_second:,.0f} images/s"
    )


def sparkline(values: list[float]) -> str:
    """The last values as blocks, the lowest of them the flattest.

    >>> sparkline([0.5, 0.75, 1.0])
    '▁▅█'
    """
    values = values[-MOST_EPOCHS:]
    low, high = min(values, default=0.0), max(values, default=0.0)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((value - low) * scale)] for value in values)

"""Commands that ship networks: export, serve."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smidgen.cli.completion import complete_target, one_of
from smidgen.cli.options import DataDir, Json, Quiet
from smidgen.cli.output import console, emit, percent

if TYPE_CHECKING:
    from rich.console import Console

    from smidgen.export.parity import Watch

ExportTargets = Annotated[
    list[str],
    typer.Argument(
        metavar="TARGET...",
        help="Models, run or bundle folders; html takes several.",
        autocompletion=complete_target,
    ),
]
ExportFormat = Annotated[
    str,
    typer.Option(
        "--format", help="onnx, c, html or hub.", autocompletion=one_of("onnx", "c", "html", "hub")
    ),
]


def export(
    targets: ExportTargets,
    format_: ExportFormat,
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    bits: Annotated[int, typer.Option(help="Of a weight: 8, 4 or 2.")] = 8,
    with_preprocessing: Annotated[
        bool,
        typer.Option(
            "--with-preprocessing",
            help="onnx: take uint8 images (batch, height, width, channels), not normalised ones.",
        ),
    ] = False,
    data_dir: DataDir = None,
    allow_mismatch: Annotated[
        bool, typer.Option("--allow-mismatch", help="Write an export that is not equal, too.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder in use.")] = False,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Write a network as C, ONNX, a page or a folder for the hub, proven equal to its source."""
    screen = console(json_)
    with _progress(console(json_, quiet)) as watch:
        from smidgen.data import load_data
        from smidgen.export import require_format, write_export
        from smidgen.target import load

        require_format(format_)  # before what takes time, or a network
        loaded = [load(target) for target in targets]
        data = load_data(loaded[0].own_data(data_dir), data_dir)
        watch("quantising, writing and proving", 0, 0)
        written = write_export(
            loaded, data, format_, out, bits, allow_mismatch, force, with_preprocessing, watch
        )
    if json_:
        return emit(written)
    return screen.print("\n".join(_summary(written)))


@contextmanager
def _progress(screen: Console) -> Iterator[Watch]:
    """A live line on a terminal: what is done, how far it is, and the time so far."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("loading", total=None)

        def watch(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        yield watch


def _summary(written: dict[str, Any]) -> Iterator[str]:
    """What was written, line by line, from the document of an export."""
    yield from written["files"]
    yield f"{written['weight_bytes']:,} bytes of weights"
    accuracy = written["accuracy"]
    yield ", ".join(
        f"{percent(accuracy[key])} in {name}"
        for key, name in (("float", "float"), ("integer", "integers"))
        if key in accuracy
    )
    for proof in written["proofs"]:
        if proof["max_abs_diff"] == 0:
            yield f"{proof['runner']}: {proof['images']:,} images the same to the bit"
        else:
            yield (
                f"{proof['runner']}: {proof['label_mismatches']:,} of {proof['images']:,} labels "
                f"differ, logits by at most {proof['max_abs_diff']:.2g}"
            )
    if "footprint" in written:
        size = written["footprint"]
        yield f"{size['flash_bytes']:,} bytes of flash, {size['ram_bytes']:,} of RAM on Cortex-M0+"


def serve(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TARGET]...",
            help="By default the shipped frontier models.",
            autocompletion=complete_target,
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="On 127.0.0.1; 0 takes any that is free.")] = 8000,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Open a page in the browser where networks read what one draws, or photos and the camera."""
    import webbrowser

    from smidgen.export.document import page_document
    from smidgen.export.html import policy, render
    from smidgen.serve import serve

    document = page_document(targets or [], data_dir)
    names = [model["name"] for model in document["models"]]

    def ready(url: str) -> None:
        if json_:
            emit({"url": url, "models": names})
        console(json_).print(f"{', '.join(names)} at {url} until you press Ctrl-C")
        webbrowser.open(url)

    serve(render(document), policy(document), port, ready)

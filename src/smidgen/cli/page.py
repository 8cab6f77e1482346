"""The command that shows the draw-a-digit page: serve."""

from __future__ import annotations

from typing import Annotated

import typer

from smidgen.cli.options import DataDir, Json
from smidgen.cli.output import console, emit


def serve(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TARGET]...", help="By default the shipped frontier models."),
    ] = None,
    port: Annotated[int, typer.Option(help="On 127.0.0.1; 0 takes any that is free.")] = 8000,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Open the draw-a-digit page in the browser, where networks read what one draws."""
    import webbrowser

    from smidgen.export.document import page_document
    from smidgen.export.html import render
    from smidgen.serve import serve

    document = page_document(targets or [], data_dir)
    names = [model["name"] for model in document["models"]]

    def ready(url: str) -> None:
        if json_:
            emit({"url": url, "models": names})
        console(json_).print(f"{', '.join(names)} at {url} until you press Ctrl-C")
        webbrowser.open(url)

    serve(render(document), port, ready)

"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
DataName = Annotated[
    str | None,
    typer.Option("--data", help="mnist, fashion_mnist, kmnist, digits, idx:DIR or folder:DIR."),
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Where data sets lie [default: $SMIDGEN_DATA, ./data, the user's cache]."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
TargetName = Annotated[
    str, typer.Argument(metavar="TARGET", help="A model's name, a run folder or a bundle folder.")
]

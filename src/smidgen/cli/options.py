"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smidgen.cli.completion import (
    complete_budget,
    complete_model,
    complete_recipe,
    complete_setting,
    complete_target,
    one_of,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
NAMED_DATA = ("mnist", "fashion_mnist", "kmnist", "cifar10", "cifar10_jpeg", "digits")
DATA_NAMES = f"{', '.join(NAMED_DATA)}, idx:DIR or folder:DIR[?OPTIONS]."
complete_data = one_of(*NAMED_DATA)
DataName = Annotated[
    str | None, typer.Option("--data", help=DATA_NAMES, autocompletion=complete_data)
]
Size = Annotated[
    str | None,
    typer.Option(metavar="HxW", help="The images' size, of folder:DIR [default: the pictures']."),
]
Grey = Annotated[bool, typer.Option("--grey", help="One channel, of folder:DIR.")]
Glyph = Annotated[
    bool, typer.Option("--glyph", help="Digits in MNIST's frame, not photos, in folder:DIR.")
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out pictures of folder:DIR that cannot be read.")
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Where data sets lie [default: $SMIDGEN_DATA, ./data, the user's cache]."),
]
Input = Annotated[
    str | None,
    typer.Option(
        "--input", metavar="CxHxW", help="The images of a file's network [default: guessed]."
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda or mps.", autocompletion=one_of("auto", "cpu", "cuda", "mps")
    ),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        help="A recipe's name or file [default: the model's own].", autocompletion=complete_recipe
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a recipe's key.",
        autocompletion=complete_setting,
    ),
]
ModelName = Annotated[
    str | None,
    typer.Argument(
        help="A model of the zoo, net.toml or FILE.py[:NAME].", autocompletion=complete_model
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors and the result only.")]
BudgetName = Annotated[
    str | None,
    typer.Option(help="A shipped budget's name, or a .toml file.", autocompletion=complete_budget),
]
Full = Annotated[bool, typer.Option("--full", help="Train on the validation images too.")]
TargetName = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="A model's name, a run folder or a bundle folder.",
        autocompletion=complete_target,
    ),
]
Teachers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RUN", help="Learn from a run or a model, too.", autocompletion=complete_target
    ),
]

"""The command that measures speed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from smidgen.cli.completion import complete_model, one_of
from smidgen.cli.options import DataDir, Json
from smidgen.cli.output import console, emit
from smidgen.errors import RecipeError, did_you_mean

SUITES = (
    "standard", "scaling", "roofline", "growth", "augmentation", "inference", "accuracy", "race",
)  # fmt: skip
QUICK = ("standard", "augmentation", "inference")


def bench(
    suites: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SUITE...",
            help=f"Of {', '.join(SUITES)} [default: the quick ones]",
            autocompletion=one_of(*SUITES),
        ),
    ] = None,
    inference: Annotated[bool, typer.Option("--inference", help="The suite of that name.")] = False,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model", help="For scaling, roofline and inference.", autocompletion=complete_model
        ),
    ] = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Measure this machine: the engine beside the standard loop, the roofline, time to accuracy."""
    chosen = list(suites or []) + (["inference"] if inference else []) or list(QUICK)
    for name in chosen:
        if name not in SUITES:
            raise RecipeError(f"unknown suite {name!r}{did_you_mean(name, SUITES)}")
    from smidgen.bench.report import table
    from smidgen.train.record import hardware, versions

    people = console(json_)
    measured: dict[str, Any] = {"hardware": hardware(), "versions": versions()}
    for name in chosen:
        with people.status(f"measuring {name}"):
            measured[name] = _measure(name, models, data_dir)
        people.print(table(name, measured[name]))
    machine = measured["hardware"]
    people.print(
        f"{machine['cpu']}, {machine['cores']} cores; torch {measured['versions']['torch']}"
    )
    if json_:
        emit(measured)


def _measure(suite: str, models: list[str] | None, data_dir: Any) -> Any:
    from smidgen import bench
    from smidgen.data import load_data
    from smidgen.mnist import GLYPH
    from smidgen.recipe import load_recipe
    from smidgen.zoo import create_model, has_weights, list_models

    fast = "smidgen_fast"
    measurements: dict[str, Callable[[], Any]] = {
        "standard": lambda: bench.against_standard_loop(load_data("mnist", data_dir)),
        "scaling": lambda: bench.scaling(
            models or ["skip_13k", "smidgen_8k"], load_data("mnist", data_dir)
        ),
        "roofline": lambda: bench.roofline(models or list_models(), load_data("mnist", data_dir)),
        "growth": lambda: bench.growth(load_data("mnist", data_dir)),
        "augmentation": bench.augmentation,
        "inference": lambda: {
            name: bench.latency(create_model(name, pretrained=has_weights(name)), GLYPH)
            for name in models or ["smidgen_8k"]
        },
        "accuracy": lambda: {
            name: bench.time_to_accuracy(
                load_recipe(name), load_data("mnist", data_dir), (0.95, 0.9831, 0.99, 0.994)
            )
            for name in (fast, f"{fast}_60s")
        },
        "race": lambda: bench.race(load_data("mnist", data_dir), load_recipe(fast)),
    }
    return measurements[suite]()

"""Commands that use a trained network: models, evaluate, predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smidgen.cli.loading import load_shown
from smidgen.cli.options import DataDir, DataName, Json, TargetName
from smidgen.cli.output import console, emit, percent, table


def models(
    pattern: Annotated[str, typer.Argument(help="A shell pattern, such as 'mnist_*'.")] = "*",
    json_: Json = False,
) -> None:
    """List the models of the zoo, with their parameters and whether weights ship with them."""
    from smidgen.anatomy import count_parameters
    from smidgen.zoo import create_model, has_weights, list_models

    sizes = {name: count_parameters(create_model(name)) for name in list_models(pattern)}
    if json_:
        return emit(
            {
                "models": [
                    {"model": name, "params": size, "weights": has_weights(name)}
                    for name, size in sizes.items()
                ]
            }
        )
    rows = [
        (name, f"{size:,}", "yes" if has_weights(name) else "no") for name, size in sizes.items()
    ]
    return console().print(table(("model", "parameters", "weights ship"), rows, right=[1]))


def evaluate(
    target: TargetName,
    data: DataName = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Score a trained network on the test images, with the interval its accuracy deserves."""
    from smidgen.evaluate import evaluate
    from smidgen.target import load

    loaded = load(target)
    score = evaluate(loaded, load_shown(data or loaded.data, data_dir))
    if json_:
        return emit(score)
    low, high = score["interval"]
    out = console()
    out.print(
        f"{loaded.name} on {data or loaded.data}: {percent(score['accuracy'])} of "
        f"{score['n']:,} test images, {score['correct']:,} correct"
    )
    out.print(f"95 % interval  {percent(low)} to {percent(high)} (Wilson)")
    out.print(f"loss           {score['loss']:.4f}")
    return out.print(f"calibration    {percent(score['ece'])} expected error")


def predict(
    target: TargetName,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="PNG, JPEG or WebP.")],
    json_: Json = False,
) -> None:
    """Name the class of pictures of any size: photos as they are, glyphs also dark on light."""
    from smidgen.evaluate import classify
    from smidgen.target import load

    loaded = load(target)
    predictions = classify(loaded, images)
    if json_:
        return emit({"predictions": predictions})
    for each in predictions:
        console().print(f"{each['image']}: {each['label']} ({percent(each['probability'], 1)})")
    return None

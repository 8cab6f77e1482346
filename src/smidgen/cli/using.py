"""Commands that use a trained network: models, evaluate, predict."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smidgen.cli.completion import complete_model
from smidgen.cli.loading import counting, load_shown
from smidgen.cli.options import DataDir, DataName, Json, TargetName
from smidgen.cli.output import console, emit, percent, table
from smidgen.errors import DataError, ModelError, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console


class SortKey(StrEnum):
    PARAMS = "params"
    ACCURACY = "accuracy"
    BYTES = "bytes"
    MACS = "macs"
    NAME = "name"


_SORT: dict[SortKey, Callable[[dict[str, Any]], Any]] = {
    SortKey.PARAMS: lambda row: (row["params"], row["model"]),
    SortKey.ACCURACY: lambda row: (-(row["test_accuracy"] or 0), row["params"]),
    SortKey.BYTES: lambda row: (row["weight_bytes_int8"], row["model"]),
    SortKey.MACS: lambda row: (row["macs"], row["model"]),
    SortKey.NAME: lambda row: row["model"],
}

_FIGURES = {
    "params": "params",
    "accuracy": "test_accuracy",
    "bytes": "weight_bytes_int8",
    "macs": "macs",
}
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter", metavar="'KEY<N'", help="Only those; accuracy is a fraction: 'accuracy>0.99'."
    ),
]


def models(
    pattern: Annotated[
        str,
        typer.Argument(help="A shell pattern, such as 'mnist_*'.", autocompletion=complete_model),
    ] = "*",
    sort: Annotated[
        SortKey, typer.Option(help="The column to sort by, accuracy from the best on.")
    ] = SortKey.PARAMS,
    filters: Filters = None,
    json_: Json = False,
) -> None:
    """List the models of the zoo by size, with what they weigh and what their weights reach."""
    from smidgen.anatomy import describe
    from smidgen.target import load
    from smidgen.zoo import has_weights, list_models, shipped_accuracy

    keep = [_parse_filter(text) for text in filters or []]
    names = list_models(pattern)
    if not names:
        raise ModelError(f"no model is named {pattern!r}{did_you_mean(pattern, list_models())}")
    rows: list[dict[str, Any]] = []
    for name in names:
        loaded = load(name, weights=False)
        anatomy = describe(loaded.model, loaded.preprocess.shape, name)
        rows.append(
            {"model": name, "params": anatomy.params, "weights": has_weights(name)}
            | {"macs": anatomy.macs, "weight_bytes_int8": anatomy.weight_bytes_int8}
            | {"test_accuracy": shipped_accuracy(name)}
        )
    rows = sorted((row for row in rows if all(test(row) for test in keep)), key=_SORT[sort])
    if json_:
        return emit({"models": rows})
    return _print_models(rows)


def _parse_filter(text: str) -> Callable[[dict[str, Any]], bool]:
    """The test that `params<8000` stands for; a figure that is not known passes none."""
    found = re.fullmatch(r" *(\w+) *(<=|>=|<|>) *([0-9][0-9_,]*(?:\.[0-9]+)?) *", text)
    if not found or found[1] not in _FIGURES:
        raise ModelError(
            f"--filter {text!r} is not a figure, a comparison and a number; the figures are "
            f"{', '.join(_FIGURES)}; for example --filter 'params<8000'"
        )
    figure, compare = _FIGURES[found[1]], _COMPARISONS[found[2]]
    limit = float(found[3].replace(",", ""))
    return lambda row: row[figure] is not None and compare(row[figure], limit)


def _print_models(rows: list[dict[str, Any]]) -> None:
    heading = ("model", "parameters", "accuracy", "bytes, int8", "MACs")
    cells = [
        (
            row["model"],
            f"{row['params']:,}",
            percent(row["test_accuracy"]),
            f"{row['weight_bytes_int8']:,}",
            f"{row['macs']:,}",
        )
        for row in rows
    ]
    out = console()
    out.print(table(heading, cells, right=range(1, 5)))
    out.print(
        "Accuracy: of the weights that ship, on the test images of MNIST or of what the name says."
    )


def evaluate(
    target: TargetName,
    data: DataName = None,
    data_dir: DataDir = None,
    robust: Annotated[
        bool, typer.Option("--robust", help="Add sixteen corruptions, calibration and coverage.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw how reliable confidence is.")
    ] = None,
    json_: Json = False,
) -> None:
    """Score a trained network on the test images, with the interval its accuracy deserves."""
    from smidgen.evaluate import evaluate
    from smidgen.target import load

    if plot is not None and not robust:
        raise DataError(f"--plot {plot} draws what --robust measures; add --robust")
    loaded = load(target)
    images = load_shown(data or loaded.own_data(data_dir), data_dir)
    if robust:
        with counting("corruptions") as watch:
            score = evaluate(loaded, images, robust=True, watch=watch)
    else:
        score = evaluate(loaded, images)
    if plot is not None:
        _draw_reliability(score["robustness"], plot)
    if json_:
        return emit(score)
    low, high = score["interval"]
    out = console()
    out.print(
        f"{loaded.name} on {images.name}: {percent(score['accuracy'])} of "
        f"{score['n']:,} test images, {score['correct']:,} correct"
    )
    out.print(f"95 % interval  {percent(low)} to {percent(high)} (Wilson)")
    out.print(f"loss           {score['loss']:.4f}")
    out.print(f"calibration    {percent(score['ece'])} expected error")
    return _print_robustness(score["robustness"], out) if robust else None


def predict(
    target: TargetName,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="PNG, JPEG or WebP.")],
    json_: Json = False,
) -> None:
    """Name the class of pictures of any size: photos as they are, glyphs also dark on light."""
    from smidgen.evaluate import predict
    from smidgen.target import load

    loaded = load(target)
    predictions = predict(loaded, images)
    if json_:
        return emit({"predictions": predictions})
    for each in predictions:
        console().print(f"{each['image']}: {each['label']} ({percent(each['probability'], 1)})")
    return None


def _draw_reliability(found: dict[str, Any], path: Path) -> None:
    from smidgen.metrics import ConfidenceBin
    from smidgen.report import save
    from smidgen.report.plots import reliability

    save(reliability([ConfidenceBin(**each) for each in found["reliability"]]), path)


def _print_robustness(found: dict[str, Any], out: Console) -> None:
    """The figures of `evaluate --robust` in 80 columns."""
    rows = [
        (name, *(percent(each) for each in scores), percent(sum(scores) / len(scores)))
        for name, scores in found["corruptions"].items()
    ]
    heading = ("corruption", *map(str, range(1, len(rows[0]) - 1)), "mean")
    out.print(table(heading, rows, "accuracy by strength", right=range(1, len(heading))))
    mean, error = found["mean_corruption_accuracy"], found["mean_corruption_ece"]
    out.print(f"mean corruption accuracy  {percent(mean)}, calibration {percent(error)}")
    curve = [
        (percent(each["coverage"], 0), percent(each["accuracy"])) for each in found["coverage"]
    ]
    out.print(table(("surest", "accuracy"), curve, right=[0, 1]))
    if found["detector"] is not None:
        shares = found["detector"]["turned_away"].items()
        strangers = ", ".join(f"{kind} {percent(share, 1)}" for kind, share in shares)
        out.print(f"turned away by the detector  {strangers}")
        out.print(f"test images it lets pass     {percent(found['detector']['kept'])}")

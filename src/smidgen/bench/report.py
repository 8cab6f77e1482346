"""Measurements as tables: for a terminal, and as the Markdown of docs/performance.md."""

from __future__ import annotations

import math
from typing import Any

from rich.table import Table

Rows = list[list[str]]

TITLES = {
    "standard": "tiny_mnist by its document's recipe: training, images/s",
    "scaling": "Training on one core and on all cores, images/s",
    "roofline": "Training FLOP/s over the most that the cores can do in float32",
    "growth": "Twice the images, and more epochs",
    "augmentation": "Rotation, translation, scale and shear, images/s",
    "inference": "Inference, ms a batch",
    "accuracy": "Seconds of training to a test accuracy, medians over the seeds",
    "race": "Seconds to 98 % test accuracy",
}


def table(suite: str, measured: Any) -> Table:
    """The suite's measurements as a table for a terminal."""
    heading, *rows = cells(suite, measured)
    drawn = Table(*heading, title=TITLES[suite])
    for column in drawn.columns[1:]:
        column.justify = "right"
    for row in rows:
        drawn.add_row(*row)
    return drawn


def markdown(suite: str, measured: Any) -> str:
    """The suite's measurements as a section of Markdown."""
    heading, *rows = cells(suite, measured)
    rule = ["---"] + ["---:"] * (len(heading) - 1)
    lines = ["| " + " | ".join(row) + " |" for row in (heading, rule, *rows)]
    return f"## {TITLES[suite]}\n\n" + "\n".join(lines) + "\n"


def cells(suite: str, measured: Any) -> Rows:
    """A heading and rows of text."""
    match suite:
        case "standard":
            rates = [[name, f"{rate:,.0f}"] for name, rate in measured["images_per_second"].items()]
            return [
                ["", ""],
                *rates,
                *([name, f"{x:.2f} ×"] for name, x in measured["ratios"].items()),
            ]
        case "scaling":
            heading = ["model", *next(iter(measured.values()))]
            return [heading, *([model, *_rates(row)] for model, row in measured.items())]
        case "roofline":
            heading = [
                *("model", "images/s", "MFLOP an image"),
                *("GFLOP/s at most", "share", "of a matrix product", "share"),
            ]
            return [heading, *([model, *_roof(row)] for model, row in measured.items())]
        case "growth":
            return [["", ""], *([name, f"{figure:,.3g}"] for name, figure in measured.items())]
        case "augmentation":
            return [["", "images/s"], *([name, f"{rate:,.0f}"] for name, rate in measured.items())]
        case "inference":
            return [
                ["model", "runner", "1 image", "1,000 images"],
                *(
                    [model, runner, *(f"{time:.3f}" for time in times.values())]
                    for model, runners in measured.items()
                    for runner, times in runners.items()
                ),
            ]
        case "race":
            taken = [[name, f"{seconds:.1f} s"] for name, seconds in measured["seconds"].items()]
            return [["", ""], *taken, ["standard / engine", f"{measured['ratio']:.1f} ×"]]
        case "accuracy":
            heading = ["recipe", "seeds", "mean accuracy", *next(iter(measured.values()))["median"]]
            return [heading, *([name, *_accuracy(row)] for name, row in measured.items())]
    raise ValueError(suite)


def _rates(row: dict[str, float]) -> list[str]:
    *rates, ratio = row.values()
    return [*(f"{rate:,.0f}" for rate in rates), f"{ratio:.2f} ×"]


def _roof(row: dict[str, float]) -> list[str]:
    return [
        f"{row['images_per_second']:,.0f}",
        f"{row['flops_per_image'] / 1e6:.2f}",
        f"{(row['peak_flops_per_second'] or math.nan) / 1e9:.0f}",
        f"{row['share'] or math.nan:.0%}",
        f"{row['matmul_flops_per_second'] / 1e9:.0f}",
        f"{row['matmul_share']:.0%}",
    ]


def _accuracy(row: dict[str, Any]) -> list[str]:
    # A target that was never reached is infinitely late, which JSON writes as null.
    times = ("–" if t in (None, float("inf")) else f"{t:.1f}" for t in row["median"].values())
    return [str(len(row["runs"])), f"{row['mean_accuracy']:.2%}", *times]

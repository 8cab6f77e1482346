"""The pictures of a run. Every function returns a figure; nothing here touches matplotlib's state.

Colours are those of Okabe and Ito, which colour-blind people can tell apart too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray
from torch import Tensor

from smidgen import metrics
from smidgen.augment import augment
from smidgen.data import Split
from smidgen.escape import plain
from smidgen.recipe import Augment
from smidgen.report.trial import Answers

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"
STYLES = {"train": (BLUE, "o", "-"), "val": (ORANGE, "s", "--"), "test": (GREEN, "^", ":")}
NAMES = {"train": "training", "val": "validation", "test": "test"}
ACCURACY_TICKS = (0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999)
LOSS_TICKS = tuple(digit * 10.0**power for power in range(-5, 3) for digit in (1, 2, 5))

Row = dict[str, float | None]


def curves(runs: Sequence[Sequence[Row]], final_test: float | None) -> Figure:
    """Loss and accuracy over the epochs: a thin line a run, and a strong one for their mean.

    The scales are logarithmic in the loss and in the error, so that the step from 99 to 99.5 %
    is as long as the one from 98 to 99 %.
    """
    figure = Figure((10, 4.4), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    losses = _draw_curves(left, runs, "loss")
    errors = _draw_curves(right, runs, "accuracy")
    epochs = len(runs[0])
    if final_test is not None and runs[0][-1]["test_accuracy"] is None:
        errors.append(_error(final_test))
        label = f"test  {100 * final_test:.2f} %"
        right.plot(epochs, errors[-1], "*", color=GREEN, markersize=13, label=label, zorder=4)
    _log_axis(left, losses, LOSS_TICKS, [f"{tick:g}" for tick in LOSS_TICKS])
    ticks = [_error(tick) for tick in ACCURACY_TICKS]
    _log_axis(right, errors, ticks, [f"{100 * tick:g} %" for tick in ACCURACY_TICKS])
    right.invert_yaxis()
    for axes, title, scale in (
        (left, "Loss", "logarithmic scale"),
        (right, "Accuracy", "scale stretched towards 100 %"),
    ):
        _title(axes, title)
        axes.set_ylabel(scale)
        axes.set_xlabel("epoch")
        axes.set_xlim(*((0.5, 1.5) if epochs == 1 else (1 - 0.02 * epochs, 1.02 * epochs)))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
        axes.grid(color="#E5E5E5", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, frameon=False,
                    fontsize=9, columnspacing=1.2, handlelength=1.8)  # fmt: skip
    return figure


def examples(split: Split, classes: Sequence[str], most: int = 100) -> Figure:
    """Labelled images in rows of ten: the first of each class, as many as there is room for."""
    per_class = -(-most // len(classes))
    first = [torch.nonzero(split.labels == c).flatten()[:per_class] for c in range(len(classes))]
    chosen = torch.cat(first)[:most]
    captions = [_short(classes[label]) for label in split.labels[chosen].tolist()]
    title = f"{len(chosen)} of {len(split):,} training images and their classes"
    return _gallery(split.images[chosen], captions, columns=10, title=title)


def augmented(split: Split, settings: Augment, generator: torch.Generator) -> Figure:
    """Bands of ten training images: the originals above, an augmented copy below each."""
    columns = min(10, len(split))
    bands = min(3, len(split) // columns)
    chosen = torch.randperm(len(split), generator=generator)[: bands * columns]
    originals = split.images[chosen]
    copies = augment(originals, settings, generator).round().clamp(0, 255).byte()
    figure = Figure((9, 1.87 * bands + 0.3), dpi=150, layout="constrained")
    figure.suptitle("Training images and what training makes of them",
                    x=0.01, ha="left", fontsize=12, fontweight="bold")  # fmt: skip
    for band, axes in enumerate(figure.subplots(bands, 1, squeeze=False).flat):
        part = slice(band * columns, (band + 1) * columns)
        pair = torch.cat([originals[part], copies[part]])
        centres = _mosaic(axes, pair, columns, gap=(2, 2))
        for row, text in (0, "original"), (columns, "augmented"):
            axes.text(-3, centres[row][1], text, ha="right", va="center", fontsize=10)
    return figure


def confusion(answers: Answers, classes: Sequence[str]) -> Figure:
    """The confusion matrix; only mistakes are coloured, for the diagonal would drown them."""
    counts, size = answers.confusion, len(classes)
    mistakes = counts - counts.diagonal().diag()
    figure = Figure((8, 7), dpi=150, layout="constrained")
    axes = figure.subplots()
    most = max(1, int(mistakes.max()))
    axes.imshow(mistakes.numpy(), cmap="Oranges", vmin=0, vmax=1.6 * most)
    font = max(4.0, min(10.0, 150 / size))
    for row, column in counts.nonzero().tolist():
        hit = row == column
        style = {"color": GREY, "fontsize": 0.8 * font} if hit else {"fontsize": font}
        axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", **style)
    notes: dict[str, Any] = {"textcoords": "offset points", "fontsize": font}
    for row, recall in enumerate(metrics.per_class(counts).recall.tolist()):
        place = (size - 0.5, row)
        axes.annotate(f"{100 * recall:.1f} %", place, (8, 0), va="center", **notes)
    axes.annotate("recall", (size - 0.5, -0.5), (8, 6), color=GREY, **notes)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(range(size), [_short(c) for c in classes], fontsize=font, parse_math=False)
    axes.tick_params(length=0)
    axes.tick_params(axis="x", rotation=45 if max(map(len, classes)) > 2 else 0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.spines[:].set_visible(False)
    added = f", {len(answers.logits)} seeds added up" if len(answers.logits) > 1 else ""
    _title(axes, f"{mistakes.sum():,} mistakes in {counts.sum():,} answers{added}")
    return figure


def reliability(bins: Sequence[metrics.ConfidenceBin]) -> Figure:
    """The reliability diagram: accuracy by confidence above, how many images below.

    What lies under the diagonal is answered too surely.
    """
    figure = Figure((5, 5.6), dpi=150, layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    used = [each for each in bins if each.n]
    places = [each.confidence for each in used]
    upper.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1)
    upper.plot(places, [each.accuracy for each in used], "o-", color=BLUE, markersize=5)
    error = sum(e.n * abs(e.confidence - e.accuracy) for e in used) / sum(e.n for e in used)
    _title(upper, f"Expected calibration error {100 * error:.2f} %")
    upper.set_ylabel("accuracy")
    upper.set_ylim(0, 1.02)
    widths = [each.high - each.low for each in bins]
    lower.bar([e.low for e in bins], [e.n for e in bins], widths, align="edge", color=ORANGE)
    lower.set_yscale("symlog", linthresh=1)
    lower.set_ylabel("images")
    lower.set_xlabel("confidence")
    lower.set_xlim(0, 1)
    for axes in (upper, lower):
        axes.grid(color="#E5E5E5", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def mistakes(answers: Answers, images: Tensor, classes: Sequence[str]) -> Figure:
    """The 24 surest wrong answers, the surest first; there must be one at least.

    `images` are uint8 (N, C, H, W). With several seeds the answer is that of their mean
    probabilities.
    """
    worst = answers.worst(24)
    confidence, predicted = answers.probabilities[worst].max(1)
    captions = [
        f"{_short(classes[true])} → {_short(classes[wrong])}\n{100 * chance:.1f} %"
        for true, wrong, chance in zip(
            answers.labels[worst].tolist(), predicted.tolist(), confidence.tolist(), strict=True
        )
    ]
    title = "Wrong answers, the surest first: true → predicted, and its probability"
    return _gallery(images[worst], captions, columns=6, title=title)


def _draw_curves(axes: Axes, runs: Sequence[Sequence[Row]], quantity: str) -> list[float]:
    """Draws the loss or the error of each split that was measured; the heights come back."""
    drawn: list[float] = []
    for split, (colour, marker, line) in STYLES.items():
        rows = [[row[f"{split}_{quantity}"] for row in run] for run in runs]
        values = np.array(rows, dtype=np.float64)  # (runs, epochs); None becomes nan
        if np.isnan(values).any():
            continue
        last = values[:, -1].mean()
        if quantity == "accuracy":
            heights, label = np.vectorize(_error)(values), f"{NAMES[split]}  {100 * last:.2f} %"
        else:
            heights, label = values.clip(LOSS_TICKS[0]), f"{NAMES[split]}  {last:.3f}"
        epochs = np.arange(1, values.shape[1] + 1)
        if len(runs) > 1:
            axes.plot(epochs, heights.T, color=colour, alpha=0.3, linewidth=0.8)
        (mean,) = axes.plot(epochs, heights.mean(0), line, color=colour, linewidth=2, label=label)
        mean.set(marker=marker if len(epochs) <= 20 else "", markersize=5)
        drawn += heights.flatten().tolist()
    return drawn


def _error(accuracy: float) -> float:
    """1 − accuracy, kept off zero for the logarithm."""
    return max(1 - accuracy, 1 - ACCURACY_TICKS[-1])


def _log_axis(
    axes: Axes, values: Sequence[float], ticks: Sequence[float], labels: Sequence[str]
) -> None:
    """A logarithmic y axis that begins and ends on a tick around the values."""
    low = max((tick for tick in ticks if tick <= min(values)), default=min(ticks))
    high = min((tick for tick in ticks if tick >= max(values)), default=max(ticks))
    axes.set_yscale("log")
    shown = {tick: label for tick, label in zip(ticks, labels, strict=True) if low <= tick <= high}
    axes.set_yticks(list(shown), list(shown.values()))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(low / 1.05, high * 1.05)


def _gallery(
    images: Tensor, captions: Sequence[str], columns: int, title: str | None = None
) -> Figure:
    """Images (N, C, H, W) in rows on a page of their size, each with its caption below."""
    height, width = images.shape[2:]
    pixel = 8 / (columns * (width + 6))  # inches, on a page 8 inches wide
    lines = [line for caption in captions for line in caption.split("\n")]
    font = min(9.0, 72 * pixel * (width + 4) / (0.62 * max(map(len, lines))))
    gap = round((1.5 * font / 72 * len(lines) / len(captions) + 0.1) / pixel)
    rows = -(-len(images) // columns)
    page = (8, rows * (height + gap) * pixel + (0.3 if title else 0))
    figure = Figure(page, dpi=150, layout="constrained")
    axes = figure.subplots()
    centres = _mosaic(axes, images, columns, gap=(gap, 6))
    for (x, y), caption in zip(centres, captions, strict=True):
        below = y + height / 2 + 1
        # Below its image: the layout need not measure each.
        axes.text(x, below, caption, ha="center", va="top", fontsize=font,
                  parse_math=False, in_layout=False)  # fmt: skip
    if title:
        _title(axes, title)
    return figure


def _mosaic(
    axes: Axes, images: Tensor, columns: int, gap: tuple[int, int]
) -> list[tuple[float, float]]:
    """Draws images (N, C, H, W) row by row on white; the centre (x, y) of each comes back."""
    height, width = images.shape[2:]
    rows = -(-len(images) // columns)
    step_y, step_x = height + gap[0], width + gap[1]
    canvas: NDArray[np.uint8] = np.full(
        (rows * step_y, columns * step_x - gap[1], 3), 255, np.uint8
    )
    centres = []
    for index, image in enumerate(
        images.permute(0, 2, 3, 1).numpy()
    ):  # grey is broadcast to three channels
        top, left = index // columns * step_y, index % columns * step_x
        canvas[top : top + height, left : left + width] = image
        centres.append((left + (width - 1) / 2, top + (height - 1) / 2))
    axes.imshow(canvas, interpolation="nearest")
    axes.axis("off")
    return centres


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=12, fontweight="bold")


def _short(name: str) -> str:
    name = plain(name)
    return name if len(name) <= 12 else f"{name[:11]}…"

"""The picture of the frontier: accuracy over parameters, public records beside ours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.path import Path as Polygon
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from smidgen.metrics import over_seeds

OURS, PUBLIC = "#0072b2", "#555555"
SIZES = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
SHARES = (0.98, 0.985, 0.99, 0.992, 0.994, 0.995, 0.996, 0.997, 0.9975)
LINE = {"arrowstyle": "-", "alpha": 0.4}

Label = tuple[float, float, float, str, str]  # x, y, what its bar adds to y, text, colour


def draw(
    ours: Mapping[str, dict[str, Any]], public: Sequence[dict[str, Any]], path: Path
) -> list[Text]:
    """Draws the picture for our rows by name and for public records; its labels come back."""
    figure = Figure(figsize=(11, 7), layout="constrained", dpi=150)
    axes = figure.subplots()
    labels = []
    for row in public:
        axes.plot(row["params"], 1 - row["accuracy"], "x", color=PUBLIC, markersize=7)
        labels.append((row["params"], 1 - row["accuracy"], 0.0, row["who"], PUBLIC))
    for name, row in ours.items():
        score = over_seeds([seed["test_accuracy"] for seed in row["seeds"]])
        params, error = row["params"], 1 - score.mean
        axes.errorbar(params, error, yerr=score.sd, fmt="o", color=OURS, capsize=3)
        labels.append((params, error, score.sd, f"{name}  {100 * score.mean:.2f} %", OURS))
    axes.set(xscale="log", yscale="log", xlim=(350, 60_000), ylim=(0.026, 0.0021))
    axes.set_xticks(SIZES, [_size(params) for params in SIZES])
    axes.set_yticks([1 - share for share in SHARES], [f"{100 * share:g} %" for share in SHARES])
    axes.minorticks_off()
    axes.set_xlabel("parameters")
    axes.set_ylabel("accuracy on the 10,000 test images (scale stretched towards 100 %)")
    axes.set_title("MNIST with few parameters: more accurate above, smaller on the left",
                   loc="left", fontsize=14, fontweight="bold")  # fmt: skip
    said = "smidgen: the mean over seeds; the bars are ± one standard deviation"
    axes.errorbar([], [], yerr=[], fmt="o", color=OURS, capsize=3, label=said)
    axes.plot([], [], "x", color=PUBLIC, label="public: single runs, mostly tuned on the test set")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    figure.canvas = FigureCanvasAgg(figure)
    written = write_apart(figure, axes, labels)
    figure.savefig(path)
    return written


def _size(params: int) -> str:
    """A number of parameters as people read it: 500, 2k."""
    return str(params) if params < 1000 else f"{params // 1000}k"


def write_apart(figure: Figure, axes: Axes, labels: Sequence[Label]) -> list[Text]:
    """Writes labels beside their points, so that none touches another, a point
    or its bar, or the picture's edge: those first that have a free place near by.

    A label that is further away has a line to its point, which crosses no label and no point.
    """
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    taken, lines = [_around(axes, label, 18) for label in labels], list[Polygon]()
    marks = {label: _around(axes, label, 7) for label in labels}
    legend = axes.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent(renderer))
    written = dict[Label, Text]()
    for away, label, turn in product((14, 22, 32, 44, 58, 74, 92), labels, range(12)):
        if label in written:
            continue
        x, y, _, text, colour = label
        angle = math.tau * turn / 12
        right, up = away * math.cos(angle), away * math.sin(angle)
        side = "left" if right > 1 else "right" if right < -1 else "center"
        note = axes.annotate(
            text, (x, y), (right, up), textcoords="offset points", ha=side, va="center",
            color=colour, fontsize=9,
            arrowprops=None if away == 14 else LINE | {"color": colour},
        )  # fmt: skip
        note.update_positions(renderer)
        box = Text.get_window_extent(note, renderer)  # without the line to its point
        centre = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
        line = Polygon([axes.transData.transform((x, y)), centre])
        crossed = (mark for mark in marks.values() if not mark.overlaps(marks[label]))
        if (
            axes.bbox.contains(box.x0, box.y0)
            and axes.bbox.contains(box.x1, box.y1)
            and not any(box.padded(3).overlaps(other) for other in taken)
            and not any(line.intersects_bbox(name) for name in (*taken[len(labels) :], *crossed))
            and not any(each.intersects_bbox(box.padded(3)) for each in lines)
        ):
            taken.append(box)
            lines.append(line)
            written[label] = note
        else:
            note.remove()
    if missing := [label[3] for label in labels if label not in written]:
        raise RuntimeError(f"no free place for {missing}")
    return [written[label] for label in labels]


def _around(axes: Axes, label: Label, margin: float) -> Bbox:
    """The place of a label's point and its bar, in pixels, with a margin."""
    x, y, bar, _, _ = label
    (left, high), (right, low) = axes.transData.transform([(x, y - bar), (x, y + bar)])
    return Bbox.from_extents(left - margin, low - margin / 2, right + margin, high + margin / 2)

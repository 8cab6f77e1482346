"""The picture of the frontier: its labels touch nothing, and its axes are read by people."""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from frontier_picture import draw


def row(params: int, *accuracies: float) -> dict[str, object]:
    return {"params": params, "seeds": [{"test_accuracy": each} for each in accuracies]}


OURS = {
    "one": row(1000, 0.99, 0.991, 0.992),
    "another of nearly its size": row(1020, 0.9902, 0.9912, 0.9918),
    "large": row(20_000, 0.996, 0.9962, 0.9964),
}
PUBLIC = [
    {"who": "someone/something", "params": 1000, "accuracy": 0.991},
    {"who": "someone/something-else", "params": 19_000, "accuracy": 0.9961},
]


def test_every_point_has_a_name_and_no_name_touches_another(tmp_path: Path) -> None:
    written = draw(OURS, PUBLIC, tmp_path / "frontier.png")
    assert [text.get_text() for text in written] == [
        "someone/something",
        "someone/something-else",
        "one  99.10 %",
        "another of nearly its size  99.11 %",
        "large  99.62 %",
    ]
    figure = written[0].get_figure()
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [Text.get_window_extent(text, renderer) for text in written]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    (axes,) = figure.axes
    for line in axes.lines:
        points = [p for p in line.get_xydata() if len(p)]
        for x, y in axes.transData.transform(points) if points else []:
            assert not any(box.contains(x, y) for box in boxes)
    lines = [(text, text.arrow_patch) for text in written if text.arrow_patch]
    assert lines
    for text, line in lines:
        path = line.get_path().transformed(line.get_transform())
        others = [box for each, box in zip(written, boxes, strict=True) if each is not text]
        assert not any(path.intersects_bbox(box, filled=False) for box in others)


def test_the_axes_are_in_thousands_and_in_accuracies(tmp_path: Path) -> None:
    (axes,) = draw(OURS, PUBLIC, tmp_path / "frontier.png")[0].get_figure().axes
    assert {"500", "1k", "10k"} <= {label.get_text() for label in axes.get_xticklabels()}
    assert {"99 %", "99.5 %"} <= {label.get_text() for label in axes.get_yticklabels()}
    assert "accuracy" in axes.get_ylabel()
    low, high = axes.get_ylim()
    assert low > high  # less error, more accuracy, is higher up
    assert axes.get_title(loc="left")
    said = [text.get_text() for text in axes.get_legend().get_texts()]
    assert any("standard deviation" in text for text in said)

"""Writes tests/handwriting.json, drawings by hand that judge the page, from tests/handwriting.txt.

    python tests/make_handwriting.py

Every drawing is put down by its own points; none is a bent copy of another. A line of the text is a
drawing: what it is, its place on the paper, and the strokes, for example

    7  30,20,45 : 8,6 50,4 90,2! 62,45 44,100 / 36,50 80,48

The place is the left edge, the upper edge and the size, in hundredths of the paper; points x,y are
hundredths of the size. A smooth line goes through the points of a stroke, with a corner at a point
marked `!`. A line `# name` begins a style of digits, or a kind of things that are no digits.

Which drawings may be used to choose something was laid down before any network saw one: the digits
of two styles (CHOOSING), and every fifth of the things that are no digits. They are in no figure.

Left out are things that honest people read as a digit: O, l, I, S, Z, B, D, G, Q, J, b, d, g, q, y,
a circle, an ellipse, a square, a slash, an exclamation mark, mirrored digits; and two digits beside
each other, which the page reads as two.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHOOSING = ("mouse", "latin american")
NO_DIGITS = ("letter", "symbol", "shape", "scribble")
STEPS = 3  # straight pieces between two points of a smooth line

Strokes = list[list[list[float]]]


def read_drawings(text: str) -> list[dict[str, Any]]:
    """The drawings of the text: {"digit" or "name", "style", "strokes", "used_to_choose"}.

    `digit` is null for what is no digit. Coordinates are from 0 to 1 of the paper.
    """
    drawings: list[dict[str, Any]] = []
    style, others = "", 0
    for line in text.splitlines():
        if line.startswith("#"):
            style = line.removeprefix("# ")
            continue
        if not line:
            continue
        head, _, points = line.partition(" : ")
        name, place = head.rsplit(maxsplit=1)
        is_digit = style not in NO_DIGITS
        others += not is_digit
        drawings.append(
            {
                "digit": int(name) if is_digit else None,
                "name": name.strip(),
                "style": style,
                "strokes": to_strokes(points, place),
                "used_to_choose": style in CHOOSING if is_digit else others % 5 == 0,
            }
        )
    return drawings


def to_strokes(text: str, place: str) -> Strokes:
    """Strokes of points on the paper, rounded to thousandths."""
    left, top, size = (float(number) / 100 for number in place.split(","))
    strokes = []
    for stroke in text.split(" / "):
        words = stroke.split()
        points = np.array([[float(n) for n in word.strip("!").split(",")] for word in words])
        corners = [i for i, word in enumerate(words) if word.endswith("!")]
        line = smooth(points / 100, corners) * size + (left, top)
        strokes.append(np.round(line, 3).tolist())
    return strokes


def smooth(points: NDArray[Any], corners: list[int]) -> NDArray[Any]:
    """A line through points (N, 2): smooth between the ends and the corners."""
    cuts = [0, *(i for i in corners if 0 < i < len(points) - 1), len(points) - 1]
    pieces = [spline(points[a : b + 1])[:-1] for a, b in pairwise(cuts)]
    return np.concatenate([*pieces, points[-1:]])


def spline(points: NDArray[Any]) -> NDArray[Any]:
    """A centripetal Catmull-Rom spline, which makes no loops between points of uneven distance."""
    if len(points) < 3:
        return points
    first, last = 2 * points[0] - points[1], 2 * points[-1] - points[-2]
    control = np.concatenate([[first], points, [last]])
    gaps = np.maximum(np.linalg.norm(np.diff(control, axis=0), axis=1), 1e-6) ** 0.5
    pieces = []
    for i in range(1, len(control) - 2):
        a, b, c, d = control[i - 1 : i + 3]
        before, here, after = gaps[i - 1 : i + 2]
        leave = (b - a) / before - (c - a) / (before + here) + (c - b) / here
        arrive = (c - b) / here - (d - b) / (here + after) + (d - c) / after
        t = np.linspace(0, 1, STEPS, endpoint=False)[:, None]
        pieces.append(
            b
            + here * leave * t
            + (3 * (c - b) - here * (2 * leave + arrive)) * t**2
            + (2 * (b - c) + here * (leave + arrive)) * t**3
        )
    return np.concatenate([*pieces, points[-1:]])


if __name__ == "__main__":
    folder = Path(__file__).parent
    drawings = read_drawings((folder / "handwriting.txt").read_text("utf-8"))
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in drawings)
    (folder / "handwriting.json").write_text(f"[\n{lines}\n]\n", "utf-8")

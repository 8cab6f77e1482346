"""A pen: how the points of a style become strokes, the strokes ink, and the ink an image.

The ink is that of `export/templates/strokes.js`, so that the images are those of drawings on the
page: a box of 200 units around the ink, ten for each pixel of the image's box of 20.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from smidgen.preprocess import scale_and_centre

Style = Sequence[Sequence[tuple[float, float]]]  # strokes of points (x, y)
Floats = NDArray[np.float64]

BOX = 200  # units of the longer side of the ink
PEN = 25  # units of the pen's width on the page; MNIST's median stroke is 2.5 pixels wide
SMALLEST = 12  # units; see strokes.js
GRID = 64  # parts of a unit that points lie on, so that rounding is the same on all processors
STEPS = 5  # points of the curve from one point of a style to the next


def draw_style(style: Style, aspect: float, random: RandomState) -> NDArray[np.uint8]:
    """An image of that style, uint8 (28, 28), bent, slanted, turned and stretched at random.

    `aspect` is the median of the width over the height.
    """
    slant, turn = random.normal(0, 0.2), random.normal(0, 0.08)
    stretch = aspect * np.exp(random.normal(0, 0.2))
    cos, sin = np.cos(turn), np.sin(turn)
    shape = np.array([[cos, -sin], [sin, cos]]) @ np.array([[stretch, -slant], [0, 1]])
    bend = abs(random.normal(0, 0.03))
    strokes = []
    for points in style:
        corners = np.array(points, dtype=np.float64)
        bent = corners + random.normal(0, bend, corners.shape)
        repeated = 1 + np.flatnonzero((corners[1:] == corners[:-1]).all(axis=1))
        bent[repeated] = bent[repeated - 1]
        pieces = [curve(piece) for piece in np.split(bent, repeated)]
        strokes.append(np.concatenate(pieces) @ shape.T)
    return write(strokes, random)


def scribble(random: RandomState) -> NDArray[np.uint8]:
    """An image of one or two lines through random points, uint8 (28, 28), round or angular."""
    strokes = []
    for _ in range(random.randint(1, 3)):
        points = random.uniform(0, 1, (random.randint(3, 14), 2))
        strokes.append(curve(points) if random.uniform() < 0.5 else points)
    return write(strokes, random)


def write(strokes: Sequence[Floats], random: RandomState) -> NDArray[np.uint8]:
    """The image of strokes (P, 2) in a box of about 1 × 1, with a pen of random width and pressure.

    The image is uint8 (28, 28).
    """
    pen = PEN * np.exp(random.normal(0, 0.2))
    uneven = random.uniform(0, 0.25)
    radii = []
    for stroke in strokes:
        pressure = curve(random.uniform(-1, 1, (4, 1)))[:, 0]
        along = np.linspace(0, 1, len(stroke))
        wave = np.interp(along, np.linspace(0, 1, len(pressure)), pressure)
        radii.append(pen / 2 * (1 + uneven * wave))
    return scale_and_centre(ink_of([BOX * stroke for stroke in strokes], radii, pen))


def curve(points: Floats) -> Floats:
    """A curve through points (P, D): a Catmull-Rom spline, five points from one to the next."""
    ends = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    before, start, end, after = ends[:-3, None], ends[1:-2, None], ends[2:-1, None], ends[3:, None]
    t = np.linspace(0, 1, STEPS, endpoint=False)[:, None]
    linear, square = end - before, 2 * before - 5 * start + 4 * end - after
    cube = 3 * start - before - 3 * end + after
    pieces = start + (linear * t + square * t**2 + cube * t**3) / 2  # (P - 1, STEPS, D)
    return np.concatenate([pieces.reshape(-1, points.shape[1]), points[-1:]])


def ink_of(strokes: Sequence[Floats], radii: Sequence[Floats], pen: float = PEN) -> Floats:
    """The ink of strokes (P, 2) on a paper of 280 × 280, levels from 0 to 255 (H, W).

    They are scaled to the box. `pen` is the pen's width in the box, `radii` (P,) are half of it at
    each point. A pixel that is covered in part has a part of 255.
    """
    everything = np.concatenate(strokes)
    low, sides = everything.min(axis=0), np.ptp(everything, axis=0)
    scale = (BOX - pen) / max(*sides, SMALLEST)
    margin = pen / 2 + 1
    width, height = np.ceil(sides * scale + 2 * margin).astype(int)
    ink = np.zeros((height, width))
    for stroke, radius in zip(strokes, radii, strict=True):
        points = np.round(GRID * ((stroke - low) * scale + margin)) / GRID
        starts, widths = np.concatenate([points[:1], points[:-1]]), np.round(GRID * radius) / GRID
        _draw_segments(ink, starts, points, widths)
    return ink


def _draw_segments(ink: Floats, starts: Floats, ends: Floats, radii: Floats) -> None:
    """Lines (S, 2) with round ends; of two on a pixel, and what is there already, the stronger."""
    reach = radii[:, None] + 1
    low = np.maximum(np.floor(np.minimum(starts, ends) - reach), 0).astype(int)
    high = np.ceil(np.maximum(starts, ends) + reach).astype(int)
    across, down = np.arange(ink.shape[1]) + 0.5, np.arange(ink.shape[0])[:, None] + 0.5
    for (left, top), (right, bottom), start, end, radius in zip(
        low.tolist(), high.tolist(), starts.tolist(), ends.tolist(), radii.tolist(), strict=True
    ):
        x, y = across[left:right] - start[0], down[top:bottom] - start[1]
        dx, dy = end[0] - start[0], end[1] - start[1]
        along = _from_0_to_1((x * dx + y * dy) / ((dx * dx + dy * dy) or 1.0))
        distance = np.sqrt(np.square(x - along * dx) + np.square(y - along * dy))
        cover = _from_0_to_1(radius - distance + 0.5)
        window = ink[top:bottom, left:right]
        np.maximum(window, np.floor(255 * cover + 0.5), out=window)


def _from_0_to_1(values: Floats) -> Floats:
    """As np.clip, which takes longer than both for so few values."""
    return np.minimum(np.maximum(values, 0.0, out=values), 1.0, out=values)

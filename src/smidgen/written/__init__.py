"""Written glyphs: pictures of digits, and of what is no digit, drawn from pen strokes of our own.

MNIST was written in one country. The styles here are those of others too: ones with a flag and a
foot, sevens with a bar, open fours. A style is the points that a pen passes through; each picture
bends them at random, and becomes an image as a drawing on the page does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from smidgen.mnist import INPUT_SHAPE
from smidgen.written.digits import DIGITS
from smidgen.written.others import SHAPES
from smidgen.written.pen import Style, draw_style, scribble

Images = NDArray[np.uint8]

DIGITS_ASPECT, SHAPES_ASPECT = 0.7, 0.9  # medians of the width over the height

__all__ = ["DIGITS", "SHAPES", "draw_digits", "draw_scribbles", "draw_shapes"]


def draw_digits(count: int, random: RandomState) -> tuple[Images, NDArray[np.int64]]:
    """So many images of digits, uint8 (N, 28, 28), and their labels (N,): 0, 1, …, 9, 0, …

    Each style of a digit is as likely.
    """
    labels = np.arange(count) % len(DIGITS)
    return _stacked(_draw(DIGITS[label], DIGITS_ASPECT, random) for label in labels), labels


def draw_shapes(names: Iterable[str], random: RandomState) -> Images:
    """An image, uint8 (N, 28, 28), of each of these letters and shapes, keys of SHAPES."""
    return _stacked(_draw(SHAPES[name], SHAPES_ASPECT, random) for name in names)


def draw_scribbles(count: int, random: RandomState) -> Images:
    """So many images, uint8 (N, 28, 28), of lines through random points."""
    return _stacked(scribble(random) for _ in range(count))


def _draw(styles: Sequence[Style], aspect: float, random: RandomState) -> Images:
    """An image in one of these styles."""
    return draw_style(styles[random.randint(len(styles))], aspect, random)


def _stacked(images: Iterable[Images]) -> Images:
    found = list(images)
    return np.stack(found) if found else np.zeros((0, *INPUT_SHAPE[1:]), np.uint8)

"""Photos of handwriting, made up: digits side by side on paper, under uneven light."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image


def photo_of(images: Sequence[NDArray[np.uint8]], random: Generator) -> bytes:
    """A JPEG of digits (28, 28), 255 is ink, from left to right.

    They have sizes, heights and gaps of their own. The light falls to between 40 and 80 % across
    the paper, which has a tint; there is noise, and the picture is a little out of focus.
    """
    size = random.uniform(60, 140)
    digits = [_enlarged(image, size * random.uniform(0.85, 1.15)) for image in images]
    gaps = [int(size * random.uniform(0.12, 0.5)) for _ in digits]
    margin = int(size * random.uniform(0.4, 1.2))
    width = sum(digit.shape[1] for digit in digits) + sum(gaps[1:]) + 2 * margin
    height = max(digit.shape[0] for digit in digits) + 2 * margin
    cover = np.zeros((height, width))
    left = margin
    for digit, gap in zip(digits, [0, *gaps[1:]], strict=True):
        high, wide = digit.shape
        left += gap
        top = int((height - high) / 2 + size * random.uniform(-0.12, 0.12))
        cover[top : top + high, left : left + wide] = digit
        left += wide
    paper = random.uniform(200, 250) * (1 - 0.1 * random.random(3))
    ink = random.uniform(15, 90, 3)
    lit = _light(height, width, random)[..., None]
    colours = lit * (paper * (1 - cover[..., None]) + ink * cover[..., None])
    noisy = colours + random.normal(0, random.uniform(2, 6), colours.shape)
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=80)
    return file.getvalue()


def _enlarged(image: NDArray[np.uint8], size: float) -> NDArray[np.float64]:
    """The ink of a digit in its box, as a share from 0 to 1, its longer side of so many pixels."""
    rows, columns = np.nonzero(image)
    box = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    scale = size / max(box.shape)
    sides = [max(1, round(side * scale)) for side in box.shape[::-1]]
    large = Image.fromarray(np.pad(box, 1)).resize(
        (sides[0] + round(2 * scale), sides[1] + round(2 * scale)), Image.Resampling.BICUBIC
    )
    return np.asarray(large, np.float64) / 255


def _light(height: int, width: int, random: Generator) -> NDArray[np.float64]:
    """How much light falls on each pixel, from 1 down to between 0.4 and 0.8, on one side."""
    angle = random.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    along = x * np.cos(angle) + y * np.sin(angle)
    share = (along - along.min()) / (along.max() - along.min())
    return 1 - (1 - random.uniform(0.4, 0.8)) * share ** random.uniform(0.7, 2)

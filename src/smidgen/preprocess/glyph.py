"""Preprocessing: how a picture of a digit becomes 28 × 28 pixels, scaled and centred as in MNIST.

Measured on the 60,000 training images: the ink's bounding box has a longer side of 20 in 59,987
of them, and the ink's centre of mass, in pixel indices, lies in [13.5, 14.5) in both directions.
So the box is scaled to 20 pixels by area averaging, with its aspect ratio kept, and moved by whole
pixels until its centre of mass lies in pixel 14. An MNIST image comes back unchanged.

Everything is integer arithmetic in float64, or one correctly rounded division, so that the page's
JavaScript computes the same bits; the tests compare both on `tests/preprocess_vectors.json`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smidgen.errors import DataError
from smidgen.mnist import INPUT_SHAPE
from smidgen.preprocess.decode import to_grey
from smidgen.preprocess.resampling import resampling

Grey = NDArray[np.float64]

SIDE = INPUT_SHAPE[1]  # of the image
BOX = 20  # the longer side of the ink in it
MIN_CONTRAST = 32  # of 255, between the background and the strongest ink


def glyph(rgba: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """The glyph in a picture (H, W, 4), uint8 (28, 28), 255 = ink, scaled and centred.

    Colour becomes luma, transparency is laid on white (on black where the ink is light), dark ink
    on a light background is recognised by the picture's border, and the background's noise is
    removed. A 28 × 28 picture with a dark border is taken for an MNIST image and comes back
    unchanged. Raises DataError, which names the picture, for a blank one.
    """
    grey = to_grey(rgba)
    if np.ptp(grey) < MIN_CONTRAST:
        raise DataError(f"{name} is blank; draw one digit that stands out from its background")
    if grey.shape == (SIDE, SIDE) and _median(_border(grey)) < MIN_CONTRAST:
        return grey.astype(np.uint8)
    return scale_and_centre(extract_ink(grey))


def scale_and_centre(ink: Grey) -> NDArray[np.uint8]:
    """The ink as in MNIST, uint8 (28, 28), its strongest pixel 255; blank stays blank.

    `ink` is (H, W) of any size and scale, 0 or less is background. A box smaller than 20 pixels
    is enlarged by linear interpolation. Exact for integer ink. Raises DataError for what is not
    a finite matrix.
    """
    ink = np.asarray(ink, dtype=np.float64)
    if ink.ndim != 2 or not np.isfinite(ink).all():
        raise DataError(f"ink of shape {ink.shape} is not a matrix of finite numbers (H, W)")
    image = np.zeros((SIDE, SIDE), dtype=np.uint8)
    rows, columns = np.nonzero(ink > 0)
    if not len(rows):
        return image
    box = np.maximum(ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1], 0)
    height, width = (_fitted(side, max(box.shape)) for side in box.shape)
    small = resampling(box.shape[0], height) @ box @ resampling(box.shape[1], width).T
    small = np.floor(small * 255 / small.max() + 0.5)
    top, left = _offset(small.sum(axis=1)), _offset(small.sum(axis=0))
    image[top : top + height, left : left + width] = small
    return image


def extract_ink(grey: Grey) -> Grey:
    """What stands out from the background of a grey picture (H, W), 0 = background, same scale.

    The background is the median of the picture's border; the ink is darker or lighter, whichever
    differs more. What is within the border's noise (eight times its median deviation), or below a
    sixteenth of the strongest ink, is background too, but nothing above half of the strongest ink.
    """
    border = _border(grey)
    background = _median(border)
    noise = _median(np.abs(border - background))
    is_light = grey.max() - background > background - grey.min()
    ink = grey - background if is_light else background - grey
    floor = min(max(8 * noise, ink.max() / 16), ink.max() / 2)
    return np.where(ink > floor, ink, 0.0)


def _fitted(side: int, longest: int) -> int:
    """The side after the longest one has become 20: rounded half up, at least 1."""
    return max(1, (2 * BOX * side + longest) // (2 * longest))


def _offset(mass: Grey) -> int:
    """Where the box begins so that its centre of mass lies in pixel 14, or as near as it fits."""
    total, moment = int(mass.sum()), int(mass @ np.arange(len(mass)))
    centred = -((2 * moment - (SIDE - 1) * total) // (2 * total))
    return min(max(centred, 0), SIDE - len(mass))


def _border(grey: Grey) -> Grey:
    """The outermost pixels, each once or (the corners) twice."""
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def _median(values: Grey) -> float:
    """The lower of the two middle values where there are two."""
    return float(np.sort(values)[(len(values) - 1) // 2])

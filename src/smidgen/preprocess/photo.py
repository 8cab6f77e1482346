"""Preprocessing of photos: the largest centred part of the right shape, scaled by area averaging.

Everything is in whole numbers, so that a microcontroller computes the same bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smidgen.inputs import InputShape
from smidgen.preprocess.decode import luma
from smidgen.preprocess.resampling import resampling


def photo(rgba: NDArray[np.uint8], shape: InputShape) -> NDArray[np.uint8]:
    """A picture (H, W, 4) as uint8 (C, H, W) of that shape: cropped in the middle and scaled.

    What is transparent is laid on white. A side that shrinks is averaged by area, one that grows
    is interpolated; halves are rounded up.
    """
    rgb = crop(_on_white(rgba), shape)
    planes = luma(rgb)[None] if shape.channels == 1 else np.moveaxis(rgb, 2, 0).astype(np.float64)
    if planes.shape == shape:
        return planes.astype(np.uint8)
    down, across = _weights(planes.shape[1], shape.height), _weights(planes.shape[2], shape.width)
    total = down[0].sum() * across[0].sum()
    rounded = np.floor((2 * (down @ planes @ across.T) + total) / (2 * total))
    image: NDArray[np.uint8] = rounded.astype(np.uint8)
    return image


def crop(pixels: NDArray[np.uint8], shape: InputShape) -> NDArray[np.uint8]:
    """The largest centred part of pixels (H, W, ...) with the aspect ratio of the shape."""
    height, width = pixels.shape[:2]
    wide = min(width, max(1, (2 * height * shape.width + shape.height) // (2 * shape.height)))
    high = min(height, max(1, (2 * width * shape.height + shape.width) // (2 * shape.width)))
    top, left = (height - high) // 2, (width - wide) // 2
    return pixels[top : top + high, left : left + wide]


def _weights(inputs: int, outputs: int) -> NDArray[np.float64]:
    """`resampling`, where the outermost inputs go on outside."""
    weights = resampling(inputs, outputs)
    missing = weights.sum(axis=1).max() - weights.sum(axis=1)
    first = np.arange(outputs) < outputs / 2
    weights[:, 0] += missing * first
    weights[:, -1] += missing * ~first
    return weights


def _on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    alpha = rgba[..., 3:].astype(np.int64)
    flat = (2 * (rgba[..., :3] * alpha + 255 * (255 - alpha)) + 255) // 510
    return flat.astype(np.uint8)

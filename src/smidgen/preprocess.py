"""Preprocessing: how a picture of a digit becomes 28 × 28 pixels, scaled and centred as in MNIST.

Measured on the 60,000 training images: the ink's bounding box has a longer side of 20 in 59,987
of them, and the ink's centre of mass, in pixel indices, lies in [13.5, 14.5) in both directions.
So the box is scaled to 20 pixels by area averaging, with its aspect ratio kept, and moved by whole
pixels until its centre of mass lies in pixel 14. An MNIST image comes back unchanged.

Everything is integer arithmetic in float64, or one correctly rounded division, so that the page's
JavaScript computes the same bits; the tests compare both on `tests/preprocess_vectors.json`.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from smidgen.errors import DataError
from smidgen.mnist import INPUT_SHAPE

if TYPE_CHECKING:
    from PIL import Image

Grey = NDArray[np.float64]

SIDE = INPUT_SHAPE[1]  # of the image
BOX = 20  # the longer side of the ink in it
MAX_PIXELS = 50_000_000  # of a picture that is decoded, some 200 MB while it is
MAX_SIDE = 1024  # of a picture that is looked at; larger ones are averaged down first
MIN_CONTRAST = 32  # of 255, between the background and the strongest ink


def read_image(source: Path | str | bytes) -> NDArray[np.uint8]:
    """The digit in a PNG, JPEG or WebP picture, uint8 (28, 28), 255 = ink, scaled and centred.

    `source` is a path or the file's bytes. Colour becomes luma, transparency is laid on white (on
    black where the ink is light), dark ink on a light background is recognised by the picture's
    border, and the background's noise is removed. A 28 × 28 picture with a dark border is taken
    for an MNIST image and comes back unchanged. Raises DataError for what is no such picture,
    damaged, over 50 million pixels, or blank.
    """
    name = "the picture" if isinstance(source, bytes) else repr(str(source))
    grey = to_grey(_decode(source, name))
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
    small = _resampling(box.shape[0], height) @ box @ _resampling(box.shape[1], width).T
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


def to_grey(rgba: NDArray[np.uint8]) -> Grey:
    """The luma of a picture (H, W, 4), whole numbers from 0 to 255, its transparency laid on white.

    Where what is opaque is light on average, it is laid on black. Luma as in ITU-R BT.601.
    """
    red, green, blue, alpha = (rgba[..., channel].astype(np.float64) for channel in range(4))
    luma: Grey = np.floor((299 * red + 587 * green + 114 * blue) / 1000 + 0.5)
    background = 0 if (luma * alpha).sum() > 127.5 * alpha.sum() else 255
    flat: Grey = np.floor((luma * alpha + background * (255 - alpha)) / 255 + 0.5)
    return flat


def _fitted(side: int, longest: int) -> int:
    """The side after the longest one has become 20: rounded half up, at least 1."""
    return max(1, (2 * BOX * side + longest) // (2 * longest))


def _resampling(inputs: int, outputs: int) -> Grey:
    """Whole-number weights (outputs, inputs): area averaging down, linear interpolation up.

    All rows are scaled alike. Interpolation sees background outside of the inputs.
    """
    i, o = np.arange(inputs), np.arange(outputs)[:, None]
    if outputs <= inputs:
        end = np.minimum((i + 1) * outputs, (o + 1) * inputs)
        weights = end - np.maximum(i * outputs, o * inputs)  # the overlap, in 1 / (in × out)
    else:
        distance = np.abs((2 * o + 1) * inputs - outputs - 2 * outputs * i)  # in 1 / (2 × out)
        weights = 2 * outputs - distance
    return weights.clip(0).astype(np.float64)


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


def _decode(source: Path | str | bytes, name: str) -> NDArray[np.uint8]:
    """The picture's pixels (H, W, 4), upright, averaged down to at most 1024 a side."""
    from PIL import Image, UnidentifiedImageError

    try:
        with (
            io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            _refuse_svg(file, name)
            with Image.open(file, formats=("PNG", "JPEG", "WEBP")) as image:
                return _pixels(image, name)
    except UnidentifiedImageError:
        raise DataError(f"{name} is no PNG, JPEG or WebP picture; save it as one") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise DataError(_too_large(name)) from None
    except FileNotFoundError:
        raise DataError(f"no picture {name}; check the path") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise DataError(f"{name} cannot be read: {reason}; save it again as PNG") from None


def _pixels(image: Image.Image, name: str) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    if image.width * image.height > MAX_PIXELS:
        raise DataError(_too_large(name))
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bits a pixel, which convert() would clip
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    upright = upright.convert("RGBA")
    factor = -(-max(upright.size) // MAX_SIDE)
    return np.asarray(upright.reduce(factor) if factor > 1 else upright)


def _refuse_svg(file: BinaryIO, name: str) -> None:
    head = file.read(1024).lower()
    file.seek(0)
    if b"<svg" in head:
        raise DataError(f"{name} is an SVG drawing, not pixels; save it as PNG")


def _too_large(name: str) -> str:
    return f"{name} has more than {MAX_PIXELS:,} pixels; scale it down first"

"""Pictures in files: decoded to RGBA, upright, and to levels of grey or of red, green and blue."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from smidgen.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Levels = NDArray[np.float64]

MAX_PIXELS = 50_000_000  # of a picture that is decoded, some 500 MB while it is
LONGEST = 65_535  # pixels of a side, JPEG's own limit; every row takes memory of its own
MAX_BYTES = 2**28  # of the file
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
MAX_SIDE = 1024  # of a picture that is looked at; larger ones are averaged down first


def decode(source: Path | str | bytes, name: str) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The picture's pixels, uint8 (H, W, 4), averaged down to at most 1024 a side, and its size.

    `source` is a path or the file's bytes, `name` what messages call it. The picture is upright, as
    its EXIF data say; its size is (height, width) before averaging. Of 16 bits a level the high
    byte is taken, of an animation the first frame; CMYK and palettes become RGB, a palette's
    transparency becomes alpha. Raises DataError for what is no PNG, JPEG, WebP, BMP or GIF picture,
    damaged, cut short, over 50 million pixels or 65,535 a side, or of more than 256 MiB.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with (
            io.BytesIO(source) if isinstance(source, bytes) else _open(Path(source), name) as file,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # Pillow's, which do not name the file
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            _refuse_svg(file, name)
            with Image.open(file, formats=FORMATS) as image:
                return _pixels(image, name)
    except UnidentifiedImageError:
        raise DataError(
            f"{name} is no PNG, JPEG, WebP, BMP or GIF picture; save it as one"
        ) from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise DataError(_too_large(name)) from None
    except FileNotFoundError:
        raise DataError(f"no picture {name}; check the path") from None
    except IsADirectoryError:
        raise DataError(f"{name} is a folder; name the pictures in it") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise DataError(f"{name} cannot be read: {reason}; save it again as PNG") from None


def _pixels(image: Image.Image, name: str) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    from PIL import Image, ImageOps

    if image.width * image.height > MAX_PIXELS:
        raise DataError(_too_large(name))
    if max(image.size) > LONGEST:
        raise DataError(
            f"{name} has a side of {max(image.size):,} pixels; at most {LONGEST:,} are read; "
            "scale it down first"
        )
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):  # 16 bits a pixel, which convert() would clip
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    upright = image if image.mode == "RGBA" else image.convert("RGBA")
    factor = -(-max(upright.size) // MAX_SIDE)
    pixels = np.asarray(upright.reduce(factor) if factor > 1 else upright)
    return pixels, (upright.height, upright.width)


def _open(path: Path, name: str) -> BinaryIO:
    if os.path.exists(path) and not os.path.isdir(path) and not os.path.isfile(path):
        raise DataError(f"{name} is no file but a pipe or a device; save the picture as a file")
    file = path.open("rb")
    if os.fstat(file.fileno()).st_size > MAX_BYTES:
        file.close()
        raise DataError(f"{name} is too large; at most {MAX_BYTES:,} bytes are read")
    return file


def _refuse_svg(file: BinaryIO, name: str) -> None:
    head = file.read(1024).lower()
    file.seek(0)
    if b"<svg" in head:
        raise DataError(f"{name} is an SVG drawing, not pixels; save it as PNG")


def _too_large(name: str) -> str:
    return f"{name} has more than {MAX_PIXELS:,} pixels; scale it down first"


def to_grey(rgba: NDArray[np.uint8]) -> Levels:
    """The luma of a picture (H, W, 4), whole numbers from 0 to 255, its transparency laid on white.

    Where what is opaque is light on average, it is laid on black. Luma as in ITU-R BT.601.
    """
    opaque, alpha = luma(rgba[..., :3]), rgba[..., 3].astype(np.float64)
    background = 0 if (opaque * alpha).sum() > 127.5 * alpha.sum() else 255
    flat: Levels = np.floor((opaque * alpha + background * (255 - alpha)) / 255 + 0.5)
    return flat


def luma(rgb: NDArray[np.uint8]) -> Levels:
    """The luma of pixels (..., 3) by ITU-R BT.601, whole numbers from 0 to 255."""
    red, green, blue = (rgb[..., channel].astype(np.float64) for channel in range(3))
    rounded: Levels = np.floor((299 * red + 587 * green + 114 * blue) / 1000 + 0.5)
    return rounded

"""Preprocessing: how a picture becomes the uint8 image that a network is fed with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smidgen.inputs import Preprocess
from smidgen.preprocess.decode import decode, to_grey
from smidgen.preprocess.glyph import extract_ink, glyph, scale_and_centre
from smidgen.preprocess.photo import photo

__all__ = ["extract_ink", "glyph", "photo", "read_image", "scale_and_centre", "to_grey"]


def read_image(source: Path | str | bytes, preprocess: Preprocess) -> NDArray[np.uint8]:
    """The image in a picture, uint8 (C, H, W), as the network takes it.

    `source` is the path of a PNG, JPEG, WebP, BMP or GIF file, or its bytes. Raises DataError for
    what is no such picture, damaged, over 50 million pixels, or, of a glyph, blank.
    """
    name = "the picture" if isinstance(source, bytes) else repr(str(source))
    rgba, _ = decode(source, name)
    return glyph(rgba, name)[None] if preprocess.kind == "glyph" else photo(rgba, preprocess.shape)

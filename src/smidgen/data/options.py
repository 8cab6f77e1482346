"""How the pictures of a folder become images, said in the name of the data set itself.

    folder:DIR?size=48x64&grey

A recipe holds that name, so that a run can be resumed and evaluated with nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from smidgen.errors import DataError, did_you_mean
from smidgen.inputs import LARGEST, SMALLEST

FLAGS = ("grey", "glyph", "skip_bad")


@dataclass(frozen=True)
class PictureOptions:
    """What is asked of a folder's pictures.

    `size` is (height, width) in pixels, None where the pictures decide; `grey` makes one channel of
    colours; `glyph` puts digits into MNIST's frame; `skip_bad` leaves out what cannot be read.
    Raises DataError for a side that is not allowed, and for a glyph of another size or colour.
    """

    size: tuple[int, int] | None = None
    grey: bool = False
    glyph: bool = False
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.size is not None:
            _refuse_size(self.size)
        if self.glyph and (self.size or self.grey):
            raise DataError("a glyph is 28 x 28 and grey; leave out size and grey, or glyph")

    def __str__(self) -> str:
        size = [f"size={self.size[0]}x{self.size[1]}"] if self.size else []
        return "&".join([*size, *(flag for flag in FLAGS if getattr(self, flag))])


def split_name(name: str) -> tuple[str, PictureOptions]:
    """The folder in `folder:DIR?OPTIONS` and the options after its last question mark.

    Raises DataError for an option that is unknown, repeated or has no such value.

    >>> split_name("folder:fruit?size=32&grey")
    ('fruit', PictureOptions(size=(32, 32), grey=True, glyph=False, skip_bad=False))
    """
    folder, mark, query = name.removeprefix("folder:").rpartition("?")
    if not mark:
        return query, PictureOptions()
    found: dict[str, Any] = {}
    for option in query.split("&") if query else []:
        key, equals, value = option.partition("=")
        if key not in ("size", *FLAGS):
            raise DataError(
                f"unknown option {key!r} in {name!r}{did_you_mean(key, ('size', *FLAGS))} (where "
                "the folder's own name holds a question mark, write another one at its end)"
            )
        if key in found:
            raise DataError(f"{key!r} stands twice in {name!r}; say it once")
        if key != "size" and equals:
            raise DataError(f"{option!r} in {name!r}: {key} has no value; write {key} alone")
        found[key] = parse_size(value) if key == "size" else True
    return folder, PictureOptions(**found)


def with_options(name: str, **options: Any) -> str:
    """The name of a data set with options added; those that are None or False change nothing.

    `options` are the fields of PictureOptions. Raises DataError where they are asked of another
    data set than `folder:DIR`.

    >>> with_options("folder:fruit?grey", size=(48, 64))
    'folder:fruit?size=48x64&grey'
    """
    asked = {key: value for key, value in options.items() if value}
    if not asked:
        return name
    if not name.startswith("folder:"):
        raise DataError(
            f"{', '.join(asked)}: only the pictures of folder:DIR can be had so, not {name!r}; "
            "leave it out"
        )
    folder, options_there = split_name(name)
    if "size" in asked:
        asked["size"] = _pair(asked["size"])
    return f"folder:{folder}?{replace(options_there, **asked)}"


def parse_size(text: str) -> tuple[int, int]:
    """The (height, width) that `48x64` or, for a square, `32` stands for.

    Raises DataError for any other text, and for sides that are not allowed.
    """
    if not re.fullmatch(r"[0-9]{1,4}(x[0-9]{1,4})?", text):
        raise DataError(
            f"{text!r} is no size; write 32, or HEIGHTxWIDTH, for example 48x64; a side has "
            f"{SMALLEST} to {LARGEST} pixels"
        )
    sides = [int(side) for side in text.split("x")]
    size = (sides[0], sides[-1])
    _refuse_size(size)
    return size


def _pair(size: int | str | Sequence[int]) -> tuple[int, int]:
    if isinstance(size, int | str):
        return parse_size(str(size))
    if len(size) != 2:
        raise DataError(f"size {size!r} is not (height, width)")
    return size[0], size[1]


def _refuse_size(size: tuple[int, int]) -> None:
    for side in size:
        if not SMALLEST <= side <= LARGEST:
            raise DataError(
                f"a side of {side} pixels in {size[0]}x{size[1]}; {SMALLEST} to {LARGEST} are "
                "allowed"
            )

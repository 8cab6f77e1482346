"""What a network is fed with: the shape of its images, and how a picture becomes one.

Both belong to the data set that a network learned from, and go with its weights wherever it goes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple
from unicodedata import category

from smidgen.errors import DataError, shown

CHANNELS = (1, 3)  # grey, or red, green and blue
SMALLEST, LARGEST = 8, 128  # pixels of a side
SMALLEST_STD = 1e-6  # of levels from 0 to 1; past it, a normalised level may overflow
MAX_CLASSES = 10_000

Kind = Literal["glyph", "photo"]


class InputShape(NamedTuple):
    """The shape of one image: 1 channel (grey) or 3 (RGB), and its sides in pixels."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return "x".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> InputShape:
        """The shape that `1x28x28` stands for. Raises DataError for any other text.

        >>> InputShape.parse("3x32x48")
        InputShape(channels=3, height=32, width=48)
        """
        if not re.fullmatch(r"[0-9]{1,4}x[0-9]{1,4}x[0-9]{1,4}", text):
            raise DataError(f"{text!r} is no input shape; write CxHxW, for example 3x32x32")
        return cls.of([int(size) for size in text.split("x")])

    @classmethod
    def of(cls, sizes: Sequence[int]) -> InputShape:
        """The shape of those sizes. Raises DataError for one that smidgen does not feed."""
        is_list = isinstance(sizes, list | tuple)
        if (
            not is_list
            or len(sizes) != 3
            or not all(type(size) is int and abs(size) < 10_000 for size in sizes)
        ):
            raise DataError(f"{shown(sizes)} is no input shape; it is [channels, height, width]")
        shape = cls(*sizes)
        if shape.channels not in CHANNELS:
            raise DataError(
                f"{shape.channels} channels in {shape}; 1 (grey) or 3 (RGB) are allowed"
            )
        for side in shape[1:]:
            if not SMALLEST <= side <= LARGEST:
                raise DataError(
                    f"a side of {side} pixels in {shape}; {SMALLEST} to {LARGEST} are allowed"
                )
        return shape


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes the tensor that a network takes, float32 (C, H, W).

    `glyph` is MNIST's frame: light ink on black, its box scaled to 20 pixels, its centre of mass in
    the middle of 28 × 28. `photo` is a plain resize: the largest centred part with the aspect ratio
    of the shape, scaled by area averaging. Then (pixel / 255 - mean) / std, channel by channel.
    """

    kind: Kind
    shape: InputShape
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def with_statistics(self, mean: float, std: float) -> Preprocess:
        """The same with one mean and one deviation for all channels."""
        channels = self.shape.channels
        return replace(self, mean=(mean,) * channels, std=(std,) * channels)

    def document(self) -> dict[str, Any]:
        """The same for JSON; `mean` and `std` are one number where all channels have the same."""
        return {
            "input": list(self.shape),
            "preprocess": self.kind,
            "mean": _shortest(self.mean),
            "std": _shortest(self.std),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Preprocess:
        """What a document says; one without a shape is of a network of 28 × 28 glyphs.

        Raises DataError for what cannot be fed, and for a missing mean or deviation.
        """
        kind = document.get("preprocess", "glyph")
        if kind not in ("glyph", "photo"):
            raise DataError(f"unknown preprocessing {shown(kind)}; glyph and photo are known")
        shape = InputShape.of(document.get("input", (1, 28, 28)))
        mean, std = (_each(document.get(key), key, shape.channels) for key in ("mean", "std"))
        if min(std) < SMALLEST_STD:
            raise DataError(
                f"std = {shown(document['std'])}; a deviation is at least {SMALLEST_STD}"
            )
        return cls(kind, shape, mean, std)

    def header(self) -> dict[str, str]:
        """The document as texts, each of them JSON or a word, for the header of weights."""
        return {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in self.document().items()
        }

    @classmethod
    def from_header(cls, header: Mapping[str, str]) -> Preprocess:
        """What the header of weights says; raises as `from_document` does."""
        document: dict[str, Any] = dict(header)
        for key in {"input", "mean", "std"} & header.keys():
            try:
                document[key] = json.loads(header[key])
            except (ValueError, RecursionError):
                raise DataError(f"{key} = {shown(header[key])}; it is a number or a list") from None
        return cls.from_document(document)


def _shortest(values: tuple[float, ...]) -> float | list[float]:
    return values[0] if len(set(values)) == 1 else list(values)


def _each(value: Any, key: str, channels: int) -> tuple[float, ...]:
    """The number of each channel, from one for all or from a list."""
    values = value if isinstance(value, list) else [value] * channels
    if len(values) != channels or not all(
        type(each) in (int, float) and abs(each) < 1e6 for each in values
    ):
        raise DataError(
            f"{key} = {shown(value)}; it is one number, or one for each of {channels} channels"
        )
    return tuple(map(float, values))


def class_names(value: Any) -> tuple[str, ...]:
    """The names of classes in a document: a list of two or more texts, no two the same.

    Raises DataError for anything else, and for a name with a control character or half a character.
    """
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise DataError(f"classes = {shown(value)}; it is a list of names")
    if not 2 <= len(value) <= MAX_CLASSES:
        raise DataError(f"{len(value):,} classes; 2 to {MAX_CLASSES:,} are allowed")
    for name, count in Counter(value).items():
        if count > 1:
            raise DataError(f"{count} classes are named {shown(name)}; give each its own name")
        if not 0 < len(name) <= 255 or any(category(each) in ("Cc", "Cs") for each in name):
            raise DataError(f"{shown(name)} is no name of a class; it is 1 to 255 characters")
    return tuple(value)

"""Folders of small pictures for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def bars(folder: Path, count: int, level: int = 200, suffix: str = "png") -> None:
    """Glyphs of a bar, 28 × 28 on black; picture i is one pixel taller than picture i - 1."""
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.zeros((28, 28), np.uint8)
        pixels[4 : 6 + number, 13:15] = level
        Image.fromarray(pixels).save(folder / f"{number:02}.{suffix}")


def plain(folder: Path, colours: list[tuple[int, ...]], size: tuple[int, int] = (8, 10)) -> None:
    """Pictures of one colour each, (height, width) pixels, in the order of the colours."""
    folder.mkdir(parents=True)
    for number, colour in enumerate(colours):
        pixels = np.broadcast_to(np.array(colour, np.uint8), (*size, 3))
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"{number:02}.png")


def two_classes(folder: Path, parts: tuple[str, ...] = ("train", "test")) -> Path:
    """In each part, three red and three blue pictures; number i has the level 200 + i."""
    for part in parts:
        plain(folder / part / "blue", [(0, 0, 200 + i) for i in range(3)])
        plain(folder / part / "red", [(200 + i, 0, 0) for i in range(3)])
    return folder

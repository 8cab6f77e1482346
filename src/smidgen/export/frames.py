"""Frames of cameras, and their images by the exported `preprocess.c` and by smidgen itself."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smidgen.errors import ExportError
from smidgen.export.parity import Parity, emulate
from smidgen.export.toolchain import TEMPLATES, compile_firmware, compile_host, run
from smidgen.inputs import InputShape
from smidgen.preprocess import photo

Bytes = NDArray[np.uint8]

FILES = ("preprocess.h", "preprocess.c")
PIXEL_BYTES = {"grey": 1, "rgb888": 3, "rgb565_le": 2, "rgb565_be": 2}  # in the order of C


@dataclass(frozen=True)
class Frame:
    """A frame as a camera gives it: uint8 (H, W, bytes of a pixel) in one of four formats."""

    format: str
    pixels: Bytes

    def image(self, shape: InputShape) -> Bytes:
        """Its image by `photo`, uint8 (H, W, C)."""
        alpha = np.full((*self.pixels.shape[:2], 1), 255, np.uint8)
        rgba = np.concatenate([_rgb(self), alpha], axis=2)
        return np.moveaxis(photo(rgba, shape), 0, 2)

    def to_bytes(self) -> bytes:
        """The frame as the harness reads it."""
        height, width = self.pixels.shape[:2]
        head = np.array([width, height, list(PIXEL_BYTES).index(self.format)], np.int32)
        return head.tobytes() + self.pixels.tobytes()


def preprocess_files() -> dict[str, str]:
    """The text of `preprocess.h` and `preprocess.c`; the sizes they need stand in `model.h`."""
    return {name: (TEMPLATES / name).read_text("utf-8") for name in FILES}


def draw_frames(count: int, shape: InputShape, seed: int = 0) -> list[Frame]:
    """Frames in every format, from the image's size to four times its sides and more, of noise
    between two levels drawn for each."""
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(count):
        kind = list(PIXEL_BYTES)[number % len(PIXEL_BYTES)]
        height, width = (side + int(rng.integers(0, 3 * side + 9)) for side in shape[1:])
        low, high = sorted(rng.integers(0, 257, 2))
        size = (height, width, PIXEL_BYTES[kind])
        frames.append(Frame(kind, rng.integers(low, high + 1, size).clip(0, 255).astype(np.uint8)))
    return frames


def run_host_frames(
    model: Path, frames: Sequence[Frame], shape: InputShape, flags: Sequence[str] = ("-O2",)
) -> tuple[NDArray[np.int32], Bytes]:
    """What `preprocess.c` in the folder `model`, built by gcc, returns (N,), and the images
    (N, H, W, C)."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "frames"
        compile_host(model, "frames.c", program, flags, "preprocess.c")
        return _parse(run([program], given=_joined(frames)), shape)


def run_cortex_m_frames(
    model: Path, frames: Sequence[Frame], shape: InputShape, core: str
) -> tuple[NDArray[np.int32], Bytes]:
    """The same at -Os on an emulated core with much memory, row by row."""
    with tempfile.TemporaryDirectory() as name:
        folder, main, large = Path(name), "emulate_frames.c", True
        (folder / "frames.bin").write_bytes(_joined(frames))
        firmware = compile_firmware(model, main, folder / "frames.elf", core, large, "preprocess.c")
        emulate(firmware, core, large, folder)
        return _parse((folder / "images.bin").read_bytes(), shape)


def compare_frames(
    runner: str, frames: Sequence[Frame], shape: InputShape, found: tuple[NDArray[np.int32], Bytes]
) -> Parity:
    """How the images differ from those by `photo`: how many, and by how many levels at most.

    Raises ExportError where a frame was refused.
    """
    returned, images = found
    if len(images) != len(frames) or returned.any():
        raise ExportError(f"{runner} made no images of {len(frames)} frames")
    expected = np.stack([frame.image(shape) for frame in frames])
    different = np.abs(expected.astype(int) - images).reshape(len(frames), -1).max(axis=1)
    return Parity(runner, len(frames), int((different > 0).sum()), float(different.max()))


def _rgb(frame: Frame) -> Bytes:
    """The red, green and blue of each pixel, uint8 (H, W, 3)."""
    pixels = frame.pixels
    if frame.format == "grey":
        return np.repeat(pixels, 3, axis=2)
    if frame.format == "rgb888":
        return pixels
    both = pixels.view("<u2" if frame.format == "rgb565_le" else ">u2")[..., 0].astype(np.int64)
    five = [both >> 11, both & 31]
    red, blue = ((v << 3) | (v >> 2) for v in five)
    six = (both >> 5) & 63
    return np.stack([red, (six << 2) | (six >> 4), blue], axis=2).astype(np.uint8)


def _joined(frames: Sequence[Frame]) -> bytes:
    return b"".join(frame.to_bytes() for frame in frames)


def _parse(printed: bytes, shape: InputShape) -> tuple[NDArray[np.int32], Bytes]:
    size = shape.height * shape.width * shape.channels
    answers = np.frombuffer(printed, np.uint8).reshape(-1, 4 + size)
    returned = np.ascontiguousarray(answers[:, :4]).view(np.int32)[:, 0]
    return returned, answers[:, 4:].reshape(-1, shape.height, shape.width, shape.channels)

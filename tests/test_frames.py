"""The exported preprocessing in C held to `photo`, to the bit, on frames of cameras."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from smidgen.errors import ExportError
from smidgen.export.frames import (
    Frame,
    compare_frames,
    draw_frames,
    preprocess_files,
    run_cortex_m_frames,
    run_host_frames,
)
from smidgen.inputs import InputShape

SHAPES = ["1x28x28", "3x32x32", "3x48x64", "1x17x9", "3x8x13"]
SANITIZERS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


def write(folder: Path, shape: InputShape) -> Path:
    """The preprocessing's files, and of `model.h` what they read."""
    channels, height, width = shape
    header = (
        "#include <stdint.h>\n"
        f"#define SMIDGEN_CHANNELS {channels}\n"
        f"#define SMIDGEN_HEIGHT {height}\n"
        f"#define SMIDGEN_WIDTH {width}\n"
        f"#define SMIDGEN_PIXELS {channels * height * width}\n"
    )
    for name, text in {"model.h": header, **preprocess_files()}.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@needs("gcc")
@pytest.mark.parametrize("text", SHAPES)
def test_ten_thousand_frames_become_the_same_images(text: str, tmp_path: Path) -> None:
    shape = InputShape.parse(text)
    frames = draw_frames(2000, shape, seed=1)
    found = run_host_frames(write(tmp_path, shape), frames, shape)
    parity = compare_frames("gcc", frames, shape, found)
    assert (parity.images, parity.label_mismatches, parity.max_abs_diff) == (2000, 0, 0)


@needs("gcc")
@pytest.mark.parametrize("text", ["1x28x28", "3x8x13"])
def test_no_byte_outside_of_a_frame_is_read(text: str, tmp_path: Path) -> None:
    shape = InputShape.parse(text)
    frames = draw_frames(400, shape, seed=2)
    found = run_host_frames(write(tmp_path, shape), frames, shape, SANITIZERS)
    assert compare_frames("gcc", frames, shape, found).equal


@needs("arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.parametrize("text", ["1x28x28", "3x32x32"])
def test_frames_on_an_emulated_core(text: str, tmp_path: Path) -> None:
    shape = InputShape.parse(text)
    frames = draw_frames(12, shape, seed=3)
    found = run_cortex_m_frames(write(tmp_path, shape), frames, shape, "cortex-m0plus")
    assert compare_frames("Cortex-M0+", frames, shape, found).equal


@needs("gcc")
@pytest.mark.parametrize("size", [(1024, 1024), (1023, 1021), (2896, 2902), (2048, 4096)])
def test_sums_of_large_frames_stay_within_32_bits(size: tuple[int, int], tmp_path: Path) -> None:
    shape = InputShape(1, 8, 16) if size == (2048, 4096) else InputShape(1, 16, 16)
    bright = Frame("grey", np.full((*size, 1), 255, np.uint8))
    noise = np.random.default_rng(4).integers(250, 256, (*size, 1)).astype(np.uint8)
    frames = [bright, Frame("grey", noise)]
    found = run_host_frames(write(tmp_path, shape), frames, shape)
    assert (found[1][0] == 255).all()
    assert compare_frames("gcc", frames, shape, found).equal


@needs("gcc")
def test_four_pixels_become_one_rounded_half_up(tmp_path: Path) -> None:
    levels = np.zeros((16, 20, 1), np.uint8)  # two columns on either side are cut off
    levels[:, :2], levels[:, -2:] = 255, 255
    levels[0:2, 2:4, 0] = [[1, 2], [3, 4]]  # 2.5
    levels[0:2, 4:6, 0] = [[1, 2], [3, 3]]  # 2.25
    returned, images = run_host_frames(
        write(tmp_path, InputShape(1, 8, 8)), [Frame("grey", levels)], InputShape(1, 8, 8)
    )
    assert returned.tolist() == [0]
    assert images[0, 0, :3, 0].tolist() == [3, 2, 0]
    assert images[0, :, :, 0].sum() == 5


@needs("gcc")
def test_colours_of_every_format(tmp_path: Path) -> None:
    def one(kind: str, *pixel: int) -> Frame:
        return Frame(kind, np.full((8, 8, len(pixel)), pixel, np.uint8))

    # 10110 101010 01101: red 22, green 42, blue 13, of 31, 63 and 31.
    frames = [
        one("rgb888", 10, 20, 30),
        one("rgb565_le", 0b01001101, 0b10110101),
        one("rgb565_be", 0b10110101, 0b01001101),
        one("grey", 77),
    ]
    shape = InputShape(3, 8, 8)
    _, images = run_host_frames(write(tmp_path, shape), frames, shape)
    expected = [[10, 20, 30], [181, 170, 107], [181, 170, 107], [77, 77, 77]]
    assert images[:, 3, 5].tolist() == expected
    grey = InputShape(1, 8, 8)
    _, images = run_host_frames(write(tmp_path, grey), frames, grey)
    # 0.299 × 10 + 0.587 × 20 + 0.114 × 30 = 18.15; 166.107 for the second
    assert images[:, 0, 0, 0].tolist() == [18, 166, 166, 77]


@needs("gcc")
def test_frames_that_are_too_small_or_too_large_are_refused(tmp_path: Path) -> None:
    shape = InputShape(1, 16, 24)
    sizes = [(15, 24), (16, 23), (16, 24), (4097, 24), (16, 4097), (4096, 4096), (1900, 4096)]
    frames = [Frame("grey", np.zeros((*size, 1), np.uint8)) for size in sizes]
    returned, _ = run_host_frames(write(tmp_path, shape), frames, shape)
    assert returned.tolist() == [-1, -1, 0, -1, -1, -1, 0]
    with pytest.raises(ExportError, match="gcc made no images of 7 frames"):
        compare_frames("gcc", frames, shape, (returned, np.zeros((7, 16, 24, 1), np.uint8)))


def test_a_frame_that_differs_is_counted() -> None:
    shape = InputShape(1, 8, 8)
    frames = [Frame("grey", np.full((8, 8, 1), level, np.uint8)) for level in (5, 6)]
    images = np.full((2, 8, 8, 1), 5, np.uint8)
    parity = compare_frames("test", frames, shape, (np.zeros(2, np.int32), images))
    assert (parity.label_mismatches, parity.max_abs_diff, parity.equal) == (1, 1.0, False)

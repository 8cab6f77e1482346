"""What becomes of odd pictures: each has a decided outcome, worked out by hand."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import two_classes
from PIL import Image

from smidgen.data import load_data
from smidgen.errors import DataError
from smidgen.inputs import InputShape, Preprocess
from smidgen.preprocess import read_image

RGB = Preprocess("photo", InputShape(3, 8, 10), (0.0,), (1.0,))
GREY = Preprocess("photo", InputShape(1, 8, 10), (0.0,), (1.0,))
LEFT_RED = np.zeros((8, 10, 3), np.uint8)  # five columns of red beside five of blue
LEFT_RED[:, :5, 0] = 255
LEFT_RED[:, 5:, 2] = 255


def encode(image: Image.Image, format_: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def as_pixels(content: bytes) -> np.ndarray:
    """The image of a picture, (8, 10, 3)."""
    return np.moveaxis(read_image(content, RGB), 0, 2)


@pytest.mark.parametrize(("format_", "options"), [
    ("PNG", {}), ("WEBP", {"lossless": True}), ("BMP", {}), ("GIF", {}),
])  # fmt: skip
def test_formats_without_loss_are_read_to_the_bit(format_, options):
    assert (as_pixels(encode(Image.fromarray(LEFT_RED), format_, **options)) == LEFT_RED).all()


def test_a_picture_that_was_turned_is_upright():
    lying = Image.fromarray(np.rot90(LEFT_RED).copy())  # a quarter turn to the left
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees clockwise to display"
    assert lying.size == (8, 10)
    assert (as_pixels(encode(lying, "PNG", exif=exif)) == LEFT_RED).all()
    jpeg = as_pixels(encode(lying, "JPEG", exif=exif, quality=100, subsampling=0))
    assert np.abs(jpeg.astype(int) - LEFT_RED).max() <= 2


def test_of_sixteen_bits_the_high_byte_is_taken():
    levels = np.arange(80, dtype=np.uint16).reshape(8, 10) * 800 + 255
    image = read_image(encode(Image.fromarray(levels), "PNG"), GREY)
    assert (image[0] == levels // 256).all()


def test_cmyk_becomes_rgb():
    inks = np.zeros((8, 10, 4), np.uint8)
    inks[:, :5, 1:3] = 255  # magenta and yellow make red
    inks[:, 5:, :2] = 255  # cyan and magenta make blue
    cmyk = Image.fromarray(inks, "CMYK")
    content = encode(cmyk, "JPEG", quality=100)
    assert Image.open(io.BytesIO(content)).mode == "CMYK"
    error = np.abs(as_pixels(content).astype(int) - LEFT_RED)
    assert error[:, [0, 1, 8, 9]].max() <= 3  # away from the edge, which JPEG blurs


def test_a_palettes_transparency_is_laid_on_white():
    image = Image.fromarray(np.repeat([[0, 0, 0, 0, 0, 1, 1, 1, 1, 2]], 8, 0).astype(np.uint8))
    image.putpalette([255, 0, 0, 0, 0, 255, 9, 9, 9])
    expected = LEFT_RED.copy()
    expected[:, 9] = 255
    for transparency in (2, bytes([255, 255, 0])):
        assert (as_pixels(encode(image, "PNG", transparency=transparency)) == expected).all()
    assert (as_pixels(encode(image, "GIF", transparency=2)) == expected).all()


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(format_):
    frames = [Image.fromarray(np.roll(LEFT_RED, 5 * shift, 1)) for shift in (0, 1)]
    options = {"lossless": True} if format_ == "WEBP" else {}
    content = encode(frames[0], format_, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(content)).n_frames == 2
    assert (as_pixels(content) == LEFT_RED).all()


def test_one_bit_and_grey_with_alpha_are_read():
    bits = Image.fromarray(LEFT_RED[..., 0] > 0)
    assert (read_image(encode(bits, "PNG"), GREY)[0] == LEFT_RED[..., 0]).all()
    veiled = np.stack([np.full((8, 10), 100), np.full((8, 10), 51)], -1).astype(np.uint8)
    image = read_image(encode(Image.fromarray(veiled, "LA"), "PNG"), GREY)
    assert (image == 224).all()  # a fifth of 100 and four fifths of 255


FORMATS = {
    "PNG": {}, "JPEG": {}, "WEBP": {}, "BMP": {}, "GIF": {},
}  # fmt: skip


@settings(max_examples=150)
@given(st.sampled_from(sorted(FORMATS)), st.data())
def test_a_picture_cut_short_or_changed_is_refused_or_read(format_, data):
    content = bytearray(encode(Image.fromarray(LEFT_RED), format_))
    cut = data.draw(st.integers(1, len(content)))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = read_image(bytes(content[:cut]), RGB)
    except DataError as problem:
        refusal = str(problem)
    else:
        assert image.shape == RGB.shape
        return
    assert "\n" not in refusal


def odd_ones() -> dict[str, tuple[bytes, str]]:
    """Files that are refused, and what their refusal says."""
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8))
    return {
        "cut.jpg": (encode(photo, "JPEG")[:-400], "truncated"),
        "cut.png": (encode(photo, "PNG")[:-400], "cannot be read"),
        "cut.webp": (encode(photo, "WEBP")[:-400], "cannot be read"),
        "scan.tif": (encode(photo, "TIFF"), "is no PNG, JPEG, WebP, BMP or GIF picture"),
        "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG drawing"),
        "notes.txt": (b"seven apples", "is no PNG, JPEG, WebP, BMP or GIF picture"),
        "empty.png": (b"", "is no PNG, JPEG, WebP, BMP or GIF picture"),
    }


@pytest.mark.parametrize("name", odd_ones())
def test_odd_files_are_refused_by_name_or_skipped(tmp_path, name):
    content, reason = odd_ones()[name]
    two_classes(tmp_path)
    path = tmp_path / "train" / "blue" / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"blue/{name}' .*{reason}.*--skip-bad"):
        load_data(f"folder:{tmp_path}")
    with pytest.warns(UserWarning, match=rf"1 of 13 pictures were left out: .*{name}' "):
        data = load_data(f"folder:{tmp_path}", skip_bad=True)
    assert [
        (len(split), split.labels.bincount().tolist()) for split in (data.train, data.test)
    ] == [
        (6, [3, 3]),
        (6, [3, 3]),
    ]
    assert len(data.origin.skipped) == 1
    with pytest.warns(UserWarning, match="1 of 13 pictures were left out"):  # when it is kept too
        assert len(load_data(data.name).train) == 6


def test_a_folder_in_a_class_is_refused(tmp_path):
    two_classes(tmp_path)
    (tmp_path / "train" / "blue" / "more").mkdir()
    with pytest.raises(DataError, match=r"blue/more' is a folder; name the pictures in it"):
        load_data(f"folder:{tmp_path}")


def test_the_first_three_that_are_skipped_are_named(tmp_path):
    two_classes(tmp_path)
    for number in range(5):
        (tmp_path / "test" / "red" / f"a{number}.png").write_text("no picture")
    with pytest.warns(UserWarning, match=r"5 of 17 .*a0\.png.*a1\.png.*a2\.png") as caught:
        data = load_data(f"folder:{tmp_path}", skip_bad=True)
    assert "a3.png" not in str(caught[0].message)
    assert data.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.test.images[3:, 0, 0, 0].tolist() == [200, 201, 202]


def test_a_class_of_which_nothing_is_left_is_refused(tmp_path):
    two_classes(tmp_path)
    for path in (tmp_path / "test" / "red").iterdir():
        path.write_text("no picture")
    with pytest.raises(DataError, match=r"'red' in .*: 2 to fit, 1 to validate, 0 to test"):
        load_data(f"folder:{tmp_path}", skip_bad=True)
    for path in Path(tmp_path).glob("*/*/*.png"):
        path.write_text("no picture")
    with pytest.raises(DataError, match="none of 12 pictures can be read; the first: "):
        load_data(f"folder:{tmp_path}", skip_bad=True)


def png(width: int, height: int) -> bytes:
    """A black picture of one bit a pixel, which PNG packs to a thousandth."""
    return encode(Image.new("1", (width, height)), "PNG")


def test_a_long_thin_picture_is_refused_before_it_is_decoded():
    header = png(1, 1)
    for size in ((1, 49_000_000), (49_000_000, 1)):
        sides = b"".join(side.to_bytes(4, "big") for side in size)
        parts = header[12:16] + sides + header[24:29]
        content = header[:12] + parts + zlib.crc32(parts).to_bytes(4, "big") + header[33:]
        with pytest.raises(DataError, match=r"side of 49,000,000 pixels; at most 65,535 are read"):
            read_image(content, GREY)
    assert read_image(png(65_535, 2), GREY).shape == (1, 8, 10)


def test_pipes_devices_and_huge_files_are_no_pictures(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")  # opening it would wait for ever
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "zero.png"):
        with pytest.raises(DataError, match=rf"{name}' is no file but a pipe or a device"):
            read_image(tmp_path / name, GREY)
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(2**28 + 1)  # a hole
    with pytest.raises(DataError, match=r"huge.png' is too large; at most 268,435,456 bytes"):
        read_image(tmp_path / "huge.png", GREY)


def test_a_class_that_cannot_be_written_is_refused(tmp_path):
    two_classes(tmp_path)
    for part in ("train", "test"):
        (tmp_path / part / "red").rename(tmp_path / part / os.fsdecode(b"\xff"))  # no UTF-8
    with pytest.raises(DataError, match=r"'\\udcff' is no name of a class"):
        load_data(f"folder:{tmp_path}")

import gzip
import io
import math
import os
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from smidgen.errors import DataError
from smidgen.inputs import InputShape, Preprocess
from smidgen.mnist import GLYPH
from smidgen.preprocess import extract_ink, read_image, scale_and_centre, to_grey
from smidgen.preprocess.decode import luma
from smidgen.preprocess.photo import crop, photo


def read_glyph(source):
    return read_image(source, GLYPH)[0]


def encoded(pixels, format="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(file, format, **options)
    return file.getvalue()


def bar(background=255, ink=0):
    """An upright bar of 20 × 200 at the lower right of 280 × 280."""
    pixels = np.full((280, 280), background, np.uint8)
    pixels[60:260, 200:220] = ink
    return pixels


def expected_bar():
    """The bar becomes 20 × 2; its centre of mass, at 9.5 and 0.5, goes to [13.5, 14.5)."""
    expected = np.zeros((28, 28), np.uint8)
    expected[4:24, 13:15] = 255
    return expected


@pytest.fixture(scope="module")
def mnist_images():
    path = Path(os.environ.get("SMIDGEN_DATA", "data"), "MNIST/raw/t10k-images-idx3-ubyte.gz")
    if not path.is_file():
        pytest.skip(f"real MNIST is not at {path}; set SMIDGEN_DATA")
    raw = gzip.decompress(path.read_bytes())
    return np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)[:1000]


def test_a_bar_becomes_two_by_twenty_with_its_mass_in_pixel_14():
    assert (scale_and_centre(bar(background=0, ink=7)) == expected_bar()).all()


def test_each_output_pixel_is_the_average_of_the_area_it_covers():
    # 30 rows to 20: each row of the result covers one and a half rows of the source.
    ink = np.arange(1, 31, dtype=float)[:, None] * np.ones((1, 30))
    column = scale_and_centre(ink)[:, 14]
    averages = np.array([(1 + 2 / 2) / 1.5, (2 / 2 + 3) / 1.5])
    last = (29 / 2 + 30) / 1.5
    assert column[column > 0][:2].tolist() == np.floor(averages / last * 255 + 0.5).tolist()
    assert column.max() == 255


def test_small_ink_is_enlarged_by_linear_interpolation():
    # Two pixels to twenty: they lie at 4.5 and 14.5 of the result, with background around.
    row = scale_and_centre(np.array([[0.0, 2.0, 2.0, 0.0]])).max(axis=0)[4:24]
    rise = np.floor((np.arange(5) + 5.5) / 10 * 255 + 0.5)
    assert row.tolist() == [*rise, *[255] * 10, *rise[::-1]]


def test_the_scale_of_the_ink_does_not_matter_and_blank_stays_blank():
    ink = np.random.default_rng(0).integers(0, 16, (9, 7)).astype(float)
    assert (scale_and_centre(ink) == scale_and_centre(ink * 16)).all()
    assert (scale_and_centre(ink) == scale_and_centre(ink / 16)).all()
    assert not scale_and_centre(np.zeros((5, 5))).any()
    assert not scale_and_centre(np.full((5, 5), -3.0)).any()


@pytest.mark.parametrize("ink", [np.zeros(9), np.full((4, 4), np.nan), np.full((4, 4), np.inf)])
def test_ink_that_is_no_finite_matrix_is_refused(ink):
    with pytest.raises(DataError, match="not a matrix of finite numbers"):
        scale_and_centre(ink)


@settings(max_examples=200)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_any_ink_lies_in_a_box_of_at_most_twenty_and_peaks_at_255(height, width, seed):
    rng = np.random.default_rng(seed)
    ink = rng.integers(1, 256, (height, width)) * (rng.random((height, width)) < 0.2)
    image = scale_and_centre(ink.astype(float))
    rows, columns = np.nonzero(image)
    assert image.max() == (255 if ink.any() else 0)
    assert not ink.any() or max(np.ptp(rows), np.ptp(columns)) < 20


def test_an_mnist_image_comes_back_unchanged(mnist_images):
    again = np.stack([scale_and_centre(image.astype(float)) for image in mnist_images])
    error = np.abs(again - mnist_images.astype(float)).max(axis=(1, 2))
    assert (error <= 1).mean() >= 0.999  # a peak of 254 becomes 255


def test_an_enlarged_mnist_image_comes_back(mnist_images):
    enlarged = [255 - np.kron(image, np.ones((10, 10), np.uint8)) for image in mnist_images[:200]]
    back = np.stack([read_glyph(encoded(image)) for image in enlarged]).astype(float)
    error = np.abs(back - mnist_images[:200])
    # Ink below a sixteenth is background; without it a centre of mass at 14.5 may round down.
    assert (error.max(axis=(1, 2)) <= 16).mean() >= 0.99
    assert error.mean() < 0.5


@pytest.mark.parametrize(("background", "ink"), [(255, 0), (0, 255), (230, 40), (90, 200)])
@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_dark_on_light_and_light_on_dark_read_alike(background, ink, format):
    data = encoded(bar(background, ink), format, lossless=True)
    assert (read_glyph(data) == expected_bar()).all()


def test_a_grainy_photograph_reads_like_a_clean_drawing():
    pixels = bar(background=200, ink=40) + np.random.default_rng(0).normal(0, 6, (280, 280))
    data = encoded(pixels.clip(0, 255).astype(np.uint8), "JPEG", quality=90)
    assert np.abs(read_glyph(data).astype(float) - expected_bar()).mean() < 3


def test_colour_transparency_and_sixteen_bits_read_alike():
    pixels = bar()
    nothing = np.zeros_like(pixels)
    red = np.stack([nothing + 255, pixels, pixels], axis=-1)
    black_on_nothing = np.stack([nothing, nothing, nothing, 255 - pixels], axis=-1)
    white_on_nothing = np.stack([nothing + 255] * 3 + [255 - pixels], axis=-1)
    deep = pixels.astype(np.uint16) * 257
    for picture in (red, black_on_nothing, white_on_nothing, deep):
        assert (read_glyph(encoded(picture)) == expected_bar()).all()


def test_a_photograph_on_its_side_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees clockwise to see it upright
    turned = encoded(np.rot90(bar()), exif=exif)
    assert (read_glyph(turned) == expected_bar()).all()


def test_a_picture_in_the_frame_already_is_unchanged(tmp_path):
    image = np.zeros((28, 28), np.uint8)
    image[3:9, 0:5] = 200  # off centre, and touching the border as clothes and kana do
    path = tmp_path / "3.png"
    path.write_bytes(encoded(image))
    assert (read_glyph(path) == image).all()
    assert (read_glyph(str(path)) == image).all()


def test_a_large_picture_is_averaged_down():
    large = np.kron(bar(), np.ones((4, 4), np.uint8))  # 1120 × 1120, by 2 to 560 × 560
    assert (read_glyph(encoded(large)) == expected_bar()).all()


def test_luma_and_transparency_by_hand():
    pixels = np.array([[[255, 0, 0, 255], [0, 0, 0, 0], [0, 0, 0, 51]]], np.uint8)
    # 0.299 × 255 = 76.245; nothing on white is 255; a fifth of black on white is 204
    assert to_grey(pixels).tolist() == [[76, 255, 204]]


def test_ink_by_hand():
    grey = np.full((4, 4), 100.0)
    grey[1, 1], grey[1, 2], grey[2, 1] = 20, 96, 130
    # The background is 100, dark goes further (80 against 30); 4 is below 80 / 16, 130 is no ink.
    assert np.argwhere(extract_ink(grey)).tolist() == [[1, 1]]
    assert extract_ink(grey)[1, 1] == 80


def png_of(width, height):
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind, body):
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no PNG, JPEG, WebP, BMP or GIF picture"),
        (b"hello", "no PNG, JPEG, WebP, BMP or GIF picture"),
        (b"II*\0" + bytes(20), "no PNG, JPEG, WebP, BMP or GIF picture"),
        (b"<?xml version='1.0'?><svg xmlns='x'/>", "SVG drawing"),
        (encoded(bar())[:200], "cannot be read"),
        (png_of(30_000, 30_000), "more than 50,000,000 pixels"),
        (png_of(9_000, 9_000), "more than 50,000,000 pixels"),
        (encoded(np.full((50, 50), 255, np.uint8)), "blank"),
        (encoded(np.zeros((28, 28), np.uint8)), "blank"),
    ],
    ids=["empty", "text", "gif", "svg", "cut off", "bomb", "large", "white", "black"],
)
def test_what_is_no_readable_picture_is_refused_in_one_line(data, message):
    with pytest.raises(DataError, match=rf"^the picture .*{message}[^\n]*$"):
        read_glyph(data)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(DataError, match=r"no picture '.*none\.png'"):
        read_glyph(tmp_path / "none.png")
    with pytest.raises(DataError, match="is a folder; name the pictures in it"):
        read_glyph(tmp_path)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_damaged_bytes_end_in_a_picture_or_in_a_data_error(format):
    whole = np.frombuffer(encoded(bar(), format), np.uint8)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        damaged = whole.copy()
        damaged[rng.integers(0, len(damaged), 4)] = rng.integers(0, 256, 4)
        try:
            assert read_glyph(damaged.tobytes()).shape == (28, 28)
        except DataError:
            refused += 1
    assert refused > 0


SHAPES = st.builds(InputShape, st.sampled_from([1, 3]), st.integers(8, 40), st.integers(8, 40))


def exact(pixels: list[list[int]], height: int, width: int) -> list[list[int]]:
    """Area averages, or interpolated where enlarged, halves rounded up, in fractions."""

    def parts(inputs: int, outputs: int, o: int) -> dict[int, Fraction]:
        if outputs <= inputs:
            low, high = Fraction(o * inputs, outputs), Fraction((o + 1) * inputs, outputs)
            spans = {i: min(high, i + 1) - max(low, i) for i in range(inputs)}
        else:
            at = Fraction((2 * o + 1) * inputs, 2 * outputs) - Fraction(1, 2)
            at = min(max(at, Fraction(0)), Fraction(inputs - 1))
            spans = {i: 1 - abs(at - i) for i in range(inputs)}
        spans = {i: part for i, part in spans.items() if part > 0}
        return {i: part / sum(spans.values()) for i, part in spans.items()}

    return [
        [
            math.floor(
                sum(
                    down * across * pixels[i][j]
                    for i, down in parts(len(pixels), height, y).items()
                    for j, across in parts(len(pixels[0]), width, x).items()
                )
                + Fraction(1, 2)
            )
            for x in range(width)
        ]
        for y in range(height)
    ]


@settings(max_examples=40)
@given(SHAPES, st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_a_photo_is_averaged_exactly(shape, height, width, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    found = photo(pixels, shape)
    assert found.dtype == np.uint8
    assert found.shape == shape
    part = crop(pixels[..., :3], shape)
    planes = [luma(part)] if shape.channels == 1 else np.moveaxis(part, 2, 0)
    expected = [exact(plane.astype(int).tolist(), *shape[1:]) for plane in planes]
    assert found.tolist() == expected


def test_a_photo_is_cropped_in_the_middle():
    pixels = np.arange(10 * 21).reshape(10, 21)
    assert crop(pixels, InputShape(1, 8, 8)).tolist() == pixels[:, 5:15].tolist()
    assert crop(pixels.T, InputShape(1, 8, 16)).tolist() == pixels.T[8:13].tolist()
    assert crop(pixels, InputShape(1, 10, 21)).tolist() == pixels.tolist()


def test_a_photo_of_the_right_size_is_unchanged_and_transparency_is_white():
    rgba = np.random.default_rng(0).integers(0, 256, (9, 12, 4), dtype=np.uint8)
    rgba[..., 3] = 255
    shape = InputShape(3, 9, 12)
    assert np.array_equal(photo(rgba, shape), np.moveaxis(rgba[..., :3], 2, 0))
    rgba[..., 3] = 0
    assert (photo(rgba, shape) == 255).all()
    rgba[0, 0] = 10, 20, 30, 128  # (10 * 128 + 255 * 127) / 255 = 132.02
    assert photo(rgba, shape)[:, 0, 0].tolist() == [132, 137, 142]


def test_a_photo_in_a_file_is_read_in_the_models_shape():
    red = np.zeros((40, 50, 3), np.uint8)
    red[..., 0] = 200
    fed = Preprocess("photo", InputShape(3, 16, 16), (0.5,) * 3, (0.25,) * 3)
    image = read_image(encoded(red), fed)
    assert image.shape == (3, 16, 16)
    assert [set(plane.flatten().tolist()) for plane in image] == [{200}, {0}, {0}]
    grey = Preprocess("photo", InputShape(1, 16, 24), (0.5,), (0.25,))
    assert set(read_image(encoded(red), grey).flatten().tolist()) == {60}  # 0.299 * 200
